# SPDX-License-Identifier: LGPL-2.1-or-later
"""Windows containers: the commands of the documentation as they are written there, console, exit codes, signals."""
import json
import subprocess
from pathlib import Path

import pytest
from engine import program, process_table, until

CORE = "mcr.microsoft.com/windows/servercore:ltsc2019"
BUILD_S = 900  # the base, once for each build directory
SLOW = 300  # Wine in an emulated VM takes seconds of CPU to start


def docker(engine, *args, **kwargs):
    return engine.docker(*args, timeout=SLOW, **kwargs)


@pytest.fixture(scope="module", autouse=True)
def base(session_engine):
    """The base is made before the first test, so that no test has to wait for it."""
    subprocess.run([program("silo"), "windows-base", "build", "--vm-dir", session_engine.vm_dir], check=True, timeout=BUILD_S)


def runner(engine, mode):
    return lambda *args, options=(), **kwargs: docker(engine, "run", "--rm", f"--isolation={mode}", *options, CORE, *args,
                                                      **kwargs)


@pytest.fixture
def windows(engine, mode):
    """docker run of a Windows program in the test's mode."""
    return runner(engine, mode)


@pytest.fixture
def windows_process(engine):
    """For what isn't different in a VM, where each start costs seconds."""
    return runner(engine, "process")


@pytest.fixture
def prompt(engine, terminal, mode, name):
    """cmd on a terminal, exactly as the documentation starts it."""
    def open_prompt(*options):
        t = terminal("run", "-it", f"--isolation={mode}", *options, CORE, "cmd")
        t.expect(r"Microsoft Windows", SLOW)
        t.expect(r"C:\\>", SLOW)
        return t
    return open_prompt


def ping_is_on_the_host(pid):
    return any(row[0] == pid and "ping localhost -t" in row[3] for row in process_table())


def test_run_it_cmd(prompt):
    """docker run -it --isolation=MODE mcr.microsoft.com/windows/servercore:ltsc2019 cmd"""
    t = prompt("--rm")
    t.type("ver\r")
    t.expect(r"10\.0\.17763", SLOW)
    t.type("echo a%OS%z\r")
    t.expect("aWindows_NTz", SLOW)
    t.type("exit 7\r")
    assert t.wait(SLOW) == 7


def test_run_d_ping(engine, mode, name):
    """docker run -d [--isolation=hyperv] mcr.microsoft.com/windows/servercore:ltsc2019 ping localhost -t"""
    options = [] if mode == "process" else ["--isolation=hyperv"]
    container = docker(engine, "run", "-d", *options, CORE, "ping", "localhost", "-t").line
    until("ping gets replies", lambda: "Reply from 127.0.0.1: bytes=32 time" in docker(engine, "logs", container).out, SLOW)
    rows = [line.split() for line in docker(engine, "top", container).out.splitlines()[1:]]
    pings = [int(row[1]) for row in rows if row[7:] == ["ping", "localhost", "-t"]]
    assert len(pings) == 1
    assert ping_is_on_the_host(pings[0]) == (mode == "process")
    state = engine.inspect(container)
    assert state["Platform"] == "windows" and state["HostConfig"]["Isolation"] == mode
    if mode == "hyperv":
        host = {pid: comm for pid, _, comm, _ in process_table()}
        assert host[state["State"]["Pid"]] == "vmwp"
    docker(engine, "stop", container)
    assert engine.state(container)["Running"] is False


def test_streams_and_exit_codes(windows, engine, mode):
    done = windows("cmd", "/c", "echo out& echo err>&2& exit 300", code=None)
    assert done.out == "out\r\n" and done.err == "err\r\n"
    assert windows("cmd", "/c", "more", options=["-i"], stdin="from outside\r\n").out.split() == ["from", "outside"]
    gone = windows("nosuchprogram", code=127)
    assert "The system cannot find the file specified. (0x2)" in gone.err


