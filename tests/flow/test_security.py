# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attacks through the engine, in both modes; names with a number are those of the list of attacks on runtimes. More of the
list: test_process.py, test_isolation.py, test_image_store.py, test_volumes.py, test_network*.py, test_run.py; of the guest's
agent that lies, falls silent or dies (21, 22): tests/unit/test_hyperv.c, test_channel.c."""
import hashlib
import json
import os
import stat
import threading

import pytest
from conftest import BASE, MODES
from engine import kill_process, until

hyperv = pytest.mark.skipif("hyperv" not in MODES, reason="hyperv isn't among the tested modes")


def test_case_14_15_kernel_facilities(run):
    """Each of them works for root on a host; the default container has neither the capability nor the system call."""
    script = "".join(f"{command} 2>/dev/null && echo {name}; " for name, command in (
        ("user namespace", "unshare -U true"), ("mount namespace", "unshare -m true"), ("mount", "mount -t tmpfs none /tmp"),
        ("module", "insmod /bin/busybox"), ("clock", "! date -s @1 2>&1 | grep -q 'not permitted'"),
        ("core pattern", "echo x > /proc/sys/kernel/core_pattern"),
        ("trace", "cat /proc/1/mem"), ("kernel log", "dmesg -c")))
    assert run("--rm", "--network=none", BASE, "sh", "-c", script + "echo end").line == "end"


def test_case_16_no_abstract_sockets(engine):
    """With the host's network a container sees the host's abstract sockets: Silo has none."""
    engine.docker("run", "-d", "--isolation=process", BASE, "sleep", "1000")
    out = engine.docker("run", "--rm", "--isolation=process", "--network=host", BASE, "cat", "/proc/net/unix").out
    assert len(out.splitlines()) > 1, "it sees sockets"
    assert "@" not in out


def test_case_17_engine_is_not_in_the_network(engine, run):
    gateway = run("--rm", BASE, "sh", "-c", "ip route | grep default | cut -d' ' -f3").line
    probe = f"for p in 2375 2376 80; do echo | nc -w 2 {gateway} $p >/dev/null 2>&1 && echo open $p; done; echo end"
    assert gateway and run("--rm", BASE, "sh", "-c", probe).line == "end"
    listening = [line.split()[1] for line in engine.command("cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
                 if len(line.split()) > 3 and line.split()[3] == "0A"]
    assert {int(address.split(":")[1], 16) for address in listening} <= {53}, listening


def test_case_19_memory_hog(engine, run, sleeper, name):
    """Only it dies."""
    hog = f"{name}-hog"
    run("--name", hog, "--network=none", "--memory=16m", "--memory-swap=16m", BASE, "sh", "-c", "exec tail /dev/zero", code=137)
    assert engine.state(hog)["OOMKilled"]
    state = engine.state(sleeper)
    assert state["Running"] and not state["OOMKilled"]
    assert engine.docker("exec", sleeper, "echo", "alive").line == "alive"


def has_ended(log):
    try:  # it may be rotated at this moment
        return b"the-end" in log.read_bytes()[-4096:]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("command", ["yes", "tr '\\0' x </dev/zero", "cat /dev/urandom"], ids=["lines", "one line", "binary"])
def test_case_20_flood_of_output(engine, run, mode, name, command):
    """Nobody reads along: the log rotates, the monitor stays small, the container isn't blocked."""
    size = 12 if mode == "process" else 2
    run("-d", "--name", name, "--network=none", "--log-opt", "max-size=1m", "--log-opt", "max-file=2", BASE, "sh", "-c",
        f"{command} | head -c {size}m; echo; echo the-end; sleep 1000")
    identity = engine.inspect(name)["Id"]
    log = engine.root / "containers" / identity / f"{identity}-json.log"
    until("the output has ended", lambda: has_ended(log))
    with open(f"/proc/{engine.monitor_pid(identity)}/status", encoding="ascii") as f:
        peak = int(f.read().split("VmHWM:")[1].split()[0])
    assert peak < 48 * 1024, f"{peak} KiB"
    logs = list(log.parent.glob("*-json.log*"))
    assert len(logs) <= 2 and sum(log.stat().st_size for log in logs) < 3 << 20


@hyperv
@pytest.mark.parametrize("attack", [
    "echo c > /proc/sysrq-trigger", "echo b > /proc/sysrq-trigger",
    # the channel of the agent, its disks: their device nodes by number
    "for d in $(cat /sys/class/virtio-ports/*/dev /sys/block/*/dev); do mknod /tmp/c c ${d%:*} ${d#*:}; mknod /tmp/b b ${d%:*} ${d#*:};"
    " head -c 1m /dev/urandom > /tmp/c; head -c 1m /dev/urandom > /tmp/b; rm -f /tmp/c /tmp/b; done 2>/dev/null"],
    ids=["panic", "reboot", "garbage"])
def test_case_21_22_guest_goes_mad(engine, name, attack):
    """A privileged guest ruins itself: nobody else notices, and its container ends."""
    other = engine.docker("run", "-d", "--isolation=hyperv", "--network=none", BASE, "sleep", "1000").line
    engine.docker("run", "-d", "--name", name, "--isolation=hyperv", "--network=none", "--privileged", BASE, "sh", "-c", attack)
    until("the container has ended", lambda: not engine.state(name)["Running"])
    assert engine.docker("exec", other, "echo", "alive").line == "alive"


