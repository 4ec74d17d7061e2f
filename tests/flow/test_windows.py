# SPDX-License-Identifier: LGPL-2.1-or-later
"""Windows containers: the commands of the documentation as they are written there, console, exit codes, signals."""
import json
import os
import re
import shutil
import socket
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
    for mark in ("box", "host"):
        shutil.copy(place / "probe.exe", place / f"mark-{mark}.exe")
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


class BareWine:
    """The Windows base in a chroot on the host: Wine without Silo, which leaves the host's marks and looks for others'."""
    ENVIRONMENT = {"WINEPREFIX": "/wine", "WINESERVER": "/usr/lib/wine/wineserver64", "WINEDEBUG": "-all", "HOME": "/",
                   "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": "/run/user/0", "PATH": os.environ["PATH"]}

    def __init__(self, engine, top, probe):
        self.engine, self.root = engine, top / "root"
        base = next(engine.root.glob("layers/*/diff/usr/lib/wine/wine64")).parents[3]
        for each in ("upper", "work", "root"):
            (top / each).mkdir()
        self.mount("-t", "overlay", "-o", f"lowerdir={base},upperdir={top}/upper,workdir={top}/work", "overlay", self.root)
        self.mount("-t", "proc", "proc", self.root / "proc")
        self.mount("--bind", "/dev", self.root / "dev")
        shutil.copytree(probe, self.root / "wine/drive_c/probe")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")

    @staticmethod
    def mount(*args):
        subprocess.run(["mount", *args], check=True)

    def popen(self, *args):
        return subprocess.Popen([*self.engine.enter(), "chroot", self.root, "/usr/lib/wine/wine64", *args], text=True,
                                pass_fds=[self.engine.namespace], env=self.ENVIRONMENT, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def look(self, *mark):
        return self.popen(r"C:\probe\mark-host.exe", "look", *mark).communicate(timeout=SLOW)[0].split()

    def end(self):
        subprocess.run(["chroot", self.root, "/usr/lib/wine/wineserver64", "-k", "-w"], env=self.ENVIRONMENT, check=False)
        for each in (self.root / "proc", self.root / "dev", self.root):
            subprocess.run(["umount", "-l", each], check=True)


@pytest.fixture
def host(engine, probe, tmp_path):
    docker(engine, "pull", CORE)
    place = BareWine(engine, tmp_path, probe)
    yield place
    place.end()


MARKS = ["mutex", "event", "semaphore", "section", "pipe", "registry", "file", "port", "process"]
BOX, HOST = ("box", "5555"), ("host", "5556")


def test_isolation(engine, windows, mode, name, probe, host):
    """What one container makes, neither the host nor another container sees, nor what the host has; the control inside the
    same place sees all of it."""
    mount = ["-v", rf"{probe}:C:\probe"]
    on_host = host.popen(r"C:\probe\mark-host.exe", "create", *HOST)
    assert on_host.stdout.readline().strip() == "ready"
    docker(engine, "run", "-d", "-i", f"--isolation={mode}", "--name", name, *mount, CORE, r"C:\probe\mark-box.exe", "create", *BOX)
    until("the probe is ready", lambda: "ready" in docker(engine, "logs", name).out, SLOW)
    inside = lambda *mark: docker(engine, "exec", name, r"C:\probe\probe.exe", "look", *mark).out.split()  # noqa: E731
    assert inside(*BOX) == MARKS and host.look(*HOST) == MARKS, "the probe sees what there is"
    assert inside(*HOST) == [] and host.look(*BOX) == []
    assert windows("cmd", "/c", r"C:\probe\probe.exe look box 5555& C:\probe\probe.exe look host 5556", options=mount).out == ""
    on_host.communicate(timeout=SLOW)
    outside = [r"\\?\unix\etc\shadow", r"\\?\unix\home", r"\\?\unix\usr\bin", r"\\?\UNIX\Etc\Shadow", r"Z:\etc\passwd",
               r"C:\..\..\..\etc\shadow", rf"\\?\unix{str(probe).replace('/', chr(92))}"]
    inner = [r"C:\windows", r"\\?\unix\wine"]
    windows(r"C:\probe\probe.exe", "open", *outside, *inner, options=mount, code=len(inner))


def test_service(engine, windows, probe):
    """A service of Windows: made, started, asked, stopped, deleted with the programs that Windows has for that."""
    (probe / "service.cmd").write_text("\r\n".join([
        "@echo off", r'sc create flow binPath= "C:\probe\probe.exe service" DisplayName= "Flow Service"', "net start flow",
        "sc query flow", r"if exist C:\flow.txt echo it runs", "net start", "net stop flow", r"if not exist C:\flow.txt echo it is gone",
        "sc delete flow", "sc query flow", ""]))
    out = windows("cmd", "/c", r"C:\probe\service.cmd", options=["-v", rf"{probe}:C:\probe"], code=None).out
    for text in ("[SC] CreateService SUCCESS", "The Flow Service service was started successfully.", "STATE              : 4  RUNNING",
                 "it runs", "   Flow Service", "The Flow Service service was stopped successfully.", "it is gone",
                 "[SC] DeleteService SUCCESS", "FAILED 1060"):
        assert text in out, text


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


OWN_PROGRAMS = [  # one after the other in one container: command, what it must print
    ("ver", "\nMicrosoft Windows [Version 10.0.17763.1]"),
    ("whoami", r"user manager\containeradministrator"),
    ("whoami /all", "S-1-5-93-2-1"),
    ("whoami /groups /fo csv /nh", r'"BUILTIN\Administrators","Alias","S-1-5-32-544"'),
    ("systeminfo", "OS Version:                10.0.17763 N/A Build 17763"),
    ("timeout /t 0", "Waiting for 0 seconds"),
    (r"tree /a C:\users", "+---"),
    ('tasklist /fi "imagename eq services*" /fo csv /nh', '"services.exe","'),
    ('tasklist /fi "imagename eq nothing.exe"', "INFO: No tasks are running which match the specified criteria."),
    ("tasklist /v", "User Name"),
    ("tasklist", "Image Name                     PID Session Name        Session#    Mem Usage"),
    ("sc query", "SERVICE_NAME: "),
    ("sc query type= driver state= all", "SERVICE_NAME: nsiproxy"),
    ("sc qc eventlog", r"BINARY_PATH_NAME   : C:\windows\system32"),
    ("net user", "ContainerUser"),
    ("net user x y /add", "accounts can't be made"),
    (r"icacls C:\windows", r"NT AUTHORITY\SYSTEM:(OI)(CI)(F)"),
    (r"icacls C:\windows /grant Everyone:F", "/grant isn't possible"),
    ("getmac /fo csv /nh", r'","\Device\Tcpip_{'),
    ("setx GREETING hello", "SUCCESS: Specified value was saved."),
    (r"reg query HKCU\Environment /v GREETING", "hello"),
    ("robocopy a b", "robocopy: this program is not in the Windows base of Silo"),
    ("powershell -c 1", "powershell: this program is not in the Windows base of Silo"),
]


def test_own_programs(windows_process, tmp_path):
    (tmp_path / "all.cmd").write_text("\r\n".join(["@echo off"] + [f"echo --- {i}\r\n{command} 2>&1"
                                                                    for i, (command, _) in enumerate(OWN_PROGRAMS)] + [""]))
    out = windows_process("cmd", "/c", r"C:\own\all.cmd", options=["-v", rf"{tmp_path}:C:\own"], code=1).out.replace("\r", "")
    parts = re.split(r"--- \d+ *\n", out)[1:]
    for (command, text), part in zip(OWN_PROGRAMS, parts, strict=True):
        assert text in part, command


@pytest.mark.parametrize("options, text", [
    (["--pid=host"], "shared process namespaces"),
    (["--ipc=host"], "shared memory"),
    (["--privileged"], "--privileged is not supported for Windows containers"),
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
