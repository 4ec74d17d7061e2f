# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Engine API by raw HTTP: versions, errors, shapes that clients rely on."""
import json
import os
import stat
import subprocess

import pytest
from conftest import BASE
from engine import DOCKER


def test_ping(engine):
    for method in ("GET", "HEAD"):
        status, headers, body = engine.http(method, "/_ping")
        assert status == 200 and body == (b"OK" if method == "GET" else b"")
        assert headers["Ostype"] == "linux" and headers["Docker-Experimental"] == "false"
        assert tuple(map(int, headers["Api-Version"].split("."))) >= (1, 41)
        assert "no-cache" in headers["Cache-Control"]


def test_version(engine):
    body = engine.http("GET", "/version")[2]
    assert body["MinAPIVersion"] == "1.24" and body["Os"] == "linux" and body["Arch"] == "amd64"
    assert body["KernelVersion"] == os.uname().release and body["Components"][0]["Name"]
    assert engine.docker("version", "--format", "{{.Server.APIVersion}}").line == body["ApiVersion"]


def test_info(engine, mode, sleeper):
    body = engine.http("GET", "/info")[2]
    for key in ("ID", "Driver", "ServerVersion", "SecurityOptions", "Runtimes", "CgroupVersion", "Isolation", "NCPU",
                "MemTotal", "OperatingSystem", "KernelVersion", "DockerRootDir", "LoggingDriver", "Swarm", "Plugins"):
        assert key in body, key
    assert body["ContainersRunning"] == 1 and body["Containers"] == 1 and body["Images"] >= 1
    assert body["DockerRootDir"] == str(engine.root)
    assert any("name=seccomp" in o for o in body["SecurityOptions"])
    assert "Server Version" in engine.docker("info").out


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41", "1.43", "1.44"])
def test_old_versions(engine, mode, version):
    """A whole life through the paths of an old client."""
    base = f"/v{version}"
    status, _, body = engine.http("POST", f"{base}/containers/create", {
        "Image": BASE, "Cmd": ["sh", "-c", "echo hello; exit 3"], "HostConfig": {"Isolation": mode}})
    assert status == 201 and body["Warnings"] is None or isinstance(body["Warnings"], list)
    identity = body["Id"]
    assert engine.http("POST", f"{base}/containers/{identity}/start")[0] == 204
    assert engine.http("POST", f"{base}/containers/{identity}/wait")[2]["StatusCode"] == 3
    status, _, logs = engine.http("GET", f"{base}/containers/{identity}/logs?stdout=1")
    assert status == 200 and logs == b"\1\0\0\0\0\0\0\6hello\n"
    info = engine.http("GET", f"{base}/containers/{identity}/json")[2]
    assert info["State"]["ExitCode"] == 3 and info["HostConfig"]["Isolation"] == mode
    assert [c["Id"] for c in engine.http("GET", f"{base}/containers/json?all=1")[2]] == [identity]
    assert engine.http("DELETE", f"{base}/containers/{identity}")[0] == 204


@pytest.mark.parametrize("path,text", [
    ("/v1.99/info", "client version 1.99 is too new. Maximum supported API version is"),
    ("/v1.10/info", "client version 1.10 is too old. Minimum supported API version is 1.24"),
])
def test_versions_out_of_range(engine, path, text):
    status, headers, body = engine.http("GET", path)
    assert status == 400 and text in body["message"] and headers["Content-Type"] == "application/json"


