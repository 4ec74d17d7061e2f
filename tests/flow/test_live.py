# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 of silod, of a monitor, of a virtual machine: clear state, nothing left behind."""
import os
import re
import signal

import pytest
from conftest import BASE, MODES
from engine import kill_process, process_table, until

LOOP = "trap 'exit 7' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"


@pytest.fixture(scope="module")
def live_engine(vm_dir):
    """An engine of its own: these tests kill it. Shared, so that each test also starts from what the last one left."""
    from engine import Engine
    engine = Engine(vm_dir).start()
    yield engine
    if not engine.answers():
        engine.start()
    ids = engine.remove_containers()
    engine.assert_clean(ids)
    engine.stop()
    engine.remove()


@pytest.fixture
def live(live_engine):
    yield live_engine
    if live_engine.process.poll() is not None:
        live_engine.start()
    ids = live_engine.remove_containers()
    live_engine.assert_clean(ids)


def counted(engine, name):
    return len(engine.docker("logs", name).out.split())


def test_silod_killed_containers_go_on(live, mode, name):
    live.docker("run", "-d", f"--isolation={mode}", "--name", name, BASE, "sh", "-c", LOOP)
    until("it counts", lambda: counted(live, name) > 2)
    before = live.inspect(name)
    live.kill9()
    assert os.path.exists(f"/proc/{before['State']['Pid']}")
    live.start()
    after = live.inspect(name)
    assert after["State"]["Running"] and after["State"]["Pid"] == before["State"]["Pid"]
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]
    seen = counted(live, name)
    until("it still counts", lambda: counted(live, name) > seen)
    numbers = [int(n) for n in live.docker("logs", name).out.split()]
    assert numbers == list(range(1, len(numbers) + 1)), "no line is missing from the log"
    assert live.docker("exec", name, "echo", "in").out == "in\n"
    live.docker("stop", name)
    assert live.state(name)["ExitCode"] == 7


def test_exit_code_while_silod_is_dead(live, mode, name):
    live.docker("run", "-di", f"--isolation={mode}", "--name", name, BASE, "sh", "-c", "read x; echo last; exit 9")
    identity, pid = live.template(name, "{{.Id}} {{.State.Pid}}").split()
    monitor = next(row[1] for row in process_table() if row[0] == int(pid))
    before = len(os.listdir(f"/proc/{monitor}/fd"))
    head, sock = live.hijack(f"/containers/{name}/attach?stream=1&stdin=1&stdout=1")
    assert head.startswith("HTTP/1.1 101")
    until("the monitor has the client", lambda: len(os.listdir(f"/proc/{monitor}/fd")) > before)
    live.kill9()
    # The stream belongs to the monitor: it works without an engine.
    sock.sendall(b"go\n")
    data = b""
    while True:
        piece = sock.recv(1000)
        if not piece:
            break
        data += piece
    assert data == b"\1\0\0\0\0\0\0\5last\n"
    sock.close()
    until("the container has ended", lambda: not os.path.exists(f"/proc/{pid}"))
    live.start()
    until("the exit is known", lambda: not live.state(name)["Running"], 10)
    state = live.state(name)
    assert (state["Status"], state["ExitCode"]) == ("exited", 9)
    assert live.docker("logs", name).out == "last\n"
    assert live.docker("start", name).line == name
    assert identity == live.template(name, "{{.Id}}")


def test_attach_after_restart_of_silod(live, mode, name):
    live.docker("run", "-di", f"--isolation={mode}", "--name", name, BASE, "sh", "-c", "read x; echo got $x")
    live.kill9()
    live.start()
    job = live.popen("attach", name)
    job.stdin.write(b"one\n")
    job.stdin.flush()
    assert job.stdout.readline() == b"got one\n"
    job.stdin.close()
    job.wait(60)
    for stream in (job.stdout, job.stderr):
        stream.close()


def test_orderly_stop_leaves_containers(live, mode, name):
    live.docker("run", "-d", f"--isolation={mode}", "--name", name, BASE, "sleep", "1000")
    pid = live.state(name)["Pid"]
    live.stop()
    assert os.path.exists(f"/proc/{pid}")
    live.start()
    assert live.state(name)["Pid"] == pid
    live.docker("kill", name)
    assert live.docker("wait", name).line == "137"


