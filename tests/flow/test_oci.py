# SPDX-License-Identifier: LGPL-2.1-or-later
"""The OCI runtime: runtime-spec 1.2 and runc's command line, in both isolation modes."""
import array
import hashlib
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from engine import program, until
from oci import SPEC, Runtime, cgroup_left


@pytest.fixture
def silo(mode, vm_dir):
    runtime = Runtime(mode, vm_dir)
    yield runtime
    runtime.remove()


@pytest.fixture
def process(vm_dir):
    runtime = Runtime("process", vm_dir)
    yield runtime
    runtime.remove()


# --- life

def test_run_streams_and_exit_code(silo):
    done = silo.run("sh", "-c", "cat; hostname; echo oops >&2; exit 7", stdin="hello\n", code=7)
    assert (done.out, done.err) == ("hello\nbundle\n", "oops\n")
    silo.assert_clean()


def test_life_of_a_container(silo):
    silo.spec("sleep", "1000")
    silo("create", "--pid-file", silo.top / "pid", "c")
    state = silo.state()
    assert state["status"] == "created" and state["ociVersion"].startswith("1.2") and state["bundle"] == str(silo.bundle)
    assert int((silo.top / "pid").read_text()) == state["pid"] and os.path.exists(f"/proc/{state['pid']}")
    assert "cannot delete" not in silo("list").out and "created" in silo("list").out
    silo("start", "c")
    assert silo.state()["status"] == "running"
    assert "already running" in silo("start", "c", code=1).err
    assert "not stopped" in silo("delete", "c", code=1).err
    silo("pause", "c")
    assert silo.state()["status"] == "paused"
    assert "paused" in silo("exec", "c", "true", code=255).err
    silo("resume", "c")
    assert json.loads(silo("ps", "-f", "json", "c").out)[0] == state["pid"]
    silo("kill", "c", "KILL")
    silo.wait_status("stopped")
    assert silo.state()["pid"] == 0
    assert "not running" in silo("kill", "c", code=1).err
    assert "has stopped" in silo("start", "c", code=1).err
    silo("delete", "c")
    assert "does not exist" in silo("state", "c", code=1).err
    silo("delete", "--force", "c")
    silo.assert_clean()
    assert not cgroup_left(silo.id)


def test_exec(silo):
    silo.spec("sleep", "1000", process__env=["PATH=/bin", "A=1"])
    silo("run", "--detach", "c")
    done = silo("exec", "--env", "B=2", "--user", "1000:1000", "--cwd", "/tmp", "c", "sh", "-c",
                "id -u; echo $A$B; readlink /proc/self/cwd; cat; exit 9", code=9, stdin="in")
    assert done.out == "1000\n12\n/tmp\nin"
    (silo.top / "process.json").write_text(json.dumps({**SPEC["process"], "args": ["hostname"]}))
    assert silo("exec", "--process", silo.top / "process.json", "c").line == "bundle"
    silo("exec", "--detach", "--pid-file", silo.top / "pid", "c", "sleep", "1000")
    pid = int((silo.top / "pid").read_text())
    assert os.path.exists(f"/proc/{pid}")
    assert "executable file not found" in silo("exec", "c", "nothing", code=255).err
    silo("delete", "--force", "c")
    silo.assert_clean()


