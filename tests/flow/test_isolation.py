# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the modes promise: the host's kernel or an own one, what the host sees, clones that share nothing."""
import os
import re
import time

import pytest
from conftest import BASE, MODES
from engine import process_table, until

needs_hyperv = pytest.mark.skipif("hyperv" not in MODES, reason="hyperv isn't among the tested modes")


def test_kernel(run, mode):
    release = run("--rm", BASE, "uname", "-r").line
    assert (release == os.uname().release) == (mode == "process")


def test_what_the_host_sees(engine, run, mode, name):
    run("-d", "--name", name, BASE, "ping", "localhost")
    identity, pid = engine.template(name, "{{.Id}} {{.State.Pid}}").split()
    row = engine.docker("top", name).out.splitlines()[1].split()
    assert row[-2:] == ["ping", "localhost"]
    host = {p: (comm, cmdline) for p, _, comm, cmdline in process_table()}
    if mode == "process":
        assert row[1] == pid
        assert host[int(pid)][1].endswith("ping localhost")
    else:
        assert engine.vmwp_pid(identity) == int(pid)
        assert host[int(pid)][0] == "vmwp"
        mine = [c for p, pp, comm, c in process_table() if identity in c or p == int(pid)]
        assert not any(re.search(r"ping localhost", c) for c in mine)
        assert os.stat(f"/proc/{pid}").st_uid != 0, "vmwp runs unprivileged"


@needs_hyperv
def test_no_ping_on_the_host(engine, name):
    before = sum(c.endswith("ping localhost") for _, _, _, c in process_table())
    engine.docker("run", "-d", "--isolation=hyperv", "--name", name, BASE, "ping", "localhost")
    assert "ping localhost" in engine.docker("top", name).out
    assert sum(c.endswith("ping localhost") for _, _, _, c in process_table()) == before


@needs_hyperv
def test_case_25_vmwp_is_jailed(engine, vm_dir, name):
    engine.docker("run", "-d", "--isolation=hyperv", "--name", name, BASE, "sleep", "1000")
    pid = int(engine.template(name, "{{.State.Pid}}"))
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status", encoding="utf-8") if ":\t" in line)
    # What a file server needs, over nothing but the files that it can reach: there are none that can be written.
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        points = {line.split()[4]: line.split()[5].split(",")[0] for line in f}
    assert points == {"/": "ro", "/proc": "ro", "/share": "ro"}
    # Nor by way of a descriptor: what all machines share is open by mounts that are read-only themselves.
    shared = {p.stat().st_ino for p in (*vm_dir.glob("template-*/memory"), *engine.root.glob("layers/**/image.erofs"))}
    read_only = [fd for fd in os.listdir(f"/proc/{pid}/fd") if os.stat(f"/proc/{pid}/fd/{fd}").st_ino in shared]
    assert len(read_only) > 1
    for fd in read_only:
        with pytest.raises(OSError, match="Read-only file system"):
            os.close(os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR))
    for kind in ("mnt", "net", "ipc", "pid", "user"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind
    root = os.listdir(f"/proc/{pid}/root")
    assert "home" not in root and "root" not in root, root


@needs_hyperv
def test_case_26_clones_differ(engine, name):
    """Different random numbers and machine-ids, and the right clock, in two clones of one template."""
    command = "cat /proc/sys/kernel/random/boot_id; od -An -N16 -tx1 /dev/urandom; cat /etc/machine-id 2>/dev/null; date +%s"
    first = engine.docker("run", "--rm", "--isolation=hyperv", BASE, "sh", "-c", command).out.split("\n")
    second = engine.docker("run", "--rm", "--isolation=hyperv", BASE, "sh", "-c", command).out.split("\n")
    now = time.time()
    assert first[1] != second[1]
    assert len(first) == len(second)
    if len(first) == 5:
        assert first[2] != second[2]
    assert abs(int(second[-2]) - now) < 5


@needs_hyperv
def test_case_27_no_secret_of_another(engine):
    engine.docker("run", "--rm", "--isolation=hyperv", "-e", "SECRET=flow-secret-7d1f", BASE, "sh", "-c", "echo $SECRET >/x; sync")
    out = engine.docker("run", "--rm", "--isolation=hyperv", BASE, "sh", "-c", "cat /x /proc/*/environ 2>/dev/null; true").out
    assert "flow-secret-7d1f" not in out


@needs_hyperv
def test_case_30_exec_is_in_the_same_guest(engine, name):
    engine.docker("run", "-d", "--isolation=hyperv", "--name", name, BASE, "sleep", "1000")
    release = engine.docker("exec", name, "uname", "-r").line
    assert release != os.uname().release
    same = engine.docker("exec", name, "sh", "-c", "for n in 1/ns/mnt self/ns/mnt 1/ns/pid self/ns/pid; do readlink /proc/$n; done")
    links = same.out.split()
    assert links[0] == links[1] and links[2] == links[3]


def test_clock(run):
    assert abs(int(run("--rm", BASE, "date", "+%s").line) - time.time()) < 10


def test_modes_side_by_side(engine):
    names = {}
    for mode in MODES:
        names[mode] = "flow-side-" + mode
        engine.docker("run", "-d", f"--isolation={mode}", "--name", names[mode], BASE, "sleep", "1000")
    for mode in MODES:
        listed = engine.docker("ps", "--filter", f"isolation={mode}", "--format", "{{.Names}}").out.split()
        assert listed == [names[mode]]


def test_case_18_fork_bomb(engine, run, name):
    run("-d", "--name", name, "--pids-limit", "30", BASE, "sh", "-c", "f() { f | f & }; f; sleep 1000")
    until("the limit is reached", lambda: engine.http(
        "GET", f"/containers/{name}/stats?stream=false&one-shot=1")[2]["pids_stats"].get("current", 0) > 5
        or not engine.state(name)["Running"])
    engine.docker("stop", "-t", "1", name)
    assert engine.state(name)["Running"] is False
