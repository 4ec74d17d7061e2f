# SPDX-License-Identifier: LGPL-2.1-or-later
"""Devices: nodes of the host in process mode, disks of the virtual machine in hyperv mode."""
import os
import stat
import subprocess

import pytest
from conftest import BASE

FUSE = (10, 229)


@pytest.fixture
def image(tmp_path):
    """A disk image of 4 MiB that begins with a mark."""
    path = tmp_path / "image"
    with open(path, "wb") as f:
        f.write(b"of the host\n")
        f.truncate(4 << 20)
    return path


@pytest.fixture
def loop(image):
    device = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=True).stdout.strip()
    yield device
    subprocess.run(["losetup", "-d", device], check=True)


def test_block_device(run, mode, loop):
    script = """test -b /dev/disk && head -n 1 /dev/disk
        echo of the container | dd of=/dev/disk seek=1 bs=512 conv=fsync 2>/dev/null && echo written
        dd if=/dev/disk of=/dev/null bs=1M 2>&1 | grep -c '4+0 records in'"""
    out = run("--rm", "--network", "none", "--device", f"{loop}:/dev/disk", BASE, "sh", "-c", script).out
    assert out == "of the host\nwritten\n1\n"
    with open(loop, "rb") as f:
        f.seek(512)
        assert f.readline() == b"of the container\n"


def test_permissions(run, mode, loop):
    script = "head -n 1 /dev/disk; (echo x > /dev/disk) 2>&1; true"
    out = run("--rm", "--network", "none", "--device", f"{loop}:/dev/disk:r", BASE, "sh", "-c", script).out
    assert out.startswith("of the host\n") and "Operation not permitted" in out
    with open(loop, "rb") as f:
        assert f.readline() == b"of the host\n"


def test_image_is_a_disk_of_the_machine(engine, image):
    options = ["run", "--rm", "--network", "none", "--device", f"{image}:/dev/sdb"]
    out = engine.docker(*options, "--isolation=hyperv", BASE, "sh", "-c", "head -n 1 /dev/sdb; echo changed > /dev/sdb; sync").out
    assert out == "of the host\n" and image.read_bytes().startswith(b"changed\n")
    result = engine.docker(*options, "--isolation=process", BASE, "true", code=125)
    assert "error gathering device information while adding custom device" in result.err


def test_service_of_the_kernel(run, mode):
    """Not a thing of the host: a virtual machine's own kernel has it too."""
    for device in ("/dev/fuse", "/dev/net/tun"):
        out = run("--rm", "--network", "none", "--device", device, BASE, "sh", "-c", f"exec 3<>{device} && echo opened").out
        assert out == "opened\n"


def test_cgroup_rule(run, mode):
    script = f"mknod /f c {FUSE[0]} {FUSE[1]} && exec 3<>/f && echo opened"
    assert run("--rm", "--network", "none", "--device-cgroup-rule", f"c {FUSE[0]}:* rwm", BASE, "sh", "-c", script).out == "opened\n"
    result = run("--rm", "--network", "none", BASE, "sh", "-c", script, code=None)
    assert result.out == "" and "Operation not permitted" in result.err


def test_wrong_rules(engine):
    for wrong in ("x 1:2 r", "c 1 r", "c 1:2 q"):
        body = {"Image": BASE, "Cmd": ["true"], "HostConfig": {"DeviceCgroupRules": [wrong]}}
        status, _, answer = engine.http("POST", "/containers/create", body)
        assert status == 400 and f"invalid device cgroup rule format: '{wrong}'" in answer["message"]


def test_directory_of_devices(engine, tmp_path):
    (tmp_path / "deeper").mkdir()
    for name, number in (("one", (1, 5)), ("deeper/two", (1, 3))):
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(*number))
    (tmp_path / "plain").touch()
    out = engine.docker("run", "--rm", "--isolation=process", "--device", f"{tmp_path}:/dev/all", BASE, "sh", "-c",
                        "cd /dev/all && find . -type c | sort; head -c 3 one | wc -c; find . -type f").out
    assert out == "./deeper/two\n./one\n3\n"


def test_privileged(run, mode):
    """Every device of the kernel, which under hyperv is the machine's own."""
    out = run("--rm", "--network", "none", "--privileged", BASE, "sh", "-c",
              "test -c /dev/fuse && test -c /dev/kmsg && echo devices; ls /dev | grep -c '^vd[ab]$'; mount -t tmpfs x /tmp && echo mounted").out
    assert out.splitlines()[0] == "devices" and out.splitlines()[-1] == "mounted"
    if mode == "hyperv":
        assert out.splitlines()[1] == "2"


@pytest.mark.parametrize("options, text", [
    (["--device", "/dev/ptmx"], "/dev/ptmx: a virtual machine (--isolation=hyperv) can be given block devices and disk images"),
    (["--device", "/dev"], "not other files of the host"),
    (["--gpus", "all"], 'could not select device driver "" with capabilities: [[gpu]]'),
])
def test_refused_in_a_machine(engine, options, text):
    result = engine.docker("run", "--rm", "--isolation=hyperv", "--network", "none", *options, BASE, "true", code=125)
    assert text in result.err


@pytest.mark.parametrize("options, text", [
    (["--device", "/dev/none"], 'error gathering device information while adding custom device "/dev/none"'),
    (["--gpus", "all"], 'could not select device driver "" with capabilities: [[gpu]]'),
])
def test_refused(engine, options, text):
    result = engine.docker("run", "--rm", "--isolation=process", *options, BASE, "true", code=125)
    assert text in result.err


def test_too_many_for_a_machine(engine, image):
    options = [o for i in range(5) for o in ("--device", f"{image}:/dev/d{i}")]
    result = engine.docker("run", "--rm", "--isolation=hyperv", "--network", "none", *options, BASE, "true", code=None)
    assert result.code != 0 and "a hyperv container has at most 4 devices of the host" in result.err
