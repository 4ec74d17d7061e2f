# SPDX-License-Identifier: LGPL-2.1-or-later
"""The life of a container: create to rm, and what every state answers."""
import json
import re
import threading

import pytest
from conftest import BASE
from engine import Watch, until


def test_create_start_wait(engine, mode, name):
    engine.docker("create", f"--isolation={mode}", "--name", name, BASE, "sh", "-c", "echo hi; exit 4")
    assert engine.state(name)["Status"] == "created"
    assert engine.docker("start", name).line == name
    assert engine.docker("wait", name).line == "4"
    assert engine.docker("logs", name).out == "hi\n"
    state = engine.state(name)
    assert (state["Status"], state["ExitCode"], state["Running"], state["Pid"]) == ("exited", 4, False, 0)


def test_start_attached(engine, mode, name):
    engine.docker("create", f"--isolation={mode}", "--name", name, BASE, "sh", "-c", "echo hi; exit 4")
    result = engine.docker("start", "-a", name, code=4)
    assert result.out == "hi\n"
    # A second run of the same container: its writable layer is kept, its log goes on.
    engine.docker("start", "-a", name, code=4)
    assert engine.docker("logs", name).out == "hi\nhi\n"


def test_start_with_stdin(engine, mode, name):
    engine.docker("create", "-i", f"--isolation={mode}", "--name", name, BASE, "cat")
    assert engine.docker("start", "-ai", name, stdin="abc").out == "abc"


def test_writable_layer_is_kept(engine, run, name):
    run("--name", name, BASE, "sh", "-c", "test -f /kept && cat /kept; echo old >/kept")
    assert engine.docker("start", "-a", name).out == "old\n"


def test_start_twice_is_not_modified(engine, sleeper):
    assert engine.http("POST", f"/containers/{sleeper}/start")[0] == 304
    assert engine.docker("start", sleeper).line == sleeper


def test_stop(engine, run, name):
    run("-d", "--name", name, BASE, "sh", "-c", "trap 'echo bye; exit 6' TERM; echo up; while :; do sleep 0.05; done")
    until("the trap is set", lambda: engine.docker("logs", name).out == "up\n")
    engine.docker("stop", name)
    assert engine.state(name)["ExitCode"] == 6
    assert engine.docker("logs", name).out == "up\nbye\n"
    assert engine.http("POST", f"/containers/{name}/stop")[0] == 304


def test_stop_kills_after_timeout(engine, sleeper):
    engine.docker("stop", "-t", "1", sleeper)  # pid 1 without a handler ignores SIGTERM
    assert engine.state(sleeper)["ExitCode"] == 137


def test_stop_signal(engine, run, name):
    run("-d", "--name", name, "--stop-signal", "USR1", BASE, "sh", "-c",
        "trap 'exit 8' USR1; echo up; while :; do sleep 0.05; done")
    until("the trap is set", lambda: engine.docker("logs", name).out == "up\n")
    engine.docker("stop", name)
    assert engine.state(name)["ExitCode"] == 8


@pytest.mark.parametrize("signal", ["USR1", "SIGUSR1", "10"])
def test_kill_signal(engine, run, name, signal):
    run("-d", "--name", name, BASE, "sh", "-c", "trap 'echo got; exit 3' USR1; echo up; while :; do sleep 0.05; done")
    until("the trap is set", lambda: engine.docker("logs", name).out == "up\n")
    engine.docker("kill", "-s", signal, name)
    assert engine.docker("wait", name).line == "3"


def test_kill_errors(engine, sleeper, name):
    assert "nvalid signal: NOSUCH" in engine.docker("kill", "-s", "NOSUCH", sleeper, code=1).err
    engine.docker("kill", sleeper)
    engine.docker("wait", sleeper)
    identity = engine.template(sleeper, "{{.Id}}")
    result = engine.docker("kill", sleeper, code=1)
    assert re.search(rf"[Cc]annot kill container: {sleeper}: [Cc]ontainer {identity} is not running", result.err), result
    assert "No such container: nosuch" in engine.docker("kill", "nosuch", code=1).err


def test_restart(engine, sleeper):
    before = engine.state(sleeper)
    engine.docker("restart", "-t", "0", sleeper)
    after = engine.state(sleeper)
    assert after["Running"] and after["StartedAt"] > before["StartedAt"] and after["Pid"] != before["Pid"]


