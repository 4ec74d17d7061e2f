# SPDX-License-Identifier: LGPL-2.1-or-later
"""Windows containers: named pipes shared with the host in both directions, 32-bit exit codes, docker cp, what a program sees."""
import contextlib
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from engine import until
from test_windows import CORE, SLOW, base, docker  # noqa: F401

BYTES = 60000
PIPE = "\\\\.\\pipe\\"


@pytest.fixture(scope="module")
def probes(tmp_path_factory):
    """A directory with pipe.exe and probe.exe."""
    place = tmp_path_factory.mktemp("probes")
    for program, source in (("pipe.exe", "pipe_probe.c"), ("probe.exe", "windows_probe.c")):
        subprocess.run(["x86_64-w64-mingw32-gcc", "-O1", "-s", str(Path(__file__).with_name(source)), "-o",
                        str(place / program), "-lws2_32"], check=True)
    return place


class Capitals:
    """A server of the host behind a pipe: gives back in capitals what it gets, and says "bye" after the end of that."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.heard = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        heard = b""
        with contextlib.suppress(OSError):  # it has left without hearing all of it
            while data := client.recv(65536):
                heard += data
                with contextlib.suppress(BrokenPipeError):  # what it has said before that can still be read
                    client.sendall(data.upper())
            client.sendall(b"bye")
        self.heard.append(heard)
        client.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def host_pipe(engine, name):
    """(name of a pipe, its server)"""
    server = Capitals(engine.exec_root / "pipes" / name)
    yield name, server
    server.close()
    (engine.exec_root / "pipes" / name).unlink()


def test_a_server_on_the_host(engine, mode, host_pipe, probes):
    """Several clients at once, and one that writes and ends: nothing is lost. Names without regard to case."""
    pipe, server = host_pipe
    out = docker(engine, "run", "--rm", f"--isolation={mode}", "-v", rf"{probes}:C:\p", "-v", f"{PIPE}{pipe.upper()}:{PIPE}inside",
                 "--mount", f"type=npipe,source={engine.exec_root}/pipes/{pipe},target={PIPE}Other", CORE,
                 "cmd", "/c", rf"C:\p\pipe.exe talk inside 3 {BYTES}& echo last words>{PIPE}other", code=None).out
    assert out.split() == ["message", str(BYTES), "bye"] * 3, out
    until("the last words arrive", lambda: b"last words\r\n" in server.heard, SLOW)


def exchange(path, half):
    """What a client of the host gets back for as many bytes; half: after it has said that no more will come."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SLOW)
        client.connect(str(path))
        client.sendall(b"x" * BYTES)
        if half:
            client.shutdown(socket.SHUT_WR)
        got = b""
        while (half or len(got) < BYTES) and (data := client.recv(65536)):
            got += data
        return got


def test_a_server_in_the_container(engine, mode, name, probes):
    """Two clients of the host at once; a second container is one more, by the same pipe of the host. A pipe of type byte
    has no end of one direction: its client leaves, or the server does."""
    kind = "byte" if mode == "process" else "message"
    path = engine.exec_root / "pipes" / name
    docker(engine, "run", "-d", f"--isolation={mode}", "--name", name, "-v", rf"{probes}:C:\p", "-v", f"{PIPE}{name}:{PIPE}y", CORE,
           r"C:\p\pipe.exe", "serve", "y", kind, "2" if kind == "byte" else "3")
    until("the server is ready", lambda: "ready" in docker(engine, "logs", name).out, SLOW)
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"{PIPE}y" in [m["Destination"] for m in engine.inspect(name)["Mounts"]]
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(exchange(path, kind == "message"))) for _ in range(2)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert answers == [b"X" * BYTES] * 2
    if kind == "byte":
        assert docker(engine, "wait", name).line == "0"
        docker(engine, "rm", name)
        docker(engine, "run", "-d", "--name", name, "-v", rf"{probes}:C:\p", "-v", f"{PIPE}{name}:{PIPE}y", CORE,
               r"C:\p\pipe.exe", "serve", "y", "message", "1")
        until("the server is ready", lambda: "ready" in docker(engine, "logs", name).out, SLOW)
    third = docker(engine, "run", "--rm", "--isolation=process", "-v", rf"{probes}:C:\p", "-v", f"{PIPE}{name}:{PIPE}z", CORE,
                   r"C:\p\pipe.exe", "talk", "z", "1", BYTES).out
    assert third.split() == ["message", str(BYTES)]
    assert docker(engine, "wait", name).line == "0"
    until("the places of its pipe are gone", lambda: not path.exists() and not list((engine.exec_root / "meet").iterdir()))


