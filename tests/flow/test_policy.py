# SPDX-License-Identifier: LGPL-2.1-or-later
"""Restart policies and health checks, in both isolation modes."""
import json

import pytest

from conftest import BASE
from engine import until


def state_is(engine, name, key, value, seconds=60):
    until(f"{name}: {key} = {value}", lambda: engine.template(name, "{{.%s}}" % key) == str(value), seconds)


def test_on_failure_ends_after_its_retries(engine, run, name):
    run("-d", "--name", name, "--restart=on-failure:2", BASE, "sh", "-c", "exit 3")
    state_is(engine, name, "RestartCount", 2)
    state_is(engine, name, "State.Status", "exited")
    assert engine.state(name)["ExitCode"] == 3
    assert not engine.state(name)["Restarting"]


def test_on_failure_leaves_success_alone(engine, run, name):
    run("--name", name, "--restart=on-failure", BASE, "true")
    state_is(engine, name, "State.Status", "exited")
    assert engine.template(name, "{{.RestartCount}}") == "0"


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_policy_restarts_until_stopped(engine, run, name, policy):
    run("-d", "--name", name, f"--restart={policy}", BASE, "sh", "-c", "exit 0")
    until("two restarts", lambda: int(engine.template(name, "{{.RestartCount}}")) >= 2, 60)
    engine.docker("stop", "-t", "0", name)
    state_is(engine, name, "State.Status", "exited")
    count = engine.template(name, "{{.RestartCount}}")
    engine.docker("start", name)
    engine.docker("rm", "-f", name)
    assert int(count) >= 2


def test_kill_is_no_reason_to_restart(engine, run, name):
    run("-d", "--name", name, "--restart=always", BASE, "sleep", "1000")
    engine.docker("kill", name)
    state_is(engine, name, "State.Status", "exited")
    assert engine.template(name, "{{.RestartCount}}") == "0"


def test_waiting_container_is_shown_and_removed(engine, run, name):
    run("-d", "--name", name, "--restart=always", BASE, "false")
    until("restarting", lambda: engine.docker("ps", "-q", "--filter", "status=restarting").line, 60)
    until("a long back-off", lambda: int(engine.template(name, "{{.RestartCount}}")) >= 4, 90)
    until("restarting", lambda: engine.state(name)["Restarting"])
    shown = engine.docker("exec", name, "true", code=None)
    assert shown.code == 0 or "restarting" in shown.err or "not running" in shown.err, shown
    engine.docker("rm", "-f", name)


def test_policies_across_engine_restarts(own_engine, mode):
    engine = own_engine()
    for name, policy in (("aa", "always"), ("uu", "unless-stopped"), ("ss", "unless-stopped"), ("nn", "no")):
        engine.docker("run", "-d", f"--isolation={mode}", "--name", name, f"--restart={policy}", BASE, "sleep", "1000")
    engine.docker("stop", "-t", "0", "ss", "aa", timeout=240)
    engine.stop()
    engine.start()
    state_is(engine, "aa", "State.Status", "running")
    assert engine.template("uu", "{{.State.Status}}") == "running"
    assert engine.template("ss", "{{.State.Status}}") == "exited"
    assert engine.template("nn", "{{.State.Status}}") == "running"


@pytest.mark.parametrize("host, text", [
    ({"RestartPolicy": {"Name": "sometimes"}}, "invalid restart policy: unknown policy 'sometimes'"),
    ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}, "maximum retry count"),
    ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}, "cannot be negative"),
    ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
     "can't create 'AutoRemove' container with restart policy"),
])
def test_policies_that_make_no_sense(engine, host, text):
    status, _, body = engine.http("POST", "/containers/create", {"Image": BASE, "Cmd": ["true"], "HostConfig": host})
    assert status == 400 and text in body["message"], body


def health(engine, name):
    return engine.state(name).get("Health")


