# SPDX-License-Identifier: LGPL-2.1-or-later
"""The OCI runtime from the command line: bundles of busybox, and what is left of containers."""
import copy
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from engine import COMMAND_S, Result, process_table, program, until

BUSYBOX = shutil.which("busybox") or "/bin/busybox"
APPLETS = ("sh true false sleep cat echo ls id ps mount touch hostname env stat uname head wc readlink tty stty kill "
           "test mkdir grep ip nproc umask").split()

SPEC = {
    "ociVersion": "1.2.0",
    "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["true"], "env": ["PATH=/bin"], "cwd": "/",
                "capabilities": {s: ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"]
                                 for s in ("bounding", "effective", "permitted")},
                "noNewPrivileges": True},
    "root": {"path": "rootfs"},
    "hostname": "bundle",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")]},
}


def make_rootfs(place):
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "mnt"):
        (place / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, place / "bin/busybox")
    for name in APPLETS:
        (place / "bin" / name).symlink_to("busybox")
    (place / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    (place / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")


class Runtime:
    """silo with a root of its own; every container of a test is gone with it."""

    def __init__(self, mode, vm_dir):
        self.mode = mode
        self.top = Path(tempfile.mkdtemp(prefix="silo-oci-"))
        self.root = self.top / "state"
        self.bundle = self.top / "bundle"
        self.id = self.top.name  # of the container that tests call "c": its cgroup has no root of its own
        self.vm_dir = vm_dir
        make_rootfs(self.bundle / "rootfs")
        self.arguments = [program("silo"), "--root", str(self.root), "--vm-dir", str(vm_dir), "--isolation", mode]

    def spec(self, *args, **changes):
        """Write config.json: the program, and members of the top level or of process and linux by their name."""
        spec = copy.deepcopy(SPEC)
        if args:
            spec["process"]["args"] = list(args)
        for key, value in changes.items():
            part, _, name = key.partition("__")
            if name:
                spec[part][name] = value
            else:
                spec[part] = value
        self.write(spec)
        return spec

    def write(self, spec):
        (self.bundle / "config.json").write_text(spec if isinstance(spec, str) else json.dumps(spec))

    def popen(self, *args, **kwargs):
        args = [self.id if a == "c" else a for a in args]
        return subprocess.Popen([*self.arguments, *map(str, args)], cwd=self.bundle, **kwargs)

    def __call__(self, *args, code=0, stdin=None, **kwargs):
        """Output goes to files, as a created container keeps it open."""
        args = [self.id if a == "c" else a for a in args]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            feed = {"input": stdin.encode()} if stdin is not None else {"stdin": subprocess.DEVNULL}
            done = subprocess.run([*self.arguments, *map(str, args)], cwd=kwargs.pop("cwd", self.bundle), stdout=out,
                                  stderr=err, timeout=COMMAND_S, check=False, **feed, **kwargs)
            out.seek(0)
            err.seek(0)
            result = Result(args, done.returncode, out.read(), err.read())
        if code is not None:
            assert result.code == code, result
        return result

    def run(self, *args, name="c", code=0, stdin=None, **changes):
        self.spec(*args, **changes)
        return self("run", name, code=code, stdin=stdin)

    def state(self, name="c"):
        return json.loads(self("state", name).out)

    def wait_status(self, status, name="c"):
        until(f"{name} is {status}", lambda: self.state(name)["status"] == status)

    def assert_clean(self):
        """No state, no process, no mount, no cgroup."""
        left = [p.name for p in self.root.iterdir() if not p.name.startswith(".")] if self.root.exists() else []
        assert not left, left
        until("no process is left", lambda: not self.processes())
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.top) in line]
        assert not mounts, mounts

    def processes(self):
        return [row for row in process_table() if str(self.root) in row[3]]

    def remove(self):
        for name in [p.name for p in self.root.iterdir()] if self.root.exists() else []:
            if not name.startswith("."):
                self("delete", "--force", name, code=None)
        try:
            self.assert_clean()
        finally:
            shutil.rmtree(self.top, ignore_errors=True)


def cgroup_left(name):
    return [str(p) for p in Path("/sys/fs/cgroup").glob(f"*/silo/{name}")]


