# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker-compose with a project of three services, one of them in a VM."""
import shutil
import subprocess

import pytest

from conftest import BASE
from engine import until

COMPOSE = shutil.which("docker-compose")

PROJECT = f"""
version: "2.4"
services:
  store:
    image: {BASE}
    network_mode: none
    isolation: process
    command: ["sh", "-c", "echo store is up; touch /data/ready; sleep 1000"]
    volumes: ["data:/data"]
    healthcheck:
      test: ["CMD", "test", "-e", "/data/ready"]
      interval: 300ms
      timeout: 20s
      retries: 20
  work:
    image: {BASE}
    network_mode: none
    isolation: hyperv
    command: ["sh", "-c", "echo work in a VM; sleep 1000"]
    mem_limit: 128m
    depends_on: {{store: {{condition: service_healthy}}}}
  front:
    image: {BASE}
    network_mode: none
    isolation: process
    restart: on-failure
    command: ["sh", "-c", "echo front; sleep 1000"]
    labels: {{role: front}}
    depends_on: [store]
volumes:
  data:
"""


@pytest.fixture
def compose(engine, tmp_path):
    (tmp_path / "docker-compose.yml").write_text(PROJECT)

    def call(*args):
        done = subprocess.run([COMPOSE, "--no-ansi", "-p", "flowproject", *args], cwd=tmp_path, capture_output=True, text=True,
                              timeout=240, env=engine.cli_environment, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{args}:\n{done.stdout}\n{done.stderr}"
        return done.stdout
    yield call
    call("down", "-v", "-t", "0")


@pytest.mark.skipif(not COMPOSE, reason="docker-compose is not installed (script/bootstrap)")
def test_three_services(engine, compose):
    compose("up", "-d")
    rows = engine.docker("ps", "--format", "{{.Names}} {{.Status}}").out
    assert rows.count("flowproject") == 3 and "(healthy)" in rows, rows
    assert "front" in compose("ps") and compose("ps").count("Up") == 3
    until("logs of all", lambda: all(word in compose("logs") for word in ("store is up", "work in a VM", "front")))
    assert compose("exec", "-T", "work", "echo", "inside").strip() == "inside"
    work = engine.docker("ps", "-q", "--filter", "label=com.docker.compose.service=work").line
    assert engine.inspect(work)["HostConfig"]["Isolation"] == "hyperv"
    compose("up", "-d", "--no-recreate", "--scale", "front=3")
    assert len(engine.docker("ps", "-q", "--filter", "label=role=front").out.split()) == 3
    compose("stop", "-t", "0", "front")
    compose("down", "-t", "0")
    assert engine.docker("ps", "-aq").line == ""