def test_environment_and_directory(windows_process):
    out = windows_process("cmd", "/c", "cd& echo [%GREETING%]& echo %USERNAME%& echo %PATH%",
                  options=["-e", "GREETING=good morning", "-w", r"C:\new\place", "-u", "ContainerUser"]).out.splitlines()
    assert out[:3] == [r"C:\new\place", "[good morning]", "ContainerUser"]
    assert out[3].lower().startswith(r"c:\windows\system32")


def test_exec(engine, mode, name):
    docker(engine, "run", "-d", "--name", name, f"--isolation={mode}", CORE, "ping", "localhost", "-t")
    assert docker(engine, "exec", name, "cmd", "/c", "reg add HKLM\\Software\\Flow /v x /d 42 & exit 3", code=3)
    assert "42" in docker(engine, "exec", name, "reg", "query", r"HKLM\Software\Flow").out
    assert docker(engine, "exec", "-w", r"C:\windows", "-e", "A=b", name, "cmd", "/c", "cd& echo %A%").out.split() == [r"C:\windows", "b"]
    docker(engine, "restart", name)
    assert "42" in docker(engine, "exec", name, "reg", "query", r"HKLM\Software\Flow").out, "the registry outlives a restart"


def test_exec_in_a_terminal(engine, terminal, name):
    docker(engine, "run", "-d", "--name", name, "--isolation=process", CORE, "ping", "localhost", "-t")
    t = terminal("exec", "-it", name, "cmd")
    t.expect(r"C:\\>", SLOW)
    t.type("ping -t localhost\r")
    t.expect("Reply from 127.0.0.1", SLOW)
    t.type(b"\x03")
    t.expect("Ping statistics", SLOW)
    t.expect(r"C:\\>", SLOW)
    t.type("echo wide \N{LATIN SMALL LETTER A WITH DIAERESIS}\r")
    t.expect("wide \N{LATIN SMALL LETTER A WITH DIAERESIS}\r\n", SLOW)
    t.type("exit\r")
    assert t.wait(SLOW) == 0


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A directory with probe.exe."""
    place = tmp_path_factory.mktemp("probe")
    subprocess.run(["x86_64-w64-mingw32-gcc", "-O1", "-s", str(Path(__file__).with_name("windows_probe.c")), "-o",
                    str(place / "probe.exe"), "-lws2_32"], check=True)
    return place


def test_volumes(windows, engine, mode, name, tmp_path):
    (tmp_path / "in.txt").write_text("from the host\n")
    out = windows("cmd", "/c", r"type C:\data\in.txt& echo back>D:\back.txt& echo no>E:\no.txt", code=None,
                  options=["-v", rf"{tmp_path}:C:\data", "-v", f"{tmp_path}:D:", "-v", f"{tmp_path}:E:\\:ro"]).out
    assert "from the host" in out
    assert (tmp_path / "back.txt").read_text() == "back\n"
    assert not (tmp_path / "no.txt").exists()
    docker(engine, "create", f"--isolation={mode}", "--name", name, "-v", r"vol:C:\data", CORE)
    assert engine.inspect(name)["Mounts"][0]["Destination"] == r"C:\data"


def test_isolation(engine, windows, mode, name, probe):
    """What one container makes, another doesn't see; the control inside the same one sees all of it."""
    mount = ["-v", rf"{probe}:C:\probe"]
    docker(engine, "run", "-d", "-i", f"--isolation={mode}", "--name", name, *mount, CORE, r"C:\probe\probe.exe", "create")
    until("the probe is ready", lambda: "ready" in docker(engine, "logs", name).out, SLOW)
    seen = docker(engine, "exec", name, r"C:\probe\probe.exe", "look").out.split()
    assert seen == ["mutex", "event", "section", "pipe", "registry", "file", "port"]
    assert windows(r"C:\probe\probe.exe", "look", options=mount).out == ""
    outside = [r"\\?\unix\etc\shadow", r"\\?\unix\home", r"\\?\unix\usr\bin", r"Z:\etc\passwd"]
    windows(r"C:\probe\probe.exe", "open", *outside, options=mount)
    windows(r"C:\probe\probe.exe", "open", r"C:\windows", r"\\?\unix\wine", options=mount, code=2)