def test_health_turns(engine, run, name):
    run("-d", "--name", name, "--health-cmd", "echo probed; test -e /ok", "--health-interval=300ms",
        "--health-retries=2", "--health-timeout=20s", BASE, "sh", "-c", "touch /ok; sleep 1000")
    assert health(engine, name)["Status"] in ("starting", "healthy")
    until("healthy", lambda: health(engine, name)["Status"] == "healthy", 60)
    assert "(healthy)" in engine.docker("ps", "--filter", f"name={name}").out
    assert engine.docker("ps", "-q", "--filter", "health=healthy").line
    last = health(engine, name)["Log"][-1]
    assert last["ExitCode"] == 0 and last["Output"] == "probed\n"
    engine.docker("exec", name, "rm", "/ok")
    until("unhealthy", lambda: health(engine, name)["Status"] == "unhealthy", 60)
    until("log of five", lambda: len(health(engine, name)["Log"]) == 5, 60)
    assert health(engine, name)["FailingStreak"] >= 2
    until("events", lambda: [e["Action"] for e in engine.watch.events if e["Action"].startswith("health_status")
                             and e["Actor"]["Attributes"]["name"] == name][-2:]
          == ["health_status: healthy", "health_status: unhealthy"])


def test_health_start_period(engine, run, name):
    run("-d", "--name", name, "--health-cmd", "exit 1", "--health-interval=200ms", "--health-start-interval=200ms",
        "--health-start-period=1000s", "--health-retries=1", BASE, "sleep", "1000")
    until("two probes", lambda: len(health(engine, name)["Log"]) >= 2, 60)
    assert health(engine, name)["Status"] == "starting" and health(engine, name)["FailingStreak"] == 0
    assert "(health: starting)" in engine.docker("ps", "--filter", f"name={name}").out


def test_health_timeout(engine, run, name):
    run("-d", "--name", name, "--health-cmd", "sleep 1000", "--health-interval=200ms", "--health-timeout=500ms",
        "--health-retries=1", BASE, "sleep", "1000")
    until("unhealthy", lambda: health(engine, name)["Status"] == "unhealthy", 60)
    last = health(engine, name)["Log"][-1]
    assert last["ExitCode"] == -1 and last["Output"] == "Health check exceeded timeout (0.5s)"


def test_health_output_is_bounded(engine, run, name):
    run("-d", "--name", name, "--health-cmd", "yes | head -c 100000", "--health-interval=300ms", BASE, "sleep", "1000")
    until("a result", lambda: health(engine, name)["Log"], 60)
    assert len(health(engine, name)["Log"][0]["Output"]) == 4096


def test_no_healthcheck(engine, run, name):
    run("-d", "--name", name, "--no-healthcheck", BASE, "sleep", "1000")
    assert health(engine, name) is None


def test_health_goes_on_after_an_engine_restart(own_engine, mode):
    engine = own_engine()
    engine.docker("run", "-d", f"--isolation={mode}", "--name", "hh", "--health-cmd", "test -e /ok",
                  "--health-interval=300ms", "--health-retries=1", BASE, "sleep", "1000")
    until("unhealthy", lambda: health(engine, "hh")["Status"] == "unhealthy", 60)
    engine.kill9()
    engine.start()
    assert health(engine, "hh")["Status"] == "unhealthy"
    engine.docker("exec", "hh", "touch", "/ok")
    until("healthy", lambda: health(engine, "hh")["Status"] == "healthy", 60)


def test_health_options_that_make_no_sense(engine):
    for check, text in (({"Test": ["CMD", "x"], "Interval": 5}, "Interval in Healthcheck cannot be less than 1ms"),
                        ({"Test": ["CMD", "x"], "Retries": -1}, "Retries in Healthcheck cannot be negative"),
                        ({"Test": ["TCP", "80"]}, "Unknown healthcheck type")):
        status, _, body = engine.http("POST", "/containers/create",
                                      {"Image": BASE, "Cmd": ["true"], "Healthcheck": check})
        assert status == 400 and text in json.dumps(body), body