def test_restart_of_stopped(engine, run, name):
    run("--name", name, BASE, "true")
    engine.docker("restart", name)
    assert engine.docker("wait", name).line == "0"


def test_pause(engine, run, name):
    run("-d", "--name", name, BASE, "sh", "-c", "while :; do echo t; sleep 0.02; done")
    until("it writes", lambda: engine.docker("logs", name).out.count("t") > 2)
    engine.docker("pause", name)
    state = engine.state(name)
    assert state["Status"] == "paused" and state["Paused"] and state["Running"]
    assert "(Paused)" in engine.docker("ps", "--filter", f"name={name}").out
    assert "is paused" in engine.docker("exec", name, "true", code=1).err
    assert "already paused" in engine.docker("pause", name, code=1).err
    frozen = engine.docker("logs", name).out
    assert engine.docker("logs", name).out == frozen
    engine.docker("unpause", name)
    until("it goes on", lambda: len(engine.docker("logs", name).out) > len(frozen))
    assert "is not paused" in engine.docker("unpause", name, code=1).err


def test_remove(engine, sleeper):
    identity = engine.template(sleeper, "{{.Id}}")
    result = engine.docker("rm", sleeper, code=1)
    assert re.search(r"container is running|You cannot remove a running container", result.err), result
    assert engine.docker("rm", "-f", sleeper).line == sleeper
    assert f"No such container: {sleeper}" in engine.docker("rm", sleeper, code=1).err
    assert engine.http("GET", f"/containers/{identity}/json")[0] == 404


def test_remove_of_paused(engine, sleeper):
    engine.docker("pause", sleeper)
    engine.docker("rm", "-f", sleeper)
    assert engine.containers() == []


def test_rename(engine, sleeper):
    engine.docker("rename", sleeper, sleeper + "new")
    assert engine.template(sleeper + "new", "{{.Name}}") == f"/{sleeper}new"
    assert engine.http("GET", f"/containers/{sleeper}/json")[0] == 404


def test_reference_forms(engine, sleeper):
    identity = engine.template(sleeper, "{{.Id}}")
    for form in (identity, identity[:12], identity[:6], sleeper):
        assert engine.http("GET", f"/containers/{form}/json")[2]["Id"] == identity
    assert engine.docker("inspect", "-f", "{{.Id}}", "/" + sleeper).line == identity


def test_wait_conditions(engine, sleeper):
    status = []
    waiter = threading.Thread(target=lambda: status.append(
        engine.http("POST", f"/containers/{sleeper}/wait?condition=removed")))
    waiter.start()
    engine.docker("kill", sleeper)
    assert engine.http("POST", f"/containers/{sleeper}/wait")[2]["StatusCode"] == 137
    assert waiter.is_alive()
    engine.docker("rm", sleeper)
    waiter.join(30)
    assert status[0][2]["StatusCode"] == 137


def test_ps(engine, run, sleeper, mode, name):
    done = name + "done"
    run("--name", done, "--label", "team=x", BASE, "sh", "-c", "exit 3", code=3)

    def ps(*args):
        return engine.docker("ps", "--format", "{{.Names}}", *args).out.split()

    identity = engine.template(sleeper, "{{.Id}}")
    other = "hyperv" if mode == "process" else "process"
    assert ps() == [sleeper]
    assert ps("-a") == [done, sleeper]
    assert ps("-a", "-n", "1") == [done]
    assert engine.docker("ps", "-q").line == identity[:12]
    assert engine.docker("ps", "-q", "--no-trunc").line == identity
    for wanted, *filters in (
            ([sleeper], "status=running"), ([done], "status=exited"), ([done], "exited=3"), ([], "exited=4"),
            ([done], "label=team"), ([done], "label=team=x"), ([], "label=team=y"), ([sleeper], f"name=^{sleeper}$"),
            ([sleeper], f"id={identity[:12]}"), ([done, sleeper], f"ancestor={BASE}"), ([], "ancestor=flow/none"),
            ([done, sleeper], f"isolation={mode}"), ([], f"isolation={other}"), ([done], f"since={sleeper}"),
            ([sleeper], f"before={done}"), ([done], f"isolation={mode}", "status=exited")):
        arguments = [a for f in filters for a in ("--filter", f)]
        assert ps("-a", *arguments) == wanted, filters
    assert "invalid filter 'nonsense'" in engine.docker("ps", "--filter", "nonsense=1", code=1).err
    table = engine.docker("ps", "-a").out.splitlines()
    assert re.match(r"CONTAINER ID\s+IMAGE\s+COMMAND\s+CREATED\s+STATUS\s+PORTS\s+NAMES", table[0])
    assert re.search(r'"sleep 1000"\s+.*Up (Less than a second|\d+ seconds?)', table[2]), table
    assert re.search(r"Exited \(3\)", table[1])


