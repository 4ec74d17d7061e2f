# SPDX-License-Identifier: LGPL-2.1-or-later
"""exec, attach and logs."""
import re

import pytest
from conftest import BASE
from engine import frames, until

# name, options of exec, command, expectations as in test_run
EXEC = [
    ("streams", [], ["sh", "-c", "echo o; echo e >&2; exit 9"], dict(code=9, out="o\n", err="e\n")),
    ("stdin", ["-i"], ["cat"], {"in": "abc", "out": "abc"}),
    ("workdir", ["-w", "/tmp"], ["pwd"], dict(out="/tmp\n")),
    ("user", ["-u", "1000:1001"], ["sh", "-c", "id -u; id -g"], dict(out="1000\n1001\n")),
    ("env", ["-e", "B=2"], ["sh", "-c", "echo $A$B"], dict(out="12\n")),
    ("same-pid-namespace", [], ["cat", "/proc/1/comm"], dict(out="sleep\n")),
    ("hostname", [], ["hostname"], dict(out="exec-host\n")),
    ("no-command", [], ["nosuch"], dict(code=127, any=re.compile(
        r'exec: "nosuch": executable file not found in \$PATH'))),
    ("not-executable", [], ["/etc/passwd"], dict(code=126, any=re.compile("permission denied"))),
    ("signal", [], ["sh", "-c", "kill -KILL $$"], dict(code=137)),
    ("unknown-user", ["-u", "nobody-here"], ["true"], dict(code=126, any=re.compile("unable to find user nobody-here"))),
    ("case-08-no-inheritable", [], ["grep", "CapInh", "/proc/self/status"], dict(out="CapInh:\t0000000000000000\n")),
    ("case-09-user-plus", ["-u", "+0"], ["true"], dict(code=126)),
    ("case-09-user-huge", ["-u", "4294967296"], ["true"], dict(code=126)),
    ("case-09-user-colon", ["-u", "0:"], ["id", "-u"], dict(out=re.compile("^0\n$|^$"), code=re.compile("^(0|126)$"))),
    ("seccomp", [], ["grep", "^Seccomp:", "/proc/self/status"], dict(out="Seccomp:\t2\n")),
    ("big-output", [], ["sh", "-c", "dd if=/dev/zero bs=65536 count=64 2>/dev/null | tr '\\0' x"],
     dict(out="x" * (64 * 65536))),
]


def check(text, want):
    if isinstance(want, re.Pattern):
        assert want.search(text), f"{want.pattern!r} not in {text!r}"
    elif want is not None:
        assert text == want


def test_exec(engine, run, name):
    """One container, every row of the table; all failures are told."""
    run("-d", "--name", name, "-h", "exec-host", "-e", "A=1", BASE, "sleep", "1000")
    wrong = []
    for label, options, command, want in EXEC:
        result = engine.docker("exec", *options, name, *command, stdin=want.get("in"), code=None)
        try:
            check(str(result.code) if isinstance(want.get("code"), re.Pattern) else result.code, want.get("code", 0))
            check(result.out, want.get("out"))
            check(result.err, want.get("err"))
            check(result.out + result.err, want.get("any"))  # dockerd sends these errors on the stream
        except AssertionError as e:
            wrong.append(f"{label}: {str(e)[:300]}\n{repr(result)[:600]}")
    assert not wrong, "\n\n".join(wrong)


def test_exec_detached(engine, sleeper):
    engine.docker("exec", "-d", sleeper, "sh", "-c", "echo done >/tmp/mark")
    until("the mark", lambda: engine.docker("exec", sleeper, "sh", "-c", "cat /tmp/mark 2>/dev/null; true").out == "done\n")