def test_signal_reaches_init(silo):
    silo.spec("sh", "-c", "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.1; done")
    with silo.popen("run", "c", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"ready\n"
        silo("kill", "c", "SIGTERM")
        assert run.stdout.read() == b"got\n"
    assert run.returncode == 3
    silo.assert_clean()


def test_foreground_passes_signals_on(silo):
    silo.spec("sh", "-c", "trap 'exit 4' USR1; echo ready; while :; do sleep 0.1; done")
    with silo.popen("run", "c", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"ready\n"
        if silo.mode == "process":
            run.send_signal(10)
        else:
            silo("kill", "c", "USR1")
    assert run.returncode == 4


def receive_console(listener):
    peer, _ = listener.accept()
    fds = array.array("i")
    _, ancillary, _, _ = peer.recvmsg(4096, socket.CMSG_LEN(fds.itemsize))
    fds.frombytes(ancillary[0][2][: fds.itemsize])
    peer.close()
    return fds[0]


def read_until(fd, text):
    seen = b""
    while text not in seen:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    return seen


@pytest.fixture
def console(silo):
    listener = socket.socket(socket.AF_UNIX)
    path = silo.top / "console.sock"
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(60)
    yield path, lambda: receive_console(listener)
    listener.close()


def test_console_socket(silo, console):
    path, receive = console
    silo.spec("sh", "-c", "test -t 0 && echo is-a-tty; read a; echo got-$a; exit 5", process__terminal=True)
    assert "console socket" in silo("create", "c", code=1).err
    silo("create", "--console-socket", path, "c")
    master = receive()
    silo("start", "c")
    assert b"is-a-tty" in read_until(master, b"is-a-tty")
    os.write(master, b"x\n")
    assert b"got-x" in read_until(master, b"got-x")
    os.close(master)
    silo.wait_status("stopped")
    silo("delete", "c")


def test_exec_console_socket(silo, console):
    path, receive = console
    silo.spec("sleep", "1000")
    silo("run", "-d", "c")
    silo("exec", "--tty", "--detach", "--console-socket", path, "c", "sh", "-c", "tty; read a")
    master = receive()
    assert b"/dev/" in read_until(master, b"\n")
    os.close(master)
    silo("delete", "-f", "c")


# --- bad bundles: the member's name, exit code 1, nothing left

BAD = [
    ("{", "config.json"),
    ("[]", "object"),
    ({"ociVersion": "9.0"}, "ociVersion"),
    ({"root": {}}, "root.path"),
    ({"root": {"path": "nowhere"}}, "root.path"),
    ({"root": {"path": "/"}}, "root.path"),
    ({"process": None}, "process"),
    ({"process": {**SPEC["process"], "args": []}}, "args"),
    ({"process": {**SPEC["process"], "cwd": "x"}}, "cwd"),
    ({"process": {**SPEC["process"], "capabilities": {"bounding": ["CAP_CHOWN", 1]}}}, "capabilities"),
    ({"process": {**SPEC["process"], "rlimits": [{"type": "X", "soft": 1, "hard": 1}]}}, "rlimits[0]"),
    ({"process": {**SPEC["process"], "args": ["nothing-here"]}}, "nothing-here"),
    ({"mounts": [{"destination": "/mnt", "type": "bind", "source": "/nowhere", "options": ["bind"]}]}, "/mnt"),
    ({"mounts": [{"destination": "/mnt", "type": "nofs"}]}, "nofs"),
    ({"hostname": "", "linux": {"namespaces": [{"type": "x"}]}}, "namespaces[0]"),
    ({"linux": {"namespaces": [{"type": "mount"}]}}, "hostname: unable to set"),
    ({"linux": []}, "linux"),
    ({"linux": {**SPEC["linux"], "resources": []}}, "resources"),
    ({"linux": {**SPEC["linux"], "maskedPaths": ["relative"]}}, "maskedPaths[0]"),
    ({"linux": {**SPEC["linux"], "devices": [{"path": "/dev/x", "type": "x"}]}}, "devices[0]: type"),
    ({"linux": {**SPEC["linux"], "rootfsPropagation": "x"}}, "rootfsPropagation"),
    ({"linux": {**SPEC["linux"], "timeOffsets": {"monotonic": {"secs": 1}}}}, "timeOffsets"),
    ({"linux": {**SPEC["linux"], "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}}, "uidMappings"),
    ({"linux": {**SPEC["linux"], "namespaces": SPEC["linux"]["namespaces"] + [{"type": "pid"}]}}, "given twice"),
    ({"mounts": [{"destination": "/mnt", "type": "tmpfs", "options": [1]}]}, "mounts[0]"),
    ({"mounts": [{"type": "tmpfs"}]}, "mounts[0]: destination"),
    ({"annotations": {"a": 1}}, "annotations.a"),
    ({"hostname": 1}, "hostname"),
    ({"process": {k: v for k, v in SPEC["process"].items() if k != "cwd"}}, "process.cwd"),
    ({"process": {**SPEC["process"], "env": [1]}}, "env"),
    ({"process": {**SPEC["process"], "user": {"uid": -1}}}, "user: uid"),
    ({"process": {**SPEC["process"], "oomScoreAdj": 2000}}, "oomScoreAdj"),
    ({"process": {**SPEC["process"], "rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2}}, "rlimits[1]: type"),
    ({"process": {**SPEC["process"], "scheduler": {"policy": "X"}}}, "scheduler: policy"),
    ({"process": {**SPEC["process"], "ioPriority": {"class": "X"}}}, "ioPriority: class"),
    ({"linux": {**SPEC["linux"], "intelRdt": {"closID": "x"}}}, "intelRdt"),
    ({"linux": {**SPEC["linux"], "resources": {"memory": {"limit": "x"}}}}, "memory: invalid value for limit"),
    ({"linux": {**SPEC["linux"], "resources": {"memory": {"kernel": 4096}}}}, "memory.kernel"),
    ({"linux": {**SPEC["linux"], "resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}}}, "hugepageLimits[0]"),
    ({"linux": {**SPEC["linux"], "resources": {"unified": {"cgroup.procs": "1"}}}}, "cgroup.procs"),
    ({"linux": {**SPEC["linux"], "cgroupsPath": "/a/../b"}}, "cgroupsPath"),
    ({"linux": {**SPEC["linux"], "seccomp": {"defaultAction": "X"}}}, "defaultAction"),
    ({"linux": {**SPEC["linux"], "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]}}},
     "architectures[0]"),
    ({"linux": {**SPEC["linux"], "sysctl": {"kernel.panic": "1"}}}, "kernel.panic"),
    ({"hooks": {"createRuntime": [{"path": "relative"}]}}, "hooks.createRuntime[0]: path"),
    ({"hooks": {"createRuntime": [{"path": "/bin/true", "timeout": 0}]}}, "timeout"),
    ({"hooks": {"poststop": [{"path": "relative"}]}}, "hooks.poststop[0]: path"),
    ({"hooks": {"startContainer": {}}}, "startContainer"),
    ({"annotations": {"io.silo.isolation": "x"}}, "io.silo.isolation"),
]


def cases_of(mode):
    """A machine isn't started for what is seen before: of the rest some do."""
    return BAD if mode == "process" else [b for b in BAD if "nothing-here" in b[1] or b[1] in ("root.path", "intelRdt")]


def test_bad_bundles(silo):
    for i, (change, text) in enumerate(cases_of(silo.mode)):
        silo.write(change if isinstance(change, str) else {**SPEC, **change})
        done = silo("create", f"bad{i}", code=1)
        assert text in done.err, (change, done)
        assert not cgroup_left(f"bad{i}")
    silo.assert_clean()


def test_errors_as_runc_logs_them(process):
    process.spec("nothing")
    log = process.top / "log.json"
    assert "nothing" in process("--log", log, "--log-format", "json", "run", "c", code=1).err
    line = json.loads(log.read_text())
    assert line["level"] == "error" and "nothing" in line["msg"] and line["time"].startswith("20")
    assert "level=error msg=" in process("--log-format", "text", "state", "c", code=1).err
    for name in ("", "../x", "a/b", "-x"):
        assert process("run", "--", name, code=1).err
    assert "not supported" in process("checkpoint", "c", code=1).err
    assert "systemd-cgroup" in process("--systemd-cgroup", "run", "c", code=1).err
    process.spec("true")
    process("create", "c")
    assert "already exists" in process("create", "c", code=1).err
    process("delete", "c")


def test_isolation_is_never_weakened(process):
    """The administrator's choice wins over an annotation; the name that the program has is a choice."""
    process.spec("true", annotations={"io.silo.isolation": "hyperv"})
    assert "contradicts" in process("run", "c", code=1).err
    link = process.top / "silo-hyperv"
    link.symlink_to(program("silo"))
    process.spec("true", annotations={"io.silo.isolation": "process"})
    done = subprocess.run([link, "--root", process.root, "run", "-b", process.bundle, "c"], capture_output=True, check=False)
    assert done.returncode == 1 and b"contradicts" in done.stderr


def test_an_ordinary_user(process):
    """One id mapped, no cgroup, no rights on the host."""
    home = process.top / "home"
    home.mkdir()
    process.top.chmod(0o755)
    for place in (home, process.bundle):
        subprocess.run(["chown", "-R", "1000:1000", place], check=True)
    user = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "env", f"XDG_RUNTIME_DIR={home}", program("silo")]

    def silo(*args, code=0):
        with open(process.top / "out", "w+", encoding="utf-8") as out:  # a created container keeps it open
            done = subprocess.run([*user, *args], cwd=process.bundle, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  timeout=300, check=False)
        text = (process.top / "out").read_text(encoding="utf-8")
        assert done.returncode == code, (args, text)
        return text

    (process.bundle / "config.json").unlink(missing_ok=True)
    silo("spec", "--rootless")
    spec = json.loads((process.bundle / "config.json").read_text())
    spec["process"].update(terminal=False, args=["sh", "-c", "id -u; cat /proc/self/uid_map; exit 4"])
    process.write(spec)
    text = silo("run", "c", code=4)
    assert "the container has no cgroup" in text and text.split()[-4:] == ["0", "0", "1000", "1"]
    spec["process"]["args"] = ["sleep", "1000"]
    process.write(spec)
    silo("create", "c")
    silo("start", "c")
    assert silo("exec", "c", "sh", "-c", "id -u; hostname").split()[-2:] == ["0", "silo"]
    for command in (["pause", "c"], ["ps", "c"], ["update", "--memory", "1000000", "c"]):
        assert "no cgroup" in silo(*command, code=1)
    silo("kill", "c", "KILL")
    until("it has ended", lambda: '"stopped"' in silo("state", "c"))
    silo("delete", "c")
    spec["linux"]["resources"] = {"memory": {"limit": 1 << 26}}
    process.write(spec)
    assert "limits need a cgroup" in silo("run", "c", code=1)
    assert "needs root" in silo("--isolation", "hyperv", "run", "c", code=1)
    assert not list((home / "silo-oci").glob("[!.]*"))


# --- the specification

def test_process_members(silo):
    done = silo.run("sh", "-c", "id; umask; ulimit -n; grep NoNewPrivs /proc/self/status; readlink /proc/self/cwd",
                    process__user={"uid": 1000, "gid": 1000, "additionalGids": [5], "umask": 63}, process__cwd="/tmp",
                    process__rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                                      {"type": "RLIMIT_CORE", "soft": 18446744073709551615,
                                       "hard": 18446744073709551615}])
    assert "uid=1000" in done.out and "5" in done.out.splitlines()[0]
    assert done.out.splitlines()[1:] == ["0077", "100", "NoNewPrivs:\t1", "/tmp"]


def test_mounts_and_paths(silo):
    (silo.top / "data").mkdir()
    (silo.top / "data/file").write_text("shared")
    mounts = SPEC["mounts"] + [
        {"destination": "/mnt", "type": "bind", "source": str(silo.top / "data"), "options": ["rbind", "ro"]},
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}]
    done = silo.run("sh", "-c", "cat /mnt/file; touch /mnt/x || echo denied; wc -c < /proc/version; "
                    "touch /proc/sys/x 2>/dev/null || echo ro; grep -c user /etc/passwd; touch /x || echo rootro", mounts=mounts,
                    root={"path": "rootfs", "readonly": True}, linux__maskedPaths=["/proc/version"],
                    linux__readonlyPaths=["/proc/sys"])
    assert done.out.split() == ["shareddenied", "0", "ro", "1", "rootro"]


def test_limits_and_update(silo):
    silo.spec("sleep", "1000", linux__resources={"pids": {"limit": 50}, "memory": {"limit": 64 << 20}})
    silo("run", "-d", "c")
    stats = json.loads(silo("events", "--stats", "c").out)
    assert stats["type"] == "stats" and stats["data"]["pids"]["limit"] == 50
    assert stats["data"]["memory"]["usage"]["limit"] == 64 << 20
    silo("update", "--pids-limit", "60", "c")
    assert silo("update", "--resources", "-", "c", stdin='{"memory": {"limit": 100663296}}').code == 0
    stats = json.loads(silo("events", "--stats", "c").out)
    assert stats["data"]["pids"]["limit"] == 60 and stats["data"]["memory"]["usage"]["limit"] == 96 << 20
    silo("update", "--cpu-quota", "50000", "--cpu-burst", "20000", "--cpuset-cpus", "0", "c")
    silo("update", "--cpu-idle", "1", "c")
    if silo.mode == "process":
        files = [(Path("/sys/fs/cgroup/cpu/silo") / silo.id / f).read_text() for f in ("cpu.cfs_burst_us", "cpu.idle")]
        assert files == ["20000\n", "1\n"]
    silo("delete", "-f", "c")


def hook(silo, kind, code="true"):
    return {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {silo.top}/{kind}.json; echo {kind} >> {silo.top}/order; {code}"],
            "env": ["PATH=/bin:/usr/bin"], "timeout": 60}


def test_hooks(silo):
    kinds = ["prestart", "createRuntime"] + (["createContainer"] if silo.mode == "process" else []) + ["poststart", "poststop"]
    silo.spec("true", hooks={k: [hook(silo, k)] for k in kinds}, annotations={"a": "b"})
    silo("create", "c")
    state = json.loads((silo.top / "createRuntime.json").read_text())
    assert state["id"] == silo.id and state["pid"] == silo.state()["pid"] and state["bundle"] == str(silo.bundle)
    assert state["status"] == "creating" and state["annotations"] == {"a": "b"}
    silo("start", "c")
    silo.wait_status("stopped")
    silo("delete", "c")
    assert (silo.top / "order").read_text().split() == kinds


def test_a_failing_hook_ends_the_create(silo):
    silo.spec("true", hooks={"createRuntime": [hook(silo, "createRuntime", "echo why; exit 3")],
                             "poststop": [hook(silo, "poststop")]})
    done = silo("create", "c", code=1)
    assert "createRuntime hook #0" in done.err and "exit status 3" in done.err
    assert (silo.top / "order").read_text().split() == ["createRuntime", "poststop"]
    silo.assert_clean()


def test_hook_timeout(process):
    process.spec("true", hooks={"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]})
    assert "timeout" in process("create", "c", code=1).err
    process.assert_clean()


def test_inner_hooks(silo):
    """createContainer runs before the root is changed; in a machine only the root's programs are there."""
    tmp = silo.bundle / "rootfs/tmp"
    outer = "" if silo.mode == "hyperv" else silo.bundle / "rootfs"
    hooks = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {outer}/tmp/created"], "env": ["PATH=/bin"]}],
             "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/started"], "env": ["PATH=/bin"]}]}
    silo.run("true", hooks=hooks, annotations={"a": "b"})
    for name, status in (("created", "creating"), ("started", "created")):
        state = json.loads((tmp / name).read_text())
        assert (state["status"], state["id"], state["bundle"], state["annotations"]) == (
            status, silo.id, str(silo.bundle), {"a": "b"}), state
    hooks["startContainer"][0]["args"][2] = "echo why; exit 3"
    assert "startContainer hook #0: exit status 3: why" in silo.run("true", hooks=hooks, code=1).err
    silo.assert_clean()


# --- what happens

def test_events_tell_of_oom_and_end(silo):
    silo.spec("sleep", "1000", linux__resources={"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    silo("run", "-d", "c")
    with silo.popen("events", "--interval", "60s", "c", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as events:
        assert json.loads(events.stdout.readline())["type"] == "stats"
        silo("exec", "c", "sh", "-c", "a=x; while :; do a=$a$a; done", code=137)
        assert json.loads(events.stdout.readline()) == {"type": "oom", "id": silo.id}
        silo("delete", "-f", "c")
        assert b"stats" not in events.stdout.read()
    assert events.returncode == 0
    silo.assert_clean()


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "image").write_bytes(b"of the host\n".ljust(1 << 20))
    device = subprocess.run(["losetup", "-f", "--show", tmp_path / "image"], capture_output=True, text=True, check=True).stdout.strip()
    yield device
    subprocess.run(["losetup", "-d", device], check=True)


def test_devices(silo, disk):
    """A block device is a disk of the machine; its numbers there are the machine's."""
    numbers = os.stat(disk).st_rdev
    device = {"path": disk, "type": "b", "major": os.major(numbers), "minor": os.minor(numbers)}
    rule = {"allow": True, "type": "b", "major": device["major"], "minor": device["minor"], "access": "r"}
    done = silo.run("sh", "-c", f"head -n 1 {disk}; (echo x > {disk}) 2>/dev/null || echo denied", linux__devices=[device],
                    linux__resources={"devices": [{"allow": False, "access": "rwm"}, rule]})
    assert done.out == "of the host\ndenied\n"
    tty = {"path": "/dev/tty0", "type": "c", "major": 4, "minor": 0}
    if silo.mode == "hyperv":
        assert "linux.devices[0]: /dev/tty0" in silo.run("true", linux__devices=[tty], code=1).err


def test_user_namespace(process):
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    os.chmod(process.top, 0o755)
    linux = {"namespaces": SPEC["linux"]["namespaces"] + [{"type": "user"}], "uidMappings": maps, "gidMappings": maps}
    process.spec("sleep", "1000", linux=linux)
    process("run", "-d", "c")
    pid = process.state()["pid"]
    assert os.stat(f"/proc/{pid}").st_uid == 100000
    done = process("exec", "c", "sh", "-c", "id -u; cat /proc/self/uid_map; echo x > /dev/null && echo null")
    assert done.out.split() == ["0", "0", "100000", "65536", "null"]
    process("delete", "-f", "c")


def test_idmapped_mount(process):
    data = process.top / "data"
    data.mkdir()
    (data / "file").write_text("x")
    os.chown(data / "file", 1000, 1000)
    ids = [{"containerID": 1000, "hostID": 2000, "size": 1}]
    mount = {"destination": "/mnt", "type": "bind", "source": str(data), "options": ["bind", "idmap"],
             "uidMappings": ids, "gidMappings": ids}
    done = process.run("stat", "-c", "%u:%g", "/mnt/file", mounts=SPEC["mounts"] + [mount])
    assert done.line == "2000:2000"


def test_time_namespace_personality_and_priorities(process):
    with open("/proc/uptime", encoding="ascii") as f:
        host = float(f.read().split()[0])
    linux = {**SPEC["linux"], "namespaces": SPEC["linux"]["namespaces"] + [{"type": "time"}],
             "timeOffsets": {"boottime": {"secs": 1000000}}, "personality": {"domain": "LINUX32"}}
    done = process.run("sh", "-c", "cat /proc/uptime; uname -m; cat /proc/self/stat", linux=linux,
                       process__scheduler={"policy": "SCHED_BATCH", "nice": 5},
                       process__ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0},
                       domainname="example.org")
    uptime, machine, stat = done.out.splitlines()
    assert float(uptime.split()[0]) > host + 900000 and machine == "i686"
    assert stat.split()[18] == "5" and stat.split()[40] == "3"


def test_labels_are_applied_or_refused(process):
    if not os.path.exists("/sys/module/apparmor"):
        process.spec("true", process={**SPEC["process"], "apparmorProfile": "docker-default"})
        assert "process.apparmorProfile" in process("run", "c", code=1).err
    if not os.path.exists("/sys/fs/selinux/enforce"):
        process.spec("true", process={**SPEC["process"], "selinuxLabel": "a:b:c:d"})
        assert "process.selinuxLabel" in process("run", "c", code=1).err
    process.assert_clean()


def test_seccomp(silo):
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
               "flags": ["SECCOMP_FILTER_FLAG_LOG"],
               "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}
    done = silo.run("sh", "-c", "grep Seccomp: /proc/self/status; mkdir /tmp/x", linux__seccomp=profile, code=1)
    assert done.line == "Seccomp:\t2" and "errno 77" not in done.out and "mkdir" in done.err
    assert not (silo.bundle / "rootfs/tmp/x").exists()
    profile["syscalls"][0]["action"] = "SCMP_ACT_NOTIFY"
    silo.spec("true", linux__seccomp=profile)
    assert "listenerPath" in silo("run", "c", code=1).err


def test_seccomp_listener(process):
    """What the filter asks is asked on a descriptor that listenerPath gets, with the state beside it."""
    path = process.top / "listener.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(60)
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path), "listenerMetadata": "meta",
                   "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
        process.spec("true", linux__seccomp=profile)
        process("create", "c")
        peer, _ = listener.accept()
        fds = array.array("i")
        text, ancillary, _, _ = peer.recvmsg(65536, socket.CMSG_LEN(fds.itemsize))
        fds.frombytes(ancillary[0][2][: fds.itemsize])
        assert "seccomp" in os.readlink(f"/proc/self/fd/{fds[0]}")
        os.close(fds[0])
        peer.close()
    message = json.loads(text)
    assert message["fds"] == ["seccompFd"] and message["metadata"] == "meta" and message["state"]["id"] == process.id
    process("delete", "-f", "c")


def test_network_namespace(silo):
    """The one of the caller: its device, address and route are the container's."""
    def ip(*args):
        subprocess.run(["ip", *args], check=True)

    tag = f"so{os.getpid() % 100000}"
    ip("netns", "add", tag)
    try:
        ip("-n", tag, "link", "add", "eth0", "type", "veth", "peer", "name", "peer")
        ip("-n", tag, "addr", "add", "10.99.0.2/24", "dev", "eth0")
        ip("-n", tag, "link", "set", "eth0", "up")
        ip("-n", tag, "link", "set", "peer", "up")
        ip("-n", tag, "route", "add", "default", "via", "10.99.0.1")
        namespaces = [{**n, **({"path": f"/run/netns/{tag}"} if n["type"] == "network" else {})}
                      for n in SPEC["linux"]["namespaces"]]
        done = silo.run("sh", "-c", "ip addr show eth0; ip route", linux={"namespaces": namespaces})
        assert "10.99.0.2/24" in done.out and "default via 10.99.0.1" in done.out
        left = subprocess.run(["ip", "-n", tag, "-br", "link"], capture_output=True, text=True, check=True).stdout
        assert "silotap" not in left
    finally:
        ip("netns", "del", tag)


def test_preserve_fds(process):
    process.spec("sh", "-c", "cat <&3; ls /proc/self/fd")
    read, write = os.pipe()
    os.write(write, b"given ")
    os.close(write)

    def place():
        os.dup2(read, 3)

    done = subprocess.run([*process.arguments, "run", "--preserve-fds", "1", "c"], cwd=process.bundle, stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, pass_fds=[3], preexec_fn=place, close_fds=False, check=True)
    os.close(read)
    assert done.stdout.decode().split()[0] == "given"
    # nothing of the runtime's own, nor of ours: 4 is what ls has opened
    assert done.stdout.decode().split()[1:] == ["0", "1", "2", "3", "4"]


# --- security-cases 1, 2

def test_case_1_own_program_is_out_of_reach(process):
    binary = program("silo")
    with open(binary, "rb") as f:
        before = hashlib.sha256(f.read()).hexdigest()
    # init is the runtime's own program: it looks for itself and tries to write there
    process.spec("sleep", "1000", process__capabilities={s: ["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]
                                                        for s in ("bounding", "effective", "permitted")})
    process("create", "c")
    exe = f"/proc/{process.state()['pid']}/exe"
    with pytest.raises(OSError):
        os.close(os.open(exe, os.O_WRONLY))
    process("delete", "-f", "c")
    process.run("/proc/self/exe", "--version", code=None)
    with open(binary, "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == before


def test_case_2_no_descriptor_of_the_host(process):
    for number in range(3, 20):
        process.spec("ls", process__cwd=f"/proc/self/fd/{number}")
        assert f"/proc/self/fd/{number}" in process("run", "c", code=1).err
    process.assert_clean()


# --- what describes

def test_spec_and_features(process):
    place = process.top / "new"
    place.mkdir()
    process("spec", cwd=place)
    spec = json.loads((place / "config.json").read_text())
    assert spec["process"]["args"] == ["sh"] and spec["root"] == {"path": "rootfs", "readonly": True}
    assert "exists" in process("spec", cwd=place, code=1).err
    (process.bundle / "config.json").write_text(json.dumps({**spec, "process": {**spec["process"], "terminal": False,
                                                                               "args": ["hostname"]}}))
    assert process("run", "c").line == "silo"
    features = json.loads(process("features").out)
    assert features["ociVersionMax"].startswith("1.2") and "createContainer" in features["hooks"]
    assert features["linux"]["intelRdt"] == {"enabled": False} and "user" in features["linux"]["namespaces"]
    assert json.loads(process("list", "--format", "json").out) is None


def test_a_killed_create_leaves_nothing_that_stays(process):
    """kill -9 of the runtime in the middle: delete --force takes what there is."""
    process.spec("true", hooks={"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]})
    with process.popen("create", "c", stdin=subprocess.DEVNULL) as create:
        until("the hook runs", lambda: (process.root / process.id / "state.json").exists())
        create.kill()
    process("delete", "--force", "c")
    process.assert_clean()
    assert not cgroup_left(process.id)