def test_signals(engine, mode, name, probe):
    """SIGTERM is CTRL_SHUTDOWN_EVENT, SIGINT CTRL_C_EVENT."""
    for number, (signal, event) in enumerate({"TERM": 6, "INT": 0}.items()):
        each = f"{name}-{number}"
        docker(engine, "run", "-d", f"--isolation={mode}", "--name", each, "-v", rf"{probe}:C:\probe", CORE,
                      r"C:\probe\probe.exe", "events")
        until("the probe is ready", lambda: "ready" in docker(engine, "logs", each).out, SLOW)
        docker(engine, "kill", "-s", signal, each)
        assert int(docker(engine, "wait", each).line) == 70 + event
        assert f"event {event}" in docker(engine, "logs", each).out


def test_own_programs(windows_process):
    out = windows_process("cmd", "/c", r"whoami& whoami /user& systeminfo& timeout /t 0& tree /a C:\users& powershell -c 1", code=1)
    for text in (r"user manager\containeradministrator", "S-1-5-93-2-1", "10.0.17763", "Waiting for 0 seconds", "+---"):
        assert text in out.out, text
    assert "powershell: this program is not in the Windows base of Silo" in out.err


@pytest.mark.parametrize("options, text", [
    (["--pid=host"], "shared process namespaces"),
    (["--ipc=host"], "shared memory"),
    (["--privileged"], "--privileged is not supported for Windows containers"),
    (["-v", r"\\.\pipe\x:\\.\pipe\x"], "named pipes"),
    (["-v", "/tmp:C:\\"], "cannot be 'c:' or 'c:\\'"),
    (["-u", "nobody"], "unable to find user nobody"),
])
def test_refusals(engine, options, text):
    assert text in docker(engine, "create", *options, CORE, code=1).err


def test_names(engine):
    listed = docker(engine, "pull", "mcr.microsoft.com/windows/nanoserver:ltsc2022").out
    assert "Windows base provided by Wine 10.0; no Microsoft layers (version 10.0.20348.1)" in listed
    image = engine.inspect("mcr.microsoft.com/windows/nanoserver:ltsc2022")
    assert (image["Os"], image["OsVersion"]) == ("windows", "10.0.20348.1") and "no Microsoft layers" in image["Comment"]
    assert "10.0.20348" in docker(engine, "run", "--rm", "mcr.microsoft.com/windows/nanoserver:ltsc2022", "cmd", "/c", "ver").out
    missing = docker(engine, "pull", "mcr.microsoft.com/windows/servercore:1803", code=1).err
    assert "not found: the Windows base of Silo can be" in missing


def test_versions_of_hosts(own_engine, tmp_path):
    """windows-host-version: would a Windows host of that build run it?"""
    config = tmp_path / "daemon.json"
    config.write_text(json.dumps({"windows-host-version": "10.0.20348", "isolation": "prefer-process"}))
    engine = own_engine("--config-file", str(config))
    for year in (2019, 2022, 2025):
        docker(engine, "pull", f"mcr.microsoft.com/windows/nanoserver:ltsc{year}")
    create = lambda year, *options, **kwargs: docker(engine,   # noqa: E731
        "create", *options, f"mcr.microsoft.com/windows/nanoserver:ltsc{year}", **kwargs)
    isolation = lambda container: engine.template(container.line, "{{.HostConfig.Isolation}}")  # noqa: E731
    assert isolation(create(2022)) == "process"
    assert isolation(create(2019)) == "hyperv"
    assert "(0xc0370101)" in create(2019, "--isolation=process", code=1).err
    assert "a Windows version 10.0.26100-based image is incompatible with a 10.0.20348 host" in create(2025, code=1).err