def test_exec_inspect(engine, sleeper):
    identity = engine.http("POST", f"/containers/{sleeper}/exec", {"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True})[2]["Id"]
    before = engine.http("GET", f"/exec/{identity}/json")[2]
    assert before["Running"] is False and before["ExitCode"] is None
    _, sock = engine.hijack(f"/exec/{identity}/start", b'{"Detach":false,"Tty":false}')
    while sock.recv(1000):
        pass
    sock.close()
    until("the exit code", lambda: engine.http("GET", f"/exec/{identity}/json")[2]["ExitCode"] == 3)
    assert engine.http("GET", f"/exec/{identity}/json")[2]["Running"] is False
    assert engine.http("GET", "/exec/nosuch/json")[0] == 404


def test_exec_needs_running(engine, run, name):
    run("--name", name, BASE, "true")
    result = engine.docker("exec", name, "true", code=1)
    assert "is not running" in result.err


def test_exec_ends_with_container(engine, sleeper):
    job = engine.popen("exec", sleeper, "sh", "-c", "echo up; exec sleep 1000")
    assert job.stdout.readline() == b"up\n"
    engine.docker("kill", sleeper)
    assert job.wait(60) == 137
    for stream in (job.stdin, job.stdout, job.stderr):
        stream.close()


def test_attach(engine, run, name):
    run("-di", "--name", name, BASE, "sh", "-c", "read x; echo got $x; read x; echo got $x; exit 5")
    job = engine.popen("attach", name)
    job.stdin.write(b"one\n")
    job.stdin.flush()
    assert job.stdout.readline() == b"got one\n"
    second = engine.popen("attach", "--no-stdin", name)
    until("both are attached", lambda: engine.watch.actions(engine.template(name, "{{.Id}}")).count("attach") == 2)
    job.stdin.write(b"two\n")
    job.stdin.flush()
    assert job.stdout.readline() == b"got two\n"
    assert job.wait(60) == 5 and second.wait(60) == 5
    for stream in (job.stdin, job.stdout, job.stderr, second.stdin, second.stdout, second.stderr):
        stream.close()
    assert engine.docker("logs", name).out == "got one\ngot two\n"


def open_stdin(engine, mode, name, command, once=True):
    """A created container whose stdin ends with its first client's (StdinOnce), as `docker run -i` makes it."""
    status, _, _ = engine.http("POST", f"/containers/create?name={name}", {
        "Image": BASE, "Cmd": ["sh", "-c", command], "OpenStdin": True, "StdinOnce": once, "HostConfig": {"Isolation": mode}})
    assert status == 201
    assert engine.http("POST", f"/containers/{name}/start")[0] == 204


def test_stdin_stays_open(engine, mode, name):
    """Without StdinOnce a client that half-closes leaves the container's stdin to the next client."""
    open_stdin(engine, mode, name, "read x; echo got $x", once=False)
    _, sock = engine.hijack(f"/containers/{name}/attach?stream=1&stdin=1")
    sock.shutdown(1)
    sock.close()
    _, sock = engine.hijack(f"/containers/{name}/attach?stream=1&stdin=1&stdout=1")
    sock.sendall(b"line\n")
    assert read_all(sock) == b"\1\0\0\0\0\0\0\x09got line\n"


def read_all(sock):
    data = b""
    with sock:
        while True:
            piece = sock.recv(65536)
            if not piece:
                return data
            data += piece


def test_attach_frames(engine, mode, name):
    """The raw protocol: multiplexed frames, half-close ends stdin, output comes after it."""
    open_stdin(engine, mode, name, "cat; echo e >&2; echo end")
    head, sock = engine.hijack(f"/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1")
    assert head.startswith("HTTP/1.1 101") and "application/vnd.docker.multiplexed-stream" in head
    sock.sendall(b"data")
    sock.shutdown(1)
    parts = frames(read_all(sock))
    assert b"".join(d for n, d in parts if n == 1) == b"dataend\n"
    assert b"".join(d for n, d in parts if n == 2) == b"e\n"


def test_attach_old_client(engine, mode, name):
    """Clients without an Upgrade header get 200 and the same stream."""
    open_stdin(engine, mode, name, "cat; echo end")
    head, sock = engine.hijack(f"/v1.24/containers/{name}/attach?stream=1&stdin=1&stdout=1", upgrade=False)
    assert head.startswith("HTTP/1.1 200"), head
    sock.shutdown(1)
    assert frames(read_all(sock)) == [(1, b"end\n")]


def test_attach_logs(engine, run, name):
    run("-d", "--name", name, BASE, "sh", "-c", "echo early; exec sleep 1000")
    until("the line is logged", lambda: engine.docker("logs", name).out == "early\n")
    status, _, body = engine.http("POST", f"/containers/{name}/attach?logs=1&stdout=1&stderr=1")
    assert status == 200 and frames(body) == [(1, b"early\n")]


def test_attach_not_running(engine, run, name):
    run("--name", name, BASE, "true")
    assert "cannot attach to a stopped container" in engine.docker("attach", name, code=1).err


LINES = "for i in 1 2 3 4 5; do echo line$i; done; echo problem >&2"


def test_logs(engine, run, name):
    run("--name", name, BASE, "sh", "-c", LINES)
    result = engine.docker("logs", name)
    assert result.out == "".join(f"line{i}\n" for i in range(1, 6)) and result.err == "problem\n"
    tail = engine.docker("logs", "--tail", "2", name)
    assert (tail.out + tail.err).splitlines() in (["line5", "problem"],)
    assert engine.docker("logs", "--tail", "0", name).out == ""
    stamped = engine.docker("logs", "-t", name).out.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line\d$", line) for line in stamped), stamped
    assert "No such container: nosuch" in engine.docker("logs", "nosuch", code=1).err


def test_logs_since_until(engine, run, name):
    run("-di", "--name", name, BASE, "sh", "-c", "echo first; read x; echo second; read x")
    until("first", lambda: engine.docker("logs", name).out == "first\n")
    stamp = engine.docker("logs", "-t", name).out.split()[0]
    job = engine.popen("attach", name)
    job.stdin.write(b"\n")
    job.stdin.flush()
    until("second", lambda: engine.docker("logs", name).out == "first\nsecond\n")
    job.stdin.write(b"\n")
    job.stdin.close()
    job.wait(60)
    for stream in (job.stdout, job.stderr):
        stream.close()
    times = [line.split()[0] for line in engine.docker("logs", "-t", name).out.splitlines()]
    assert times[0] == stamp
    assert engine.docker("logs", "--since", times[1], name).out == "second\n"
    assert engine.docker("logs", "--until", times[0], name).out == "first\n"
    assert engine.docker("logs", "--since", "1h", name).out == "first\nsecond\n"
    assert engine.docker("logs", "--since", "2999-01-01T00:00:00Z", name).out == ""


def test_logs_follow(engine, run, name):
    run("-di", "--name", name, BASE, "sh", "-c", "echo one; read x; echo two; exit 0")
    job = engine.popen("logs", "-f", name)
    assert job.stdout.readline() == b"one\n"
    assert engine.docker("attach", name, stdin="\n").code == 0
    assert job.stdout.readline() == b"two\n"
    assert job.stdout.read() == b"" and job.wait(60) == 0
    for stream in (job.stdin, job.stdout, job.stderr):
        stream.close()


def test_logs_partial_and_long_lines(engine, run, name):
    run("--name", name, BASE, "sh", "-c", "dd if=/dev/zero bs=50000 count=1 2>/dev/null | tr '\\0' x; echo; printf end")
    assert engine.docker("logs", name).out == "x" * 50000 + "\nend"


def test_logs_of_tty(engine, run, name):
    run("-dt", "--name", name, BASE, "echo", "cooked")
    engine.docker("wait", name)
    assert engine.docker("logs", name).raw == b"cooked\r\n"


def test_logs_binary(engine, run, name):
    run("--name", name, BASE, "printf", r"a\377b\000c\n")
    assert engine.docker("logs", name).raw == "a\ufffdb\0c\n".encode()


@pytest.mark.parametrize("option", ["max-size=10k", "max-size=10k,max-file=2"])
def test_case_20_log_rotation(engine, run, name, option):
    options = [a for o in option.split(",") for a in ("--log-opt", o)]
    run("--name", name, *options, BASE, "sh", "-c", "i=0; while [ $i -lt 1000 ]; do echo line-$i; i=$((i+1)); done")
    lines = engine.docker("logs", name).out.splitlines()
    assert lines[-1] == "line-999" and len(lines) < 1000
    folder = engine.root / "containers" / engine.template(name, "{{.Id}}")
    assert sum(p.stat().st_size for p in folder.glob("*-json.log*")) < 2 * 12 * 1024
