# SPDX-License-Identifier: LGPL-2.1-or-later
"""--systemd-cgroup with a real systemd: pid 1 of namespaces of its own, on a branch of the host's cgroup v2."""
import os
import signal
import subprocess
from pathlib import Path

import pytest
from engine import until
from oci import SPEC, Runtime

# Nothing of the host is to be started, changed or unmounted: no units but an empty target, a root that is read-only.
START = """
mount --make-rprivate / && mount --bind /tmp /tmp && mount -o remount,ro,bind / && exec unshare -C sh -e -c '
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t proc proc /proc
for d in /usr/lib/systemd/system-generators /usr/lib/systemd/system /etc/systemd; do mount --bind "$0/empty" $d; done
exec env -i container=test SYSTEMD_UNIT_PATH="$0/units" PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --unit=empty.target --log-target=console --show-status=0' "$0"
"""


def remove_cgroups(top):
    for place, _, _ in os.walk(top, topdown=False):
        os.rmdir(place)


@pytest.fixture(scope="module")
def systemd(vm_dir):
    runtime = Runtime("process", vm_dir)
    top = runtime.top
    (top / "empty").mkdir()
    (top / "units").mkdir()
    (top / "units/empty.target").write_text("[Unit]\nDescription=nothing\n")
    unified = Path("/sys/fs/cgroup/unified")
    cgroup = (unified if unified.exists() else unified.parent) / f"silo-test-{top.name}"
    cgroup.mkdir()
    with open(top / "log", "wb") as log:
        outer = subprocess.Popen(  # pylint: disable=consider-using-with
            ["sh", "-c", f'echo 0 > {cgroup}/cgroup.procs && exec unshare -mpfnui --kill-child sh -c "$1" "$2"', "sh", START, str(top)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    until("systemd has been executed", lambda: (pid := children.read_text().split()) and
          Path(f"/proc/{pid[0]}/comm").read_text() == "systemd\n")
    pid = children.read_text().split()[0]
    enter = ["nsenter", "-t", pid, "-m", "-p", "-n", "-u", "-i", "-C"]
    runtime.arguments = [*enter, f"--wd={runtime.bundle}", *runtime.arguments, "--systemd-cgroup"]
    runtime.systemctl = lambda *args: subprocess.run(
        [*enter, "systemctl", *args], capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    try:
        until("systemd answers", lambda: runtime.systemctl("is-active", "empty.target") == "active")
        yield runtime
    finally:
        os.kill(int(pid), signal.SIGKILL)
        outer.wait()
        until("its cgroups are empty", lambda: "populated 0" in (cgroup / "cgroup.events").read_text())
        remove_cgroups(cgroup)
    runtime.remove()


def test_scope(systemd):
    name = systemd.id
    unit = f"test-{name}.scope"
    systemd.spec("sleep", "1000", linux__cgroupsPath=f"silotest.slice:test:{name}")
    systemd("create", "c")
    shown = systemd.systemctl("show", unit, "-p", "ActiveState", "-p", "Delegate", "-p", "Slice", "-p", "ControlGroup").splitlines()
    assert sorted(shown) == ["ActiveState=active", f"ControlGroup=/silotest.slice/{unit}", "Delegate=yes", "Slice=silotest.slice"]
    systemd("start", "c")
    own = [line for line in systemd("exec", "c", "cat", "/proc/self/cgroup").out.splitlines() if line.startswith("0::")]
    assert own == ["0::/"]  # its own namespace begins there
    # somebody else's unit is neither taken nor stopped
    assert "already loaded" in systemd("run", "other", code=1).err
    assert systemd.systemctl("is-active", unit) == "active"
    systemd("pause", "c")
    assert systemd.state()["status"] == "paused"
    systemd("resume", "c")
    systemd("delete", "--force", "c")
    until("the scope is gone", lambda: systemd.systemctl("is-active", unit) == "inactive")


def test_names(systemd):
    for path in ("/a/b", "a.slice:b", "a:b:c", "a.slice:b:../c", "a.slice:b:"):
        systemd.spec("true", linux__cgroupsPath=path)
        assert "linux.cgroupsPath" in systemd("run", "c", code=1).err
    systemd.spec("sleep", "1000")
    systemd("run", "-d", "c")
    assert systemd.systemctl("show", f"silo-{systemd.id}.scope", "-p", "Slice") == "Slice=system.slice"
    systemd("delete", "--force", "c")


def test_limits_are_told(systemd):
    """The unified hierarchy beside v1 has no controllers: systemd knows the limits, the kernel can't be given them."""
    if (Path("/sys/fs/cgroup/unified")).exists():
        systemd.spec("true", linux={**SPEC["linux"], "resources": {"pids": {"limit": 30}}})
        assert "pids.max" in systemd("run", "c", code=1).err
        assert systemd.systemctl("is-active", f"silo-{systemd.id}.scope") == "inactive"
    else:
        systemd.spec("sleep", "1000", linux={**SPEC["linux"], "resources": {"pids": {"limit": 30}}})
        systemd("run", "-d", "c")
        assert systemd.systemctl("show", f"silo-{systemd.id}.scope", "-p", "TasksMax") == "TasksMax=30"
        systemd("delete", "--force", "c")