@hyperv
def test_case_23_file_server(engine, tmp_path):
    """Through a share nothing but the share can be reached, and no device made in it, whatever the guest's root asks for."""
    (tmp_path / "share").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "share/out").symlink_to("../secret")
    (tmp_path / "share/absolute").symlink_to(tmp_path / "secret")
    script = ("cat /s/out /s/absolute /s/../secret /s/../../secret; mknod /s/disk b 254 0; mknod /s/kmsg c 1 11;"
              "ln -s /proc/self/root /s/root; ls /s/root/; mount -t 9p -o trans=virtio share /mnt && ls /mnt; true")
    out = engine.docker("run", "--rm", "--isolation=hyperv", "--network=none", "--privileged", "-v", f"{tmp_path}/share:/s", BASE,
                        "sh", "-c", script)
    assert "secret" not in out.out and "silo.sock" not in out.out, out
    for entry in (tmp_path / "share").iterdir():
        assert stat.S_ISLNK(entry.lstat().st_mode) or stat.S_ISREG(entry.lstat().st_mode), entry


def digest(path):
    """Of what is in a sparse file."""
    total = hashlib.sha256()
    with open(path, "rb") as f:
        at, end = 0, os.fstat(f.fileno()).st_size
        while at < end:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            hole = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            f.seek(at)
            total.update(b"%d" % at)
            while at < hole:
                block = f.read(min(hole - at, 1 << 22))
                total.update(block)
                at += len(block)
    return total.hexdigest()


@hyperv
def test_case_24_guest_cannot_change_what_it_is_made_of(engine, name):
    engine.docker("run", "-d", "--name", name, "--isolation=hyperv", "--network=none", "--privileged", BASE, "sleep", "1000")
    bundle = engine.exec_root / "containers" / engine.inspect(name)["Id"]
    silo = json.loads((bundle / "silo.json").read_text(encoding="utf-8"))
    template = silo["vm"]["template"]
    files = [f"{template}/memory", f"{template}/state", f"{template}/root/boot/vmlinux", f"{template}/root/boot/initramfs",
             silo["rootfs"]["image"]]
    before = [digest(path) for path in files]
    script = ("d=$(cat /sys/block/vda/dev); mknod /tmp/image b ${d%:*} ${d#*:}; echo x | dd of=/tmp/image conv=notrunc;"
              "mount -o remount,rw /; dd if=/dev/zero of=/dev/shm/x bs=1M count=40; echo 3 > /proc/sys/vm/drop_caches; true")
    out = engine.docker("exec", "--privileged", name, "sh", "-c", script)
    assert "denied" in out.err or "not permitted" in out.err or "Read-only" in out.err, out
    assert [digest(path) for path in files] == before


@pytest.mark.parametrize("victim", ["monitor", "init or machine"])
def test_case_32_killed(engine, run, mode, name, victim):
    """After the test the fixture looks for what is left: processes, mounts, cgroups, networks, files."""
    run("-d", "--name", name, "-v", f"{engine.top}:/shared:ro", BASE, "sleep", "1000")
    identity, pid = engine.inspect(name)["Id"], engine.inspect(name)["State"]["Pid"]
    kill_process(engine.monitor_pid(identity) if victim == "monitor" else pid)
    until("it is known to have ended", lambda: not engine.state(name)["Running"])
    assert engine.state(name)["ExitCode"] == 137
    engine.docker("start", name)
    assert engine.docker("exec", name, "echo", "again").line == "again"


def resources(engine):
    """What must not grow: descriptors and threads of silod, its mounts, cgroups, links of its network."""
    pid = engine.process.pid
    with open(f"/proc/{pid}/mountinfo", encoding="ascii") as mounts:
        return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "threads": len(os.listdir(f"/proc/{pid}/task")),
                "mounts": len(mounts.readlines()), "links": len(engine.ip("-o", "link").splitlines())}


def resident_kib(engine):
    with open(f"/proc/{engine.process.pid}/status", encoding="ascii") as f:
        return int(f.read().split("VmRSS:")[1].split()[0])


def test_case_34_soak(own_engine, tmp_path):
    """Many starts, and many removals at once: nothing grows."""
    config = tmp_path / "daemon.json"
    config.write_text('{"vm-standby": false}', encoding="utf-8")
    engine = own_engine("--config-file", config)

    def rounds(n):
        for i in range(n):
            engine.docker("run", "--rm", "--isolation=process", *(["--network=none"] if i % 2 else []), BASE, "true")

    def crowd(n):
        names = [engine.docker("run", "-d", "--isolation=process", BASE, "sleep", "1000").line for _ in range(n)]
        threads = [threading.Thread(target=engine.docker, args=("rm", "-f", each)) for each in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert engine.containers() == []

    rounds(10)
    crowd(20)  # an allocator keeps what many threads at once have once used
    before, memory = resources(engine), resident_kib(engine)
    rounds(30)
    crowd(20)
    until("all of it has been given back", lambda: all(now <= before[key] + 2 for key, now in resources(engine).items()))
    assert resident_kib(engine) < memory + 8 * 1024
