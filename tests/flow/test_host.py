# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hosts on which something is missing, the engine's options, and silo doctor."""
import json
import os
import re
import subprocess

import pytest
from conftest import BASE, MODES
from engine import DOCKER, program


NO_QEMU = {"SILO_QEMU": "/nonexistent/qemu-system-x86_64"}


def test_case_29_no_vm_is_an_error(own_engine, tmp_path):
    """No QEMU: a hard error that says what is missing, never process isolation instead."""
    engine = own_engine(environment=NO_QEMU, vm_dir=tmp_path / "vm")
    result = engine.docker("run", "--name", "novm", "--isolation=hyperv", BASE, "uname", "-r", code=125)
    assert "hyperv isolation" in result.err and "qemu-system-x86_64" in result.err, result
    assert os.uname().release not in result.out
    assert engine.docker("run", "--rm", "--isolation=process", BASE, "echo", "ok").out == "ok\n"
    if engine.containers():
        assert engine.state("novm")["Status"] == "created"


@pytest.mark.parametrize("mode_option", MODES)
def test_daemon_default(own_engine, mode_option):
    engine = own_engine("--isolation", mode_option)
    engine.docker("create", "--name", "xx", BASE, "true")
    assert engine.template("xx", "{{.HostConfig.Isolation}}") == mode_option
    engine.docker("create", "--name", "yy", "--isolation=process", BASE, "true")
    assert engine.template("yy", "{{.HostConfig.Isolation}}") == "process"


@pytest.mark.parametrize("arguments,text", [
    (["--nonsense"], "nonsense"), (["--isolation", "vm"], "isolation"), (["--host", "tcp://0.0.0.0:2375"], "tcp")])
def test_bad_options(tmp_path, arguments, text):
    done = subprocess.run([program("silod"), "--root", tmp_path / "r", "--exec-root", tmp_path / "e", *arguments],
                          capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and text in done.stderr, done


def test_config_file(own_engine, tmp_path):
    (tmp_path / "daemon.json").write_text(json.dumps({"isolation": "hyperv"}))
    engine = own_engine("--config-file", tmp_path / "daemon.json")
    engine.docker("create", "--name", "xx", BASE, "true")
    assert engine.template("xx", "{{.HostConfig.Isolation}}") == "hyperv"


def test_bad_config_file(tmp_path):
    for text, word in (("{", "daemon.json"), ('{"nonsense": 1}', "nonsense"), ('{"isolation": 5}', "isolation"),
                       ('{"log-driver": "syslog"}', "log-driver, log-opts: logger: no log driver named 'syslog'")):
        (tmp_path / "daemon.json").write_text(text)
        done = subprocess.run([program("silod"), "--root", tmp_path / "r", "--exec-root", tmp_path / "e", "--config-file",
                               tmp_path / "daemon.json"], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0 and word in done.stderr, done


def test_docker_context(engine, tmp_path):
    """How the README points the CLI at Silo."""
    environment = dict(os.environ, DOCKER_CONFIG=str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        environment.pop(name, None)
    subprocess.run([DOCKER, "context", "create", "silo", "--docker", f"host=unix://{engine.socket}"], env=environment,
                   check=True, capture_output=True, timeout=30)
    done = subprocess.run([DOCKER, "--context", "silo", "version", "--format", "{{.Server.Version}}"], env=environment,
                          check=True, capture_output=True, text=True, timeout=30)
    assert re.match(r"\d", done.stdout)


def test_doctor(vm_dir):
    done = subprocess.run([program("silo"), "doctor", "--format", "json"], capture_output=True, text=True, timeout=120, check=False)
    report = json.loads(done.stdout)
    assert done.returncode in (0, 1) and "process" in done.stdout and "hyperv" in done.stdout and report
    text = subprocess.run([program("silo"), "doctor"], capture_output=True, text=True, timeout=120, check=False)
    assert re.search(r"process", text.stdout) and re.search(r"hyperv", text.stdout)


def test_doctor_says_what_is_missing():
    environment = dict(os.environ, **NO_QEMU)
    done = subprocess.run([program("silo"), "doctor"], capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 1 and "qemu-system-x86" in done.stdout + done.stderr, done