# method, path, body, status, part of the message
ERRORS = [
    ("GET", "/nosuch", None, 404, "page not found"),
    ("GET", "/containers/nosuch/json", None, 404, "No such container: nosuch"),
    ("POST", "/containers/nosuch/start", None, 404, "No such container: nosuch"),
    ("DELETE", "/containers/nosuch", None, 404, "No such container: nosuch"),
    ("POST", "/containers/create", {"Image": "flow/none"}, 404, "No such image: flow/none:latest"),
    ("POST", "/containers/create", {"Image": BASE, "HostConfig": {"Isolation": "windows"}}, 400, "nvalid isolation"),
    ("POST", "/containers/create", {"Image": BASE, "HostConfig": {"Isolation": 5}}, 400, ""),
    ("POST", "/containers/create?name=.bad", {"Image": BASE}, 400, "Invalid container name (.bad)"),
    ("POST", "/containers/create", None, 400, ""),
    ("GET", "/containers/json?filters=%7B%22x%22%3A%5B%22y%22%5D%7D", None, 400, "invalid filter 'x'"),
    ("GET", "/containers/json?filters=nonsense", None, 400, ""),
    ("GET", "/containers/json?limit=nonsense", None, 400, ""),
    ("GET", "/images/nosuch/json", None, 404, "No such image: nosuch"),
    ("DELETE", "/images/nosuch", None, 404, "No such image: nosuch"),
    ("GET", "/exec/nosuch/json", None, 404, "nosuch"),
    ("GET", "/swarm", None, 503, "This node is not a swarm manager"),
    ("POST", "/images/create?fromImage=127.0.0.1:1/x&tag=latest", None, 500, "connection refused"),
]


@pytest.mark.parametrize("method,path,body,code,text", ERRORS, ids=[f"{e[0]}-{e[1]}-{i}" for i, e in enumerate(ERRORS)])
def test_error(engine, method, path, body, code, text):
    status, headers, answer = engine.http(method, path, body)
    assert (status, headers.get("Content-Type")) == (code, "application/json"), answer
    assert list(answer) == ["message"] and text in answer["message"]
    assert engine.containers() == []


def test_raw_path_is_matched(engine):
    for path in ("/_ping%00x", "/_pin%67x", "/v1.41//_ping", "/../_ping"):
        assert engine.http("GET", path)[0] in (400, 404), path


def test_keys_without_case_and_null(engine, mode):
    status, _, body = engine.http("POST", "/containers/create", {
        "iMAGE": BASE, "cmd": ["true"], "env": None, "unknown": {"x": 1}, "hostconfig": {"isolation": mode, "Binds": None}})
    assert status == 201
    info = engine.http("GET", f"/containers/{body['Id']}/json")[2]
    assert info["Config"]["Cmd"] == ["true"] and info["HostConfig"]["Isolation"] == mode


def test_lists_are_never_null(engine):
    for path in ("/containers/json", "/networks", "/images/json?filters=%7B%22reference%22%3A%5B%22none%22%5D%7D"):
        assert isinstance(engine.http("GET", path)[2], list), path


def test_filters_as_maps(engine, sleeper):
    filters = json.dumps({"name": {sleeper: True}}).replace('"', "%22").replace("{", "%7B").replace("}", "%7D").replace(" ", "")
    assert len(engine.http("GET", f"/containers/json?filters={filters}")[2]) == 1


def test_socket_mode(engine):
    assert stat.S_IMODE(os.stat(engine.socket).st_mode) == 0o660


def test_negotiation_of_a_pinned_client(engine):
    for version in ("1.24", "1.41"):
        environment = dict(engine.cli_environment, DOCKER_API_VERSION=version)
        done = subprocess.run([DOCKER, "run", "--rm", "--isolation=process", BASE, "echo", "old"], env=environment,
                              capture_output=True, timeout=60, check=False)
        assert done.stdout == b"old\n", done


def test_old_cli(engine, mode):
    """The CLI of five years ago, where the machine has it beside the new one (SILO_OLD_DOCKER)."""
    old = os.environ.get("SILO_OLD_DOCKER", "/usr/bin/docker")
    if not os.path.exists(old) or os.path.realpath(old) == os.path.realpath(DOCKER):
        pytest.skip("no second docker CLI here")
    assert engine.docker("run", "--rm", "-i", f"--isolation={mode}", BASE, "cat", stdin="x", binary=old).out == "x"
    assert "CONTAINER ID" in engine.docker("ps", binary=old).out
