# SPDX-License-Identifier: LGPL-2.1-or-later
"""Process isolation through process-driver, without engine or monitor: texts of errors, hostile images, nothing left.
Names with a case number are those of the list of attacks on runtimes."""
import ctypes
import glob
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from engine import BUILD, program, until

DRIVER = str(BUILD / "tests/process-driver")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CAPS = [f"CAP_{c}" for c in ("CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
                             "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE").split()]
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]
LOCKED = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
counter = itertools.count(1)
LIBC = ctypes.CDLL(None)
RENAME_EXCHANGE = 2


def mount(destination, kind, *options, source=None):
    return {"destination": destination, "type": kind, "source": source or kind, "options": list(options)}


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    top = tmp_path_factory.mktemp("layer")
    for name in "bin etc proc sys dev tmp root".split():
        (top / name).mkdir()
    busybox = shutil.which("busybox")
    shutil.copy(busybox, top / "bin/busybox")
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            (top / "bin" / name).symlink_to("busybox")
    (top / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
    (top / "etc/group").write_text("root:x:0:\napp:x:1000:\nextra:x:2000:app\n")
    (top / "bin/plain").write_text("text")
    (top / "bin/garbage").write_bytes(b"\1\2\3garbage")
    (top / "bin/garbage").chmod(0o755)
    return top


class Box:
    """One bundle; attributes config and silo may be changed before run()."""

    def __init__(self, top, layer, *args):
        self.id = f"driver-{os.getpid()}-{next(counter)}"
        self.dir = top / self.id
        self.dir.mkdir()
        self.config = {
            "ociVersion": "1.2.0", "hostname": "box", "root": {"path": "rootfs", "readonly": False},
            "process": {"args": list(args), "env": [PATH], "cwd": "/", "user": {},
                        "capabilities": {"bounding": CAPS, "effective": CAPS, "permitted": CAPS}},
            "mounts": [
                mount("/proc", "proc", "nosuid", "noexec", "nodev"),
                mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
                mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
                mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
                mount("/sys/fs/cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev"),
                mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
                mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k")],
            "linux": {"cgroupsPath": f"/silo/{self.id}", "maskedPaths": MASKED, "readonlyPaths": LOCKED, "resources": {},
                      "namespaces": [{"type": t} for t in "pid mount ipc uts network cgroup".split()]}}
        self.silo = {"id": self.id, "isolation": "process", "rootfs": {
            "layers": [str(layer)], "upper": str(self.dir / "upper"), "work": str(self.dir / "work")}}

    def write(self):
        (self.dir / "config.json").write_text(json.dumps(self.config))
        (self.dir / "silo.json").write_text(json.dumps(self.silo))
        return str(self.dir)

    def run(self, *options, env=None):
        """(exit code, stdout, stderr)"""
        done = subprocess.run([DRIVER, *options, self.write()], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, env=dict(os.environ, **(env or {})))
        assert self.cgroups() == []
        return done.returncode, done.stdout, done.stderr

    def fails(self, *options, **kwargs):
        code, out, err = self.run(*options, **kwargs)
        assert code == 125, (code, out, err)
        return err.strip()

    def cgroups(self):
        return glob.glob(f"/sys/fs/cgroup/**/{self.id}", recursive=True)

    def init(self):
        for place in glob.glob(f"/sys/fs/cgroup/**/silo/{self.id}/cgroup.procs", recursive=True):
            with open(place, encoding="ascii") as procs:
                return int(procs.readline() or 0)
        return 0


@pytest.fixture
def box(tmp_path, layer):
    return lambda *args: Box(tmp_path, layer, *args)


@pytest.mark.parametrize("command, error", [
    ("nosuch", 'no_command: exec: "nosuch": executable file not found in $PATH'),
    ("plain", 'no_command: exec: "plain": executable file not found in $PATH'),
    ("/nope", 'no_command: exec: "/nope": stat /nope: no such file or directory'),
    ("/etc", 'not_executable: exec: "/etc": is a directory'),
    ("/bin/plain", 'not_executable: exec: "/bin/plain": permission denied'),
    ("/bin/garbage", "not_executable: exec /bin/garbage: exec format error"),
])
def test_command_error(box, command, error):
    assert box(command).fails() == error


@pytest.mark.parametrize("user, answer", [
    ("app", "1000:1000:1000 2000:/home/app"), ("1000", "1000:1000:1000 2000:/home/app"), ("1000:7", "1000:7:7:/home/app"),
    ("0:", "0:0:0:/root"), ("4242", "4242:0:0:/"), ("4242:app", "4242:1000:1000:/"),
])
def test_09_user(box, user, answer):
    b = box("sh", "-c", "echo $(id -u):$(id -g):$(id -G):$HOME")
    b.config["process"]["user"] = {"username": user}
    assert b.run() == (0, answer + "\n", "")


@pytest.mark.parametrize("user, error", [
    ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
    ("+0", "unable to find user +0: no matching entries in passwd file"),
    ("app:nosuch", "unable to find group nosuch: no matching entries in group file"),
    ("4294967296", "uids and gids must be in range 0-2147483647: 4294967296"),
])
def test_09_user_error(box, user, error):
    b = box("id")
    b.config["process"]["user"] = {"username": user}
    assert b.fails() == "system: " + error


def test_01_runtime_is_overwritten_from_inside(box, tmp_path):
    """A script whose interpreter is /proc/self/exe makes the kernel run the supervisor's own binary in the container, where
    init tries to get at it and to write to it."""
    (tmp_path / "evil/bin").mkdir(parents=True)
    (tmp_path / "evil/bin/evil").write_text("#!/proc/self/exe\n")
    (tmp_path / "evil/bin/evil").chmod(0o755)
    with open(DRIVER, "rb") as f:
        before = hashlib.sha256(f.read()).digest()
    attack = ("i=0; while [ $i -lt 300 ]; do i=$((i+1)); for p in /proc/[0-9]*; do "
              "(exec 9<$p/exe && echo OVERWRITTEN > /proc/self/fd/9 && echo $p) 2>/dev/null; done; done")
    b = box("sh", "-c", attack)
    b.silo["rootfs"]["layers"].insert(0, str(tmp_path / "evil"))
    execs = ["--exec", json.dumps({"args": ["/bin/evil"], "env": [PATH]})] * 3
    code, out, err = b.run(*execs)
    assert "/proc/" not in out and err.count("exec exit") == 3, (code, out, err)
    with open(DRIVER, "rb") as f:
        assert hashlib.sha256(f.read()).digest() == before


@pytest.mark.parametrize("fd", [3, 4, 5, 8, 16, 64])
def test_02_cwd_through_descriptor(box, fd):
    b = box("pwd")
    b.config["process"]["cwd"] = f"/proc/self/fd/{fd}"
    assert "chdir to cwd" in b.fails() or "mkdir" in b.fails()


def test_02_no_descriptor_leaks(box):
    code, out, _ = box("ls", "/proc/self/fd").run("--exec", json.dumps({"args": ["ls", "/proc/self/fd"], "env": [PATH]}))
    assert (code, sorted(out.split())) == (0, sorted("0 1 2 3".split() * 2))  # 3: ls's own


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_03_symlink_in_image(box, tmp_path, name):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / name).symlink_to("/tmp")
    b = box("true")
    b.silo["rootfs"]["layers"].insert(0, str(tmp_path / "evil"))
    assert "symlink" in b.fails()


@pytest.mark.parametrize("place", ["/proc/foo", "/proc/sys/kernel", "/proc", "/x/../proc/1", "/link/1"])
def test_04_volume_over_proc(box, tmp_path, place):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/link").symlink_to("/proc")
    b = box("true")
    b.silo["rootfs"]["layers"].insert(0, str(tmp_path / "evil"))
    b.config["mounts"].append(mount(place, "bind", "rbind", source="/tmp"))
    assert "cannot be mounted" in b.fails()


def test_05_target_swapped_during_start(box, tmp_path, layer):
    """/vol flips between a directory and a symlink that leaves the root while the volume is mounted below it: as often as
    fits into ten seconds."""
    deadline = time.monotonic() + 10
    root, outside = tmp_path / "root", tmp_path / "outside"
    shutil.copytree(layer, root, symlinks=True)
    outside.mkdir()
    (root / "vol").mkdir()
    (root / "vol2").symlink_to("../../../../../.." + str(outside))
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            LIBC.renameat2(-100, bytes(root / "vol"), -100, bytes(root / "vol2"), RENAME_EXCHANGE)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for i in itertools.takewhile(lambda i: i < 20 or time.monotonic() < deadline, itertools.count()):
            b = box("true")
            b.silo["rootfs"] = {"path": str(root)}
            b.config["mounts"].append(mount(f"/vol/made{i}/deep", "bind", "rbind", source="/tmp"))
            b.run()
    finally:
        stop.set()
        thread.join()
    assert list(outside.iterdir()) == []


def test_06_null_of_image(box, tmp_path):
    (tmp_path / "evil/dev").mkdir(parents=True)
    (tmp_path / "evil/dev/null").write_text("not null")
    b = box("true")
    b.silo["rootfs"]["layers"].insert(0, str(tmp_path / "evil"))
    b.config["mounts"] = [m for m in b.config["mounts"] if not m["destination"].startswith("/dev")]
    assert "is not the null device" in b.fails()


@pytest.mark.parametrize("key", ["kernel.core_pattern", "kernel/core_pattern", "vm.swappiness", "net/../kernel.core_pattern"])
def test_07_sysctl(box, key):
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as f:
        before = f.read()
    b = box("true")
    b.config["linux"]["sysctl"] = {key: "x"}
    assert "sysctl" in b.fails()
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as f:
        assert f.read() == before


def test_08_exec_inherits_nothing(box):
    caps = {k: ["CAP_CHOWN"] for k in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    spec = {"args": ["grep", "^Cap", "/proc/self/status"], "env": [PATH], "capabilities": caps}
    _, out, _ = box("sleep", "0.3").run("--exec", json.dumps(spec))
    sets = dict(line.split(":") for line in out.replace("\t", "").splitlines())
    assert (int(sets["CapInh"], 16), int(sets["CapAmb"], 16), int(sets["CapPrm"], 16)) == (0, 0, 1)


def test_13_cgroup_is_read_only(box):
    script = "for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do echo $$ > $f && echo WRITTEN; done"
    _, out, err = box("sh", "-c", script).run()
    assert "WRITTEN" not in out and "Read-only" in err


def test_masked_and_locked(box):
    script = "cat /proc/keys /proc/timer_list; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v :; echo x > /proc/sysrq-trigger"
    _, out, err = box("sh", "-c", script).run()
    assert out.strip() == "" and ("Read-only" in err or "nonexistent" in err)


def test_terminal(box):
    b = box("sh", "-c", "tty; stty size; test -c /dev/console && echo console; exit 4")
    b.config["process"]["terminal"] = True
    code, out, _ = b.run()
    assert (code, out.split()) == (4, ["/dev/pts/0", "24", "80", "console"])


def test_files_and_init(box):
    b = box("/sbin/docker-init", "--", "sh", "-c", "cat /etc/hosts; kill -9 $$")
    b.silo["files"] = [{"destination": "/etc/hosts", "data": "1.2.3.4 x\n"}]
    b.silo["init"] = program("silo-init")
    assert b.run()[:2] == (137, "1.2.3.4 x\n")


@pytest.mark.parametrize("target", ["../run/not/there", "/run/x/resolv.conf"])
def test_file_over_dangling_symlink(box, tmp_path, target):
    (tmp_path / "evil/etc").mkdir(parents=True)
    (tmp_path / "evil/etc/resolv.conf").symlink_to(target)
    b = box("cat", "/etc/resolv.conf")
    b.silo["rootfs"]["layers"].insert(0, str(tmp_path / "evil"))
    b.silo["files"] = [{"destination": "/etc/resolv.conf", "data": "nameserver\n"}]
    assert b.run()[:2] == (0, "nameserver\n")


def test_freeze_update_signal_all(box):
    assert box("sleep", "60").run("--freeze", "--update", '{"pids":{"limit":9}}', "--all", "9")[0] == 137


def test_18_fork_bomb_is_killed(box):
    b = box("sh", "-c", "f() { f | f & }; f; sleep 60")
    b.config["linux"]["resources"] = {"pids": {"limit": 30}}
    assert b.run("--all", "9")[0] == 137


def test_19_memory_hog(box):
    b = box("tail", "/dev/zero")
    b.config["linux"]["resources"] = {"memory": {"limit": 32 << 20, "swap": 32 << 20}}
    code, _, err = b.run()
    assert code == 137 and "oom" in err


def test_container_dies_with_its_supervisor(box):
    b = box("sleep", "300")
    driver = subprocess.Popen([DRIVER, b.write()])
    init = until("sleep runs", lambda: _runs(b.init(), b"sleep"))
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    until("the container is gone", lambda: not os.path.exists(f"/proc/{init}"))
    for place in b.cgroups():
        os.rmdir(place)


def _runs(pid, name):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return pid if pid and f.read().startswith(name) else 0
    except OSError:
        return 0


def test_32_every_step_may_fail(box):
    """Make the Nth step fail, for all N: an error that says so, no cgroup, mount or process left."""
    with open("/proc/mounts", encoding="ascii") as f:
        before = f.read()
    for n in itertools.count(1):
        b = box("true")
        b.config["process"]["terminal"] = True
        code, _, err = b.run(env={"SILO_FAIL_STEP": str(n)})
        if code == 0:
            break
        assert "made to fail by SILO_FAIL_STEP" in err
    assert n > 20
    with open("/proc/mounts", encoding="ascii") as f:
        assert f.read() == before