def test_top(engine, run, name):
    run("-d", "--name", name, BASE, "sh", "-c", "sleep 998 & sleep 999; true")
    until("both run", lambda: engine.docker("top", name).out.count("sleep 99") >= 2)
    lines = engine.docker("top", name).out.splitlines()
    assert re.match(r"UID\s+PID\s+PPID\s+C\s+STIME\s+TTY\s+TIME\s+CMD", lines[0])
    assert len(lines) == 4 and sum("sleep 99" in line for line in lines) == 3
    lines = engine.docker("top", name, "-eo", "pid,comm,args").out.splitlines()
    assert lines[0].split() == ["PID", "COMMAND", "COMMAND"] and len(lines) == 4
    lines = engine.docker("top", name, "aux").out.splitlines()
    assert lines[0].split()[:3] == ["USER", "PID", "%CPU"] and len(lines) == 4
    assert engine.docker("top", name, "--nonsense", code=1).err
    body = engine.http("GET", f"/containers/{name}/top")[2]
    assert body["Titles"][-1] == "CMD" and all(len(p) == len(body["Titles"]) for p in body["Processes"])
    engine.docker("kill", name)
    engine.docker("wait", name)
    assert "is not running" in engine.docker("top", name, code=1).err


def test_stats(engine, sleeper):
    line = engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}", sleeper).line
    assert re.match(rf"{sleeper} \d+\.\d+% [\d.]+[KMG]?i?B / [\d.]+[KMG]iB 1$", line), line
    stats = engine.http("GET", f"/containers/{sleeper}/stats?stream=false&one-shot=1")[2]
    assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 0 and stats["memory_stats"]["usage"] > 0
    assert stats["pids_stats"]["current"] == 1


def test_port(engine, sleeper):
    assert engine.docker("port", sleeper).out == ""


def test_events(engine, run, name):
    watch = Watch(engine, "?filters=" + '{"type":["container"]}'.replace('"', "%22").replace("{", "%7B"))
    try:
        run("--rm", "--name", name, BASE, "true")
        until("destroy", lambda: any(e["Action"] == "destroy" for e in watch.events))
        actions = [e["Action"] for e in watch.events if e["Actor"]["Attributes"].get("name") == name]
        assert actions == ["create", "attach", "start", "die", "destroy"]
        die = next(e for e in watch.events if e["Action"] == "die")
        assert die["Actor"]["Attributes"]["exitCode"] == "0" and die["Actor"]["Attributes"]["image"] == BASE
        assert die["status"] == "die" and die["id"] == die["Actor"]["ID"] and die["time"] and die["timeNano"]
    finally:
        watch.close()


def test_events_past(engine, sleeper):
    started = engine.inspect(sleeper)["Created"]
    engine.docker("kill", sleeper)
    engine.docker("wait", sleeper)
    until("die is there", lambda: "die" in engine.docker(
        "events", "--since", started, "--until", "0s", "--filter", f"container={sleeper}",
        "--format", "{{.Action}}").out.split())
    out = engine.docker("events", "--since", started, "--until", "0s", "--filter", f"container={sleeper}",
                        "--format", "{{.Action}}").out.split()
    assert out[:2] == ["create", "start"] and {"kill", "die"} <= set(out)


def test_update(engine, sleeper):
    engine.docker("update", "--pids-limit", "50", sleeper)
    assert engine.inspect(sleeper)["HostConfig"]["PidsLimit"] == 50


def test_prune(engine, run, sleeper, name):
    run("--name", name + "gone", BASE, "true")
    body = json.loads(json.dumps(engine.http("POST", "/containers/prune")[2]))
    assert len(body["ContainersDeleted"]) == 1
    assert len(engine.containers()) == 1


def test_oom_is_reported(engine, run, name):
    """Case 19: only that container dies."""
    run("-d", "--name", name, "-m", "32m", BASE, "sh", "-c", "tail /dev/zero")
    assert engine.docker("wait", name).line == "137"
    assert engine.state(name)["OOMKilled"] is True
