# SPDX-License-Identifier: LGPL-2.1-or-later
"""The virtual machine that waits for the next hyperv container: used once, replaced, never in the way."""
import os
from pathlib import Path

import pytest
from conftest import BASE, MODES
from engine import descendants, kill_process, process_table, until

pytestmark = pytest.mark.skipif("hyperv" not in MODES, reason="hyperv isn't among the tested modes")


def waiting(engine):
    """(monitor, vmwp) of the machine that waits, or None. The monitor's vmwp runs before its rehearsal is over."""
    for pid, parent, comm, cmdline in process_table():
        if "--standby" in cmdline and comm == "silo-monitor" and str(engine.exec_root) in cmdline:
            children = [row[0] for row in descendants(pid)]
            if children:
                return pid, children[0]
    return None


def rehearsed(engine):
    """A machine is ready when the disk of its rehearsal is gone."""
    pair = waiting(engine)
    return pair if pair and not (engine.root / "tmp/standby.ext4").exists() else None


def private_kb(pid):
    """What a process has written of its memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Swap:")))


def run_one(engine, *args, command=("true",)):
    return engine.docker("run", "--rm", "--network", "none", "--isolation=hyperv", *args, BASE, *command)


def started(engine):
    """A container in a machine of its own; returns its id and vmwp."""
    identity = engine.docker("run", "-d", "--network", "none", "--isolation=hyperv", BASE, "sleep", "1000").line
    return identity, engine.inspect(identity)["State"]["Pid"]


def test_taken_once_and_replaced(own_engine):
    engine = own_engine()
    assert waiting(engine) is None, "hosts without hyperv containers pay nothing"
    run_one(engine)
    monitor, vmwp = until("a machine waits", lambda: rehearsed(engine))
    first, pid = started(engine)
    assert pid == vmwp and engine.monitor_pid(first) == monitor
    until("what starting took of memory is given back", lambda: private_kb(vmwp) < 40 * 1024)
    other = until("another machine waits", lambda: rehearsed(engine))
    assert other[1] != vmwp
    second, pid = started(engine)
    assert pid == other[1]
    numbers = {engine.docker("exec", c, "od", "-An", "-tx1", "-N16", "/dev/urandom").line for c in (first, second)}
    assert len(numbers) == 2, "both come from one template, and have rehearsed the same"
    assert engine.docker("exec", first, "hostname").line == first[:12]
    assert "rehears" not in engine.docker("exec", second, "sh", "-c", "ls -a / /run /tmp; cat /proc/mounts").out
    engine.remove_containers()


def test_killed_machine_is_no_loss(own_engine):
    engine = own_engine()
    run_one(engine)
    monitor, vmwp = until("a machine waits", lambda: rehearsed(engine))
    kill_process(vmwp)
    until("its monitor ends", lambda: (waiting(engine) or (None,))[0] != monitor)
    assert run_one(engine, command=("echo", "still here")).line == "still here"
    monitor, vmwp = until("a machine waits", lambda: rehearsed(engine))
    kill_process(monitor)
    until("its VM dies with it", lambda: not os.path.exists(f"/proc/{vmwp}"))
    assert run_one(engine, command=("echo", "still here")).line == "still here"


def test_ends_with_silod(own_engine):
    engine = own_engine()
    run_one(engine)
    monitor, vmwp = until("a machine waits", lambda: rehearsed(engine))
    engine.kill9()
    until("monitor and VM end", lambda: not os.path.exists(f"/proc/{monitor}") and not os.path.exists(f"/proc/{vmwp}"))
    engine.start()
    assert run_one(engine, command=("echo", "back")).line == "back"


def test_switched_off(own_engine, tmp_path):
    config = tmp_path / "daemon.json"
    config.write_text('{"vm-standby": false}', encoding="utf-8")
    engine = own_engine("--config-file", config)
    run_one(engine)
    _, pid = started(engine)
    assert pid and waiting(engine) is None
    engine.remove_containers()
