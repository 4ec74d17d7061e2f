# SPDX-License-Identifier: LGPL-2.1-or-later
"""--network container:X: the network namespace of X, or its virtual machine with several containers in it."""
import os
import signal

import pytest
from conftest import BASE
from engine import descendants, until

SERVE = "mkdir /w; echo {0} >/w/index.html; echo up; exec httpd -f -p {1} -h /w"
ASK = ("wget", "-q", "-O", "-")


def serves(engine, container, port, text):
    """Wait until this container finds the page on its own loopback."""
    until(f"port {port} answers", lambda: engine.docker("exec", container, *ASK, f"http://127.0.0.1:{port}/", code=None).line == text)


@pytest.fixture
def first(run, name):
    """A running container that serves a page on port 80; its name."""
    run("-d", "--name", name, "--hostname", "host-of-both", BASE, "sh", "-c", SERVE.format("one", 80))
    return name


@pytest.fixture
def second(engine, run, first):
    """Another one that has joined it."""
    joined = f"{first}j"
    run("-d", "--name", joined, "--network", f"container:{first}", BASE, "sh", "-c", SERVE.format("two", 81))
    return joined


def test_one_network(engine, mode, first, second):
    serves(engine, second, 80, "one")
    serves(engine, first, 81, "two")
    look = ("sh", "-c", "cd /etc; hostname; cat /sys/class/net/eth0/address hosts resolv.conf /proc/sys/kernel/random/boot_id")
    assert engine.docker("exec", first, *look).out == engine.docker("exec", second, *look).out
    if mode == "hyperv":
        assert len({r[0] for r in descendants(engine.monitor_pid(engine.inspect(first)["Id"])) if r[2] == "vmwp"}) == 1
    # And nothing else: files and processes are each one's own.
    engine.docker("exec", first, "touch", "/mark")
    seen = engine.docker("exec", second, "sh", "-c", "ls /; ps").out
    assert "-p 81" in seen and "-p 80" not in seen and "mark" not in seen


def test_a_container_like_others(engine, run, first, second):
    until("its log", lambda: engine.docker("logs", second).line == "up")
    serves(engine, first, 81, "two")
    assert engine.docker("top", second).out.count("httpd") == 1
    assert engine.docker("stats", "--no-stream", "--format", "{{.PIDs}}", second).line == "1"
    engine.docker("pause", second)
    assert engine.state(second)["Paused"]
    engine.docker("exec", first, "true")
    engine.docker("unpause", second)
    assert run("--rm", "-i", "--network", f"container:{first}", BASE, "wc", "-c", stdin="x" * 100000).line == "100000"
    assert run("--network", f"container:{second}", "--rm", BASE, "sh", "-c", "exit 7", code=7)
    assert run("--network", f"container:{first}", "--rm", BASE, "nosuch", code=127)
    # Its disk is plugged in again, with what was written.
    engine.docker("exec", second, "touch", "/mark")
    engine.docker("kill", second)
    assert engine.state(second)["ExitCode"] == 137 and engine.state(first)["Running"]
    engine.docker("start", second)
    engine.docker("exec", second, "ls", "/mark")
    engine.docker("rm", "-f", second)
    serves(engine, first, 80, "one")


def test_the_end_of_the_first(engine, mode, run, first, second):
    """Of its machine nobody is left; a namespace lives on."""
    engine.docker("kill", first)
    if mode == "process":
        assert engine.state(second)["Running"]
    else:
        until("the second has ended", lambda: not engine.state(second)["Running"])
        state = engine.state(second)
        assert state["ExitCode"] == 137 and "has ended, whose virtual machine this one had joined" in state["Error"]
    text = "cannot join network of a non running container"
    assert text in run("--rm", "--network", f"container:{first}", BASE, "true", code=125).err
    engine.docker("rm", "-f", second)
    engine.docker("start", first)
    serves(engine, first, 80, "one")
    run("--rm", "--network", f"container:{first}", BASE, *ASK, "http://127.0.0.1:80/")


def test_modes_are_not_mixed(engine, mode, run, first):
    other = "process" if mode == "hyperv" else "hyperv"
    text = "only join the virtual machine of another one" if other == "hyperv" else "is inside its virtual machine"
    result = engine.docker("run", "--rm", f"--isolation={other}", "--network", f"container:{first}", BASE, "true", code=125)
    assert text in result.err


def test_shares_of_those_who_join(engine, first, run, name, tmp_path):
    """A bind, a volume with what the image has there, a tmpfs: as any container has them, and gone with it."""
    (tmp_path / "file").write_text("of the host\n")
    volume = f"volume-{name}"
    script = "cat /b/file /f; echo made >/b/made; cmp /v/passwd /etc/passwd && echo of the image >/v/x; df /t | grep -c tmpfs; echo >/f"
    result = run("--rm", "--network", f"container:{first}", "-v", f"{tmp_path}:/b", "-v", f"{tmp_path}/file:/f:ro", "-v", f"{volume}:/etc",
                 "--tmpfs", "/t", "-v", f"{volume}:/v", BASE, "sh", "-c", script, code=1)
    assert result.out == "of the host\nof the host\n1\n" and "Read-only file system" in result.err
    assert (tmp_path / "made").read_text() == "made\n"
    # Another one in the same machine has what it asked for and nothing of the one before.
    script = "cat /v/x; ls /b 2>/dev/null | wc -l"
    assert run("--rm", "--network", f"container:{first}", "-v", f"{volume}:/v:ro", BASE, "sh", "-c", script).out == "of the image\n0\n"
    engine.docker("volume", "rm", volume)
    engine.docker("exec", first, "true")


def test_a_device_of_those_who_join(engine, first, mode, tmp_path):
    """hyperv: a disk image comes as a disk, and goes."""
    if mode == "process":
        return
    image = tmp_path / "disk.img"
    image.write_bytes(b"on the disk".ljust(1 << 20, b"\0"))
    join = ("--rm", "--isolation=hyperv", "--network", f"container:{first}")
    for _ in range(2):  # unplugged, and plugged in again
        result = engine.docker("run", *join, "--device", f"{image}:/dev/disk:r", BASE, "head", "-c", "11", "/dev/disk")
        assert result.out == "on the disk"


@pytest.mark.parametrize("victim", ["vmwp", "monitor"])
def test_sudden_death(engine, name, victim):
    joined = f"{name}j"
    engine.docker("run", "-d", "--isolation=hyperv", "--name", name, BASE, "sleep", "1000")
    engine.docker("run", "-d", "--isolation=hyperv", "--name", joined, "--network", f"container:{name}", BASE, "sleep", "1000")
    identity = engine.inspect(name)["Id"]
    os.kill(engine.vmwp_pid(identity) if victim == "vmwp" else engine.monitor_pid(identity), signal.SIGKILL)
    for each in (name, joined):
        until(f"{each} has ended", lambda: not engine.state(each)["Running"])
        state = engine.state(each)
        assert state["ExitCode"] == 137 and state["Error"]


def test_the_engine_comes_back(own_engine, name):
    engine = own_engine()
    joined = f"{name}j"
    engine.docker("run", "-d", "--isolation=hyperv", "--name", name, BASE, "sleep", "1000")
    engine.docker("run", "-d", "--isolation=hyperv", "--name", joined, "--network", f"container:{name}", BASE, "sleep", "1000")
    engine.kill9()
    engine.start()
    assert engine.docker("exec", joined, "echo", "still here").line == "still here"
    engine.docker("stop", "-t", "0", joined)
    assert engine.state(joined)["ExitCode"] == 137 and engine.state(name)["Running"]