def test_monitor_killed(live, mode, name):
    live.docker("run", "-d", f"--isolation={mode}", "--name", name, BASE, "sleep", "1000")
    identity, pid = live.template(name, "{{.Id}} {{.State.Pid}}").split()
    kill_process(live.monitor_pid(identity))
    until("the container is known to be dead", lambda: not live.state(name)["Running"])
    state = live.state(name)
    assert state["Status"] == "exited" and state["ExitCode"] == 137 and state["Error"], state
    until("its process is gone", lambda: not os.path.exists(f"/proc/{pid}"))
    # It starts again as if nothing had been.
    live.docker("start", name)
    assert live.docker("exec", name, "echo", "ok").out == "ok\n"


def test_monitor_killed_while_silod_is_dead(live, mode, name):
    live.docker("run", "-d", f"--isolation={mode}", "--name", name, BASE, "sleep", "1000")
    identity = live.template(name, "{{.Id}}")
    monitor = live.monitor_pid(identity)
    live.kill9()
    kill_process(monitor)
    until("the monitor is gone", lambda: not os.path.exists(f"/proc/{monitor}"))
    live.start()
    state = live.state(name)
    assert state["Status"] == "exited" and state["ExitCode"] == 137, state
    live.docker("start", name)


def test_init_killed(live, mode, name):
    """From inside nobody can; from outside: process mode only sees it."""
    live.docker("run", "-d", f"--isolation={mode}", "--name", name, BASE, "sleep", "1000")
    kill_process(int(live.template(name, "{{.State.Pid}}")))
    assert live.docker("wait", name).line in ("137", "255")
    assert live.state(name)["Status"] == "exited"


@pytest.mark.skipif("hyperv" not in MODES, reason="hyperv isn't among the tested modes")
def test_vmwp_killed(live, name):
    live.docker("run", "-d", "--isolation=hyperv", "--name", name, BASE, "sh", "-c", "echo kept; sleep 1000")
    until("it has written", lambda: live.docker("logs", name).out == "kept\n")
    job = live.popen("exec", name, "sh", "-c", "echo up; sleep 1000")
    assert job.stdout.readline() == b"up\n"
    kill_process(int(live.template(name, "{{.State.Pid}}")))
    until("the container is known to be dead", lambda: not live.state(name)["Running"])
    state = live.state(name)
    assert state["Status"] == "exited" and state["ExitCode"] != 0
    assert "The virtual machine or container exited unexpectedly" in state["Error"], state
    assert job.wait(60) != 0
    for stream in (job.stdin, job.stdout, job.stderr):
        stream.close()
    assert live.docker("logs", name).out == "kept\n"
    live.docker("start", name)
    assert live.docker("exec", name, "echo", "ok").out == "ok\n"


@pytest.mark.parametrize("moment", ["create", "start", "run", "rm"])
def test_silod_killed_at_moments(live, mode, name, moment):
    """Killed in the middle of a request: the next engine has a clear state and can do everything again."""
    if moment in ("start", "rm"):
        live.docker("create", f"--isolation={mode}", "--name", name, BASE, "sleep", "1000")
    command = {"create": ["create", f"--isolation={mode}", "--name", name, BASE, "true"], "start": ["start", name],
               "run": ["run", "-d", f"--isolation={mode}", "--name", name, BASE, "sleep", "1000"], "rm": ["rm", "-f", name]}
    job = live.popen(*command[moment])
    # No sleep: the kill lands wherever the request is by then.
    live.kill9()
    job.communicate(timeout=60)
    live.start()
    result = live.docker("inspect", "-f", "{{.State.Status}}", name, code=None)
    if result.code == 0:
        until("a settled state", lambda: live.state(name)["Status"] in ("created", "running", "exited"), 10)
        live.docker("rm", "-f", name)
    live.docker("run", "--rm", f"--isolation={mode}", "--name", name, BASE, "true")


def test_rm_container_whose_silod_died(live, mode, name):
    """--rm is kept by the engine: a container that ends while silod is dead is removed when it is back."""
    live.docker("run", "-di", "--rm", f"--isolation={mode}", "--name", name, BASE, "cat")
    pid = live.state(name)["Pid"]
    monitor = live.monitor_pid(live.template(name, "{{.Id}}"))
    live.kill9()
    os.kill(monitor, signal.SIGTERM)
    kill_process(pid)
    until("the container has ended", lambda: not os.path.exists(f"/proc/{pid}"))
    live.start()
    until("it is removed", lambda: live.http("GET", f"/containers/{name}/json")[0] == 404, 20)


def test_second_engine_on_the_same_root_is_refused(live):
    import subprocess
    from engine import program
    done = subprocess.run([program("silod"), "--root", live.root, "--exec-root", live.exec_root, "--host",
                           f"unix://{live.top}/second.sock"], capture_output=True, timeout=30, check=False)
    assert done.returncode != 0 and re.search(rb"another|running|in use|lock", done.stderr), done
    assert live.answers()
