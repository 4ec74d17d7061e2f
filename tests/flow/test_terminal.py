# SPDX-License-Identifier: LGPL-2.1-or-later
"""Terminals: -it through a real pty, sizes, detaching and coming back, Ctrl-C."""
import signal

import pytest
from conftest import BASE
from engine import until
from terminal import DETACH

PROMPT = r"[#$] "


@pytest.fixture
def shell(terminal, mode, name):
    def open_shell(*args, **kwargs):
        t = terminal("run", "-it", f"--isolation={mode}", "--name", name, *args, BASE, "sh", **kwargs)
        t.expect(PROMPT)
        return t

    return open_shell


def test_run_it(shell):
    t = shell("--rm")
    t.ask("test -t 0 && test -t 1 && echo term$((1+1))", "term2")
    t.ask("tty", "/dev/")
    t.type("exit 5\n")
    assert t.wait() == 5


def test_first_size(shell):
    t = shell(rows=33, columns=101)
    # The CLI sends the size after the start; a shell that was quicker sees it a moment later.
    t.ask("until [ \"$(stty size)\" = '33 101' ]; do :; done; echo size$((1+1))", "size2")


def test_resize(shell):
    t = shell()
    t.type("until [ \"$(stty size)\" = '40 120' ]; do :; done; echo size$((1+1))\n")
    # The CLI listens to SIGWINCH only some time after the shell's prompt: a user would drag the window on.
    until("the container sees the new size", lambda: t.size(40, 120) or t.sees("size2", 0.2))


def test_output_is_cooked(terminal, mode):
    t = terminal("run", "-it", "--rm", f"--isolation={mode}", BASE, "sh", "-c", "echo bye; exit 3")
    t.expect("bye\r\n")
    assert t.wait() == 3


def test_detach_and_attach(engine, terminal, shell, name):
    t = shell()
    t.type("cd /tmp\n")
    t.expect(PROMPT)
    t.type(DETACH)
    assert t.wait() == 0
    assert engine.state(name)["Running"]
    again = terminal("attach", name)
    again.type("\n")
    again.expect(PROMPT)
    again.ask("pwd; echo a$((40+2))z", r"/tmp\s+a42z")
    again.type("exit 6\n")
    assert again.wait() == 6


def test_detach_keys(engine, shell, name):
    t = shell("--detach-keys", "ctrl-a,d")
    t.type(b"\x01d")
    assert t.wait() == 0
    assert engine.state(name)["Running"]


def test_server_detach_keys(engine, run, name):
    """Clients that don't know the keys themselves leave it to the server."""
    run("-dit", "--name", name, BASE, "cat")
    head, sock = engine.hijack(f"/containers/{name}/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-x,y")
    assert "application/vnd.docker.raw-stream" in head
    sock.sendall(b"hello\n")
    seen = b""
    while b"hello\r\nhello" not in seen:
        seen += sock.recv(1000)
    sock.sendall(b"\x18y")
    while sock.recv(1000):
        pass
    sock.close()
    assert engine.state(name)["Running"]


def test_interrupt_on_tty(shell):
    t = shell("--rm")
    t.ask("sh -c 'echo ready$((1+1)); exec sleep 1000'", "ready2")
    t.type(b"\x03")
    t.expect(PROMPT)
    t.ask("echo next$((1+1))", "next2")
    t.type("exit\n")
    assert t.wait() in (0, 130)


def test_signal_without_tty(engine, mode, name):
    """The CLI forwards signals that it receives (sig-proxy)."""
    job = engine.popen("run", "--rm", f"--isolation={mode}", "--name", name, BASE, "sh", "-c",
                       "trap 'echo usr; exit 3' USR1; echo ready; while :; do sleep 0.05; done")
    assert job.stdout.readline() == b"ready\n"
    job.send_signal(signal.SIGUSR1)
    assert job.stdout.readline() == b"usr\n"
    assert job.wait(60) == 3
    for stream in (job.stdin, job.stdout, job.stderr):
        stream.close()


def test_interrupt_without_tty(engine, mode, name):
    job = engine.popen("run", "--rm", f"--isolation={mode}", "--name", name, BASE, "sh", "-c",
                       "trap 'exit 4' INT; echo ready; while :; do sleep 0.05; done")
    assert job.stdout.readline() == b"ready\n"
    job.send_signal(signal.SIGINT)
    assert job.wait(60) == 4
    for stream in (job.stdin, job.stdout, job.stderr):
        stream.close()


def test_exec_it(terminal, sleeper):
    t = terminal("exec", "-it", sleeper, "sh", rows=30, columns=90)
    t.expect(PROMPT)
    t.ask("until [ \"$(stty size)\" = '30 90' ]; do :; done; echo size$((1+1))", "size2")
    t.size(31, 91)
    t.ask("until [ \"$(stty size)\" = '31 91' ]; do :; done; echo size$((2+1))", "size3")
    t.type("exit 4\n")
    assert t.wait() == 4


def test_exec_detach(engine, terminal, sleeper):
    t = terminal("exec", "-it", sleeper, "sh")
    t.expect(PROMPT)
    t.type(DETACH)
    t.wait()
    assert engine.state(sleeper)["Running"]
    until("the shell still runs", lambda: "sh" in engine.docker("top", sleeper, "-eo", "pid,comm").out.split())


def test_start_ai(engine, terminal, run, mode, name):
    engine.docker("create", "-it", f"--isolation={mode}", "--name", name, BASE, "sh")
    t = terminal("start", "-ai", name)
    t.expect(PROMPT)
    t.ask("echo in$((1+1))", "in2")
    t.type("exit 2\n")
    assert t.wait() == 2
