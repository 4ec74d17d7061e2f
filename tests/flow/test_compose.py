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
    isolation: process
    networks: {{back: {{aliases: [database]}}}}
    command: ["sh", "-c", "echo store is up; mkdir /w; echo rows >/w/index.html; touch /data/ready; exec httpd -f -p 80 -h /w"]
    volumes: ["data:/data"]
    healthcheck:
      test: ["CMD", "test", "-e", "/data/ready"]
      interval: 300ms
      timeout: 20s
      retries: 100
  work:
    image: {BASE}
    isolation: hyperv
    networks: {{back: {{}}, front: {{aliases: [application]}}}}
    command: ["sh", "-c", "echo work in a VM; mkdir /w; echo page >/w/index.html; exec httpd -f -p 80 -h /w"]
    mem_limit: 128m
    depends_on: {{store: {{condition: service_healthy}}}}
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "-", "http://database/"]
      interval: 500ms
      timeout: 60s
      retries: 100
  front:
    image: {BASE}
    isolation: process
    networks: [front]
    restart: on-failure
    command: ["sh", "-c", "echo front; wget -q -O - http://application/; sleep 1000"]
    labels: {{role: front}}
    depends_on: {{work: {{condition: service_healthy}}}}
volumes:
  data:
networks:
  back: {{internal: true}}
  front:
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
    """front asks work, which is in a VM and in two networks, and work asks store: by the names of services and aliases."""
    def ask(service, host):
        return compose("exec", "-T", service, "wget", "-q", "-O", "-", f"http://{host}/").strip()

    compose("up", "-d")
    rows = engine.docker("ps", "--format", "{{.Names}} {{.Status}}").out
    assert rows.count("flowproject") == 3 and rows.count("(healthy)") == 2, rows
    assert "front" in compose("ps") and compose("ps").count("Up") == 3
    until("logs of all", lambda: all(word in compose("logs") for word in ("store is up", "work in a VM", "front", "page")))
    work = engine.docker("ps", "-q", "--filter", "label=com.docker.compose.service=work").line
    assert engine.inspect(work)["HostConfig"]["Isolation"] == "hyperv"
    assert sorted(engine.inspect(work)["NetworkSettings"]["Networks"]) == ["flowproject_back", "flowproject_front"]
    assert (ask("work", "store"), ask("front", "work"), ask("front", "application")) == ("rows", "page", "page")
    # Who isn't in a network doesn't know its names.
    front = engine.docker("ps", "-q", "--filter", "label=role=front").line
    engine.docker("exec", front, "nslookup", "store", code=1)
    compose("up", "-d", "--no-recreate", "--scale", "front=3")
    fronts = engine.docker("ps", "-q", "--filter", "label=role=front").out.split()
    found = engine.docker("exec", work, "nslookup", "front").out
    assert len(fronts) == 3
    for each in fronts:
        assert engine.inspect(each)["NetworkSettings"]["Networks"]["flowproject_front"]["IPAddress"] in found
    compose("stop", "-t", "0", "front")
    compose("down", "-t", "0")
    assert engine.docker("ps", "-aq").line == ""
    assert "flowproject" not in engine.docker("network", "ls").out