@pytest.mark.parametrize("options, text", [
    (["-v", f"{PIPE}x:C:\\x"], r"'C:\x' is not a valid pipe path"),
    (["-v", f"C:\\x:{PIPE}x"], "invalid volume specification"),
    (["--mount", f"type=npipe,source={PIPE}a\\b,target={PIPE}x"], rf"'{PIPE}a\b' is not a valid pipe path"),
    (["--mount", f"type=npipe,source={PIPE}x,target={PIPE}"], rf"'{PIPE}' is not a valid pipe path"),
    (["--mount", f"type=npipe,source={PIPE}x,target={PIPE}x,readonly"], "field ReadOnly must not be specified"),
    (["--mount", f"type=npipe,source=/etc/passwd,target={PIPE}x"], "'/etc/passwd' is not a valid pipe path"),
    (["-v", f"{PIPE}x:{PIPE}x:ro"], "invalid mode: ro"),
])
def test_wrong_pipes(engine, options, text):
    assert text in docker(engine, "create", *options, CORE, code=1).err


def test_exit_codes_and_limits(engine, mode, name, probes):
    """All 32 bits in the API; the CLI makes of them what Linux can carry. Memory and processors are the container's."""
    probe = r"C:\p\probe.exe"
    run = engine.popen("run", "-i", "-m", "512m", "--cpus", "1", f"--isolation={mode}", "--name", name, "-v", rf"{probes}:C:\p", CORE, "cmd", "/c",
                       f"more>nul& {probe} exit 0xC000013A")
    until("it runs", lambda: name in docker(engine, "ps").out, SLOW)
    info = docker(engine, "exec", name, "systeminfo").out
    assert "1 Processor(s) Installed" in info
    assert any(line.split()[-2:] in (["511", "MB"], ["512", "MB"]) for line in info.splitlines() if "Total Physical" in line), info
    made = engine.http("POST", f"/containers/{name}/exec", {"Cmd": [probe, "exit", "4294967295"], "AttachStdout": True})[2]["Id"]
    engine.hijack(f"/exec/{made}/start")[1].close()
    until("the exec ends", lambda: not engine.http("GET", f"/exec/{made}/json")[2]["Running"], SLOW)
    assert engine.http("GET", f"/exec/{made}/json")[2]["ExitCode"] == 0xFFFFFFFF
    run.communicate(timeout=SLOW)
    assert run.returncode == 0xC000013A & 0xFF
    assert docker(engine, "wait", name).line == "3221225786"
    assert engine.state(name)["ExitCode"] == 0xC000013A
    assert "Exited (3221225786)" in docker(engine, "ps", "-a", "--filter", f"name={name}").out


def test_cp(engine, mode, name, tmp_path):
    """Paths of Windows, however they are spelt, running and stopped; commit keeps files and registry."""
    docker(engine, "run", "-d", f"--isolation={mode}", "--name", name, CORE, "ping", "-t", "localhost")
    (tmp_path / "in.txt").write_text("hello\n")
    docker(engine, "cp", tmp_path / "in.txt", f"{name}:C:\\Users")
    docker(engine, "cp", tmp_path / "in.txt", f"{name}:c:\\USERS\\Second.txt")
    docker(engine, "cp", tmp_path / "in.txt", f"{name}:C:/users/third.txt")
    inside = docker(engine, "exec", name, "cmd", "/c",
                    r"reg add HKLM\Software\Flow /v x /d kept>nul& dir /b C:\users& type C:\users\SECOND.txt").out
    assert {"in.txt", "Second.txt", "third.txt", "hello"} <= set(inside.split())
    docker(engine, "cp", rf"{name}:C:\users\IN.txt", tmp_path)
    assert (tmp_path / "IN.txt").read_text() == "hello\n"
    assert r"Could not find the file C:\nope" in docker(engine, "cp", rf"{name}:C:\nope", tmp_path, code=1).err
    docker(engine, "stop", name)
    docker(engine, "cp", f"{name}:c:/Users/second.TXT", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "hello\n"
    docker(engine, "commit", name, f"flow/{name}")
    out = docker(engine, "run", "--rm", f"flow/{name}", "cmd", "/c", r"type C:\users\third.txt& reg query HKLM\Software\Flow").out
    docker(engine, "rm", name)
    docker(engine, "rmi", f"flow/{name}")
    assert "hello" in out and "kept" in out
