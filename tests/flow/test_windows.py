# SPDX-License-Identifier: LGPL-2.1-or-later
"""Windows containers: the commands of the documentation as they are written there, console, exit codes, signals."""
import re
import subprocess

import pytest
from engine import program, process_table, until

CORE = "mcr.microsoft.com/windows/servercore:ltsc2019"
BUILD_S = 900  # the base, once for each build directory


@pytest.fixture(scope="module", autouse=True)
def base(session_engine):
    """The base is made before the first test, so that no test has to wait for it."""
    subprocess.run([program("silo"), "windows-base", "build", "--vm-dir", session_engine.vm_dir], check=True, timeout=BUILD_S)


@pytest.fixture
def windows(engine, mode):
    """docker run of a Windows program in the test's mode."""
    return lambda *args, options=(), **kwargs: engine.docker("run", "--rm", f"--isolation={mode}", *options, CORE, *args,
                                                             **kwargs)


@pytest.fixture
def prompt(engine, terminal, mode, name):
    """cmd on a terminal, exactly as the documentation starts it."""
    def open_prompt(*options):
        t = terminal("run", "-it", f"--isolation={mode}", *options, CORE, "cmd")
        t.expect(r"Microsoft Windows")
        t.expect(r"C:\\>")
        return t
    return open_prompt


def ping_is_on_the_host(pid):
    return any(row[0] == pid and "ping localhost -t" in row[3] for row in process_table())


def test_run_it_cmd(prompt):
    """docker run -it --isolation=MODE mcr.microsoft.com/windows/servercore:ltsc2019 cmd"""
    t = prompt("--rm")
    t.type("ver\r")
    t.expect(r"10\.0\.17763")
    t.type("echo a%OS%z\r")
    t.expect("aWindows_NTz")
    t.type("exit 7\r")
    assert t.wait() == 7


def test_run_d_ping(engine, mode, name):
    """docker run -d [--isolation=hyperv] mcr.microsoft.com/windows/servercore:ltsc2019 ping localhost -t"""
    options = [] if mode == "process" else ["--isolation=hyperv"]
    container = engine.docker("run", "-d", *options, CORE, "ping", "localhost", "-t").line
    until("ping gets replies", lambda: "Reply from 127.0.0.1: bytes=32 time" in engine.docker("logs", container).out)
    rows = [line.split() for line in engine.docker("top", container).out.splitlines()[1:]]
    pings = [int(row[1]) for row in rows if row[7:] == ["ping", "localhost", "-t"]]
    assert len(pings) == 1
    assert ping_is_on_the_host(pings[0]) == (mode == "process")
    state = engine.inspect(container)
    assert state["Platform"] == "windows" and state["HostConfig"]["Isolation"] == mode
    if mode == "hyperv":
        host = {pid: comm for pid, _, comm, _ in process_table()}
        assert host[state["State"]["Pid"]] == "vmwp"
    engine.docker("stop", container)
    assert engine.state(container)["Running"] is False


def test_streams_and_exit_codes(windows, engine, mode):
    done = windows("cmd", "/c", "echo out& echo err>&2& exit 300", code=None)
    assert done.out == "out\r\n" and done.err == "err\r\n"
    assert windows("cmd", "/c", "more", options=["-i"], stdin="from outside\r\n").out.split() == ["from", "outside"]
    gone = windows("nosuchprogram", code=127)
    assert "The system cannot find the file specified. (0x2)" in gone.err


def test_environment_and_directory(windows):
    out = windows("cmd", "/c", "cd& echo [%GREETING%]& echo %USERNAME%& echo %PATH%",
                  options=["-e", "GREETING=good morning", "-w", r"C:\new\place", "-u", "ContainerUser"]).out.splitlines()
    assert out[:3] == [r"C:\new\place", "[good morning]", "ContainerUser"]
    assert out[3].lower().startswith(r"c:\windows\system32")


def test_exec(engine, mode, name):
    engine.docker("run", "-d", "--name", name, f"--isolation={mode}", CORE, "ping", "localhost", "-t")
    assert engine.docker("exec", name, "cmd", "/c", "reg add HKLM\\Software\\Flow /v x /d 42 & exit 3", code=3)
    assert "42" in engine.docker("exec", name, "reg", "query", r"HKLM\Software\Flow").out
    assert engine.docker("exec", "-w", r"C:\windows", "-e", "A=b", name, "cmd", "/c", "cd& echo %A%").out.split() == [r"C:\windows", "b"]
    engine.docker("restart", name)
    assert "42" in engine.docker("exec", name, "reg", "query", r"HKLM\Software\Flow").out, "the registry outlives a restart"


def test_exec_in_a_terminal(engine, terminal, mode, name):
    engine.docker("run", "-d", "--name", name, f"--isolation={mode}", CORE, "ping", "localhost", "-t")
    t = terminal("exec", "-it", name, "cmd")
    t.expect(r"C:\\>")
    t.type("ping -t localhost\r")
    t.expect("Reply from 127.0.0.1")
    t.type(b"\x03")
    t.expect("Ping statistics")
    t.expect(r"C:\\>")
    t.type("echo wide \N{LATIN SMALL LETTER A WITH DIAERESIS}\r")
    t.expect("wide \N{LATIN SMALL LETTER A WITH DIAERESIS}\r\n")
    t.type("exit\r")
    assert t.wait() == 0
