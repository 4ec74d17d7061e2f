# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker pull, push, login: with Debian's docker-registry, with skopeo as second implementation, and with registries
that misbehave."""
import base64
import gzip
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import images
from engine import UnixHTTP, until
from registries import DOCKER, OCI, FakeRegistry, RealRegistry

EMPTY = images.layer([])


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


def small_layers(word=b"hi\n"):
    return [images.layer(images.busybox_entries()), images.layer([images.entry("hello", data=word)])]


@pytest.fixture
def real(session_engine, tmp_path):
    opened = []

    def start(**kwargs):
        opened.append(RealRegistry(session_engine, tmp_path / f"registry{len(opened)}", **kwargs))
        return opened[-1]
    yield start
    for registry in opened:
        registry.close()


@pytest.fixture
def fake(session_engine):
    opened = []

    def start(engine=session_engine, **kwargs):
        opened.append(FakeRegistry(engine, **kwargs))
        return opened[-1]
    yield start
    for registry in opened:
        registry.close()


@pytest.fixture(autouse=True)
def remove_images(engine):
    """Every test begins without the layers of the one before, and leaves nothing half-done."""
    before = image_ids(engine)
    yield
    engine.remove_containers()
    forget(engine, before)
    until("no download and no helper is left", lambda: not work(engine) and not helpers(engine))


def image_ids(engine):
    return {image["Id"] for image in engine.http("GET", "/images/json?all=1")[2]}


def forget(engine, keep):
    """Remove the images that a test brought, and the names it gave to others."""
    for image in image_ids(engine) - keep:
        engine.http("DELETE", f"/images/{image}?force=1")
    for image in engine.http("GET", "/images/json?all=1")[2]:
        for name in [*image["RepoTags"], *image["RepoDigests"]]:
            if name.startswith(("127.", "192.0.2.")):
                engine.http("DELETE", f"/images/{name}")


def work(engine):
    return os.listdir(engine.root / "tmp/images")


def helpers(engine):
    done = subprocess.run(["pgrep", "-x", "silo-registry", "-P", str(engine.process.pid)], capture_output=True, text=True,
                          check=False)
    return done.stdout.split()


def skopeo(engine, *args, code=0):
    return engine.command("skopeo", "--insecure-policy", *args, code=code)


def raw_manifest(engine, name):
    """The manifest's bytes as the registry has them, asked for by skopeo."""
    done = subprocess.run([*engine.enter(), "skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{name}"],
                          pass_fds=[engine.namespace], capture_output=True, check=True)
    return done.stdout


def seed(engine, tmp_path, name, layers, compress=None):
    """Bring an image into a registry with skopeo."""
    archive = tmp_path / "seed.tar"
    archive.write_bytes(images.oci_layout("seed:latest", layers))
    how = ["--dest-compress-format", compress] if compress else []
    skopeo(engine, "copy", "--dest-tls-verify=false", *how, f"oci-archive:{archive}", f"docker://{name}")


def config_file(tmp_path, **keys):
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(keys))
    return path


# --- pull ------------------------------------------------------------------------------------------------------------
def test_pull_and_run(engine, docker, run, fake, mode):
    """docker run of an image that isn't there pulls it."""
    registry = fake()
    registry.add_image("lib/hello", "latest", small_layers(), gzip.compress)
    result = run("--rm", f"{registry.host}/lib/hello", "cat", "/hello")
    assert result.out == "hi\n" and "Unable to find image" in result.err and "Pull complete" in result.err, result


def test_pull_texts(engine, docker, fake):
    registry = fake()
    layers = small_layers()
    top = registry.add_image("lib/hello", "v1", layers, gzip.compress)
    registry.add_image("lib/hello", "v2", layers + [images.layer([images.entry("more", data=b"x")])], gzip.compress)
    name = f"{registry.host}/lib/hello"
    first = docker("pull", f"{name}:v1").out
    assert "v1: Pulling from lib/hello\n" in first and first.count(": Pull complete\n") == 2, first
    assert first.count(": Pulling fs layer\n") == first.count(": Download complete\n") == 2, first
    assert f"Digest: {top['digest']}\nStatus: Downloaded newer image for {name}:v1\n{name}:v1\n" in first, first
    assert f"Status: Image is up to date for {name}:v1" in docker("pull", f"{name}:v1").out
    second = docker("pull", f"{name}:v2").out
    assert second.count(": Already exists\n") == 2 and second.count(": Pull complete\n") == 1, second
    assert docker("pull", "-q", f"{name}:v1").out == f"{name}:v1\n"
    inspect = engine.inspect(f"{name}:v1")
    assert inspect["RepoDigests"] == [f"{name}@{top['digest']}"] and inspect["RepoTags"] == [f"{name}:v1"]
    assert top["digest"] in docker("images", "--digests").out
    actions = [(e["Action"], e["Actor"]["ID"]) for e in engine.watch.events if e["Type"] == "image"]
    assert ("pull", f"{name}:v1") in actions


def test_pull_errors(engine, docker, fake):
    registry = fake()
    name = f"{registry.host}/lib/none"
    texts = [
        ("MANIFEST_UNKNOWN", 404, f"manifest for {name}:latest not found: manifest unknown: said", 404),
        ("NAME_UNKNOWN", 404, f"repository {name} not found: name unknown: said", 404),
        ("DENIED", 403, f"pull access denied for {name}, repository does not exist or may require 'docker login': "
         "denied: said", 404),
        ("TOOMANYREQUESTS", 429, "toomanyrequests: said", 500),
        ("UNAUTHORIZED", 401, "unauthorized: said", 403),
    ]
    for code, status, text, answer in texts:
        def refuse(handler, code=code, status=status):
            headers = {"Retry_After": "3600"} if status == 429 else {}
            handler.send_error_code(status, code, "said", **headers)
            return True
        registry.fault = refuse
        assert docker("pull", name, code=1).err.strip() == f"Error response from daemon: {text}"
        assert engine.http("POST", f"/images/create?fromImage={name}&tag=latest")[0] == answer
    port = registry.host.split(":")[1]
    registry.close()
    assert f"dial tcp 127.0.0.1:{port}: connect: connection refused" in docker("pull", name, code=1).err
    assert "no such host" in docker("pull", "registry.invalid/x", code=1).err
    assert "invalid reference format" in docker("pull", "A:b:c", code=1).err


@pytest.mark.parametrize("pack", [None, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_pull_compression(engine, docker, fake, pack):
    registry = fake()
    registry.add_image("lib/c", "1", small_layers(), pack)
    docker("pull", f"{registry.host}/lib/c:1")
    assert docker("run", "--rm", "--isolation=process", f"{registry.host}/lib/c:1", "cat", "/hello").out == "hi\n"


def test_pull_platforms(engine, docker, fake):
    registry = fake()
    entries = []
    for system, machine, variant in (("linux", "arm64", "v8"), ("linux", "amd64", None), ("windows", "amd64", None)):
        layer = images.layer([images.entry("who", data=f"{system}/{machine}".encode())])
        own = {"os.features": ["silo.wine"]} if system == "windows" else {}  # no layers of Microsoft's form
        one = registry.add_image("lib/m", None, [layer], gzip.compress, architecture=machine, os=system, **own)
        entries.append({**one, "platform": {"os": system, "architecture": machine, **({"variant": variant} if variant else {})}})
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}
    top = registry.add_manifest("lib/m", "latest", index, OCI + "index.v1+json")
    listing = {"schemaVersion": 2, "mediaType": DOCKER + "list.v2+json", "manifests": entries}
    registry.add_manifest("lib/m", "list", listing, DOCKER + "list.v2+json")
    name = f"{registry.host}/lib/m"
    for arguments, system, machine in (([], "linux", "amd64"), (["--platform", "linux/arm64"], "linux", "arm64"),
                                       (["--platform", "windows/amd64"], "windows", "amd64")):
        docker("pull", *arguments, name)
        got = engine.inspect(name)
        assert (got["Os"], got["Architecture"]) == (system, machine) and got["RepoDigests"] == [f"{name}@{top['digest']}"]
    docker("pull", f"{name}:list")
    wrong = docker("pull", "--platform", "linux/s390x", name, code=1)
    assert "no matching manifest for linux/s390x in the manifest list entries" in wrong.err
    assert "unknown operating system" in engine.http("POST", f"/images/create?fromImage={name}&tag=latest&platform=a/b/c/d")[2]["message"]
    description = engine.http("GET", f"/distribution/{name}:latest/json")[2]
    assert description["Descriptor"] == {"mediaType": OCI + "index.v1+json", "digest": top["digest"], "size": top["size"]}
    assert {"os": "linux", "architecture": "amd64"} in description["Platforms"] and len(description["Platforms"]) == 3


def test_pull_by_digest_and_all_tags(engine, docker, fake):
    registry = fake()
    tops = [registry.add_image("lib/t", f"v{i}", small_layers(b"%d" % i), gzip.compress) for i in range(3)]
    name = f"{registry.host}/lib/t"
    docker("pull", f"{name}@{tops[1]['digest']}")
    assert engine.inspect(f"{name}@{tops[1]['digest']}")["RepoTags"] == []
    docker("pull", "--all-tags", name)
    tags = {t for i in engine.http("GET", "/images/json")[2] for t in i["RepoTags"]}
    assert {f"{name}:v{i}" for i in range(3)} <= tags
    registry.manifests["lib/t", tops[0]["digest"]] = registry.manifests["lib/t", tops[2]["digest"]]
    wrong = docker("pull", f"{name}@{tops[0]['digest']}", code=1)
    assert "manifest verification failed" in wrong.err


def test_pull_foreign_layers(engine, docker, fake):
    """Layers that only are at another address: checked like all others, and asked for without credentials."""
    registry, elsewhere = fake(), fake()
    layers = small_layers()
    for layer in layers:
        elsewhere.add_blob(layer)

    def move(manifest):
        for layer in manifest["layers"]:
            layer["mediaType"] = OCI + "layer.nondistributable.v1.tar"
            layer["urls"] = ["ftp://no.such", f"http://{elsewhere.host}/v2/any/blobs/{layer['digest']}"]
            del registry.blobs[layer["digest"]]
    registry.add_image("lib/f", "latest", layers, change=move)
    registry.require_token("u", "p")
    docker("login", "-u", "u", "--password-stdin", registry.host, stdin="p")
    docker("pull", f"{registry.host}/lib/f")
    docker("logout", registry.host)
    assert not any("Authorization" in headers for _, _, headers in elsewhere.requests)
    # A push skips them.
    target = fake()
    sent = []

    def accept(handler):
        length = int(handler.headers.get("Content-Length") or 0)
        sent.append((handler.command, handler.rfile.read(length)))
        if handler.command == "HEAD":
            return False
        handler.send(202 if handler.command == "POST" else 201, Location=f"{handler.path}id")
        return True
    target.fault = accept
    docker("tag", f"{registry.host}/lib/f", f"{target.host}/lib/f")
    out = docker("push", f"{target.host}/lib/f").out
    assert out.count(": Skipped foreign layer\n") == 2 and not any(data in layers for _, data in sent), out


def test_search(engine, docker, fake):
    registry = fake()
    found = [{"name": "lib/x", "description": "an x", "star_count": 3, "is_official": False, "is_automated": False}]

    def answer(handler):
        if not handler.path.startswith("/v1/search"):
            return False
        handler.send(200, json.dumps({"num_results": 1, "results": found}).encode())
        return True
    registry.fault = answer
    assert "an x" in docker("search", f"{registry.host}/x y").out
    assert registry.requests[-1][1] == "/v1/search?q=x%20y&n=25"
    registry.fault = None
    assert docker("search", f"{registry.host}/x", code=1)


# --- registries that misbehave -----------------------------------------------------------------------------------------
def truncated(data, at, times):
    """Answer blob requests with the first `at` bytes of what was asked for, then close; so many times."""
    state = {"left": times}

    def fault(handler):
        if "/blobs/" not in handler.path or images.digest(data) not in handler.path or not state["left"]:
            return False
        state["left"] -= 1
        wanted = handler.headers.get("Range")
        start = int(wanted[6:-1]) if wanted and handler.server.ranges else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[start : start + at])
        handler.close_connection = True
        return True
    return fault


@pytest.mark.parametrize("ranges", [True, False], ids=["range", "no-range"])
def test_pull_resumes(engine, docker, fake, ranges):
    registry = fake()
    registry.ranges = ranges
    layer = images.layer([images.entry("noise", data=os.urandom(2 << 20))])
    registry.add_image("lib/r", "latest", [layer])
    registry.fault = truncated(layer, 600000, 2)
    docker("pull", f"{registry.host}/lib/r")
    asked = [h.get("Range") for m, path, h in registry.requests if images.digest(layer) in path]
    # What comes again from the beginning isn't progress: the third attempt brings the rest.
    assert asked == [None, "bytes=600000-", "bytes=1200000-" if ranges else "bytes=600000-"], asked


def test_pull_retries(engine, docker, fake):
    """429 with Retry-After, then 503, then the image."""
    registry = fake()
    registry.add_image("lib/busy", "latest", [EMPTY], gzip.compress)
    answers = [(429, "TOOMANYREQUESTS"), (503, "UNAVAILABLE")]

    def fault(handler):
        if "/manifests/" not in handler.path or not answers:
            return False
        status, code = answers.pop(0)
        handler.send_error_code(status, code, "later", Retry_After="0")
        return True
    registry.fault = fault
    docker("pull", f"{registry.host}/lib/busy")
    assert registry.count("GET", "/manifests/") == 3


def deep(manifest):
    inner = []
    for _ in range(200):
        inner = [inner]
    manifest["annotations"] = inner


def hostile_blob(answer):
    def prepare(registry):
        layer = images.layer([images.entry("x", data=os.urandom(200000))])
        registry.add_image("lib/bad", "latest", [layer])
        registry.fault = lambda handler: images.digest(layer) in handler.path and answer(handler, layer)
    return prepare


def other_bytes(handler, data):
    handler.send(200, data[:-1] + bytes([data[-1] ^ 1]), "application/octet-stream")
    return True


def endless(handler, data):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def wrong_range(handler, data):
    if handler.headers.get("Range"):
        handler.send(206, data, "application/octet-stream", Content_Range=f"bytes 7-{len(data) + 6}/{len(data)}")
        return True
    return truncated(data, 100000, 1)(handler)


def loop(handler, data):
    handler.send(307, Location=handler.path)
    return True


def file_redirect(handler, data):
    handler.send(307, Location="file:///etc/passwd")
    return True


def many_headers(handler, data):
    handler.send(200, data, "application/octet-stream", **{f"X_{i}": "y" * 8000 for i in range(40)})
    return True


def with_manifest(change):
    return lambda registry: registry.add_image("lib/bad", "latest", [EMPTY], change=change)


def raw(data, kind=OCI + "manifest.v1+json"):
    return lambda registry: registry.add_manifest("lib/bad", "latest", data, kind)


HOSTILE = {
    "digest": (hostile_blob(other_bytes), "filesystem layer verification failed for digest"),
    "endless-blob": (hostile_blob(endless), "more than the expected"),
    "wrong-range": (hostile_blob(wrong_range), "another range"),
    "redirect-loop": (hostile_blob(loop), "stopped after 10 redirects"),
    "redirect-file": (hostile_blob(file_redirect), "file"),
    "headers": (hostile_blob(many_headers), "headers"),
    "no-json": (raw(b"<html>"), "manifest"),
    "not-object": (raw(b"[]"), "manifest"),
    "huge-manifest": (raw(b"{" + b" " * (5 << 20) + b"}"), "more than the expected"),
    "schema1": (raw(b'{"schemaVersion":1}', "application/vnd.docker.distribution.manifest.v1+json"), "schema 1"),
    "deep": (with_manifest(deep), "manifest"),
    "negative-size": (with_manifest(lambda m: m["layers"][0].update(size=-5)), "size"),
    "huge-size": (with_manifest(lambda m: m["config"].update(size=1 << 60)), "larger than"),
    "bad-digest": (with_manifest(lambda m: m["layers"][0].update(digest="sha256:../../etc/passwd")), "digest"),
    "more-layers": (with_manifest(lambda m: m["layers"].append(m["layers"][0])), "layers length mismatch"),
    "artifact": (with_manifest(lambda m: m["config"].update(mediaType="application/vnd.example")), "not an image"),
    "empty-index": (raw(b'{"schemaVersion":2,"manifests":[]}', OCI + "index.v1+json"), "no matching manifest"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_pull_hostile(engine, docker, fake, case):
    """A clear error, and a store that is as before."""
    prepare, text = HOSTILE[case]
    registry = fake()
    before = engine.http("GET", "/images/json?all=1")[2]
    prepare(registry)
    result = docker("pull", f"{registry.host}/lib/bad", code=1)
    assert text in result.err, result
    assert engine.http("GET", "/images/json?all=1")[2] == before


def test_redirect_keeps_credentials(engine, docker, fake):
    """Another host gets neither password nor token."""
    registry, other = fake(), fake()
    layers = small_layers()
    registry.require_token("u", "p")
    inner = registry.fault
    registry.add_image("lib/r", "latest", layers, gzip.compress)
    other.blobs = registry.blobs

    def fault(handler):
        if inner(handler):
            return True
        if "/blobs/" in handler.path:
            handler.send(307, Location=f"http://{other.host}{handler.path}")
            return True
        return False
    registry.fault = fault
    docker("login", "-u", "u", "--password-stdin", registry.host, stdin="p")
    docker("pull", f"{registry.host}/lib/r")
    assert other.requests and not any("Authorization" in headers for _, _, headers in other.requests)
    docker("logout", registry.host)


# --- together and cancelled ------------------------------------------------------------------------------------------
def held(registry, part):
    """Requests for blobs whose path has this part wait for the event."""
    seen, gate = threading.Event(), threading.Event()

    def fault(handler):
        if part in handler.path and handler.command == "GET":
            seen.set()
            gate.wait(120)
        return False
    registry.fault = fault
    return seen, gate


def test_two_pulls_download_once(engine, docker, fake):
    registry = fake()
    shared = images.layer([images.entry("shared", data=os.urandom(100000))])
    own = [images.layer([images.entry(f"own{i}", data=os.urandom(1000))]) for i in range(2)]
    for i in range(2):
        registry.add_image(f"lib/s{i}", "latest", [shared, own[i]])
    seen, gate = held(registry, images.digest(shared))
    clients = [engine.popen("pull", f"{registry.host}/lib/s{i}") for i in range(2)]
    try:
        assert seen.wait(60)
        # Both are at it when the second has brought its own layer.
        until("both pulls run", lambda: all(registry.count("GET", images.digest(one)) for one in own))
        gate.set()
        for client in clients:
            out, err = client.communicate(timeout=120)
            assert client.returncode == 0, (out, err)
    finally:
        gate.set()
        for client in clients:
            client.kill()
            client.wait()
    assert registry.count("GET", images.digest(shared)) == 1


def test_cancel_leaves_nothing(engine, docker, fake):
    registry = fake()
    layers = [images.layer([images.entry(f"f{i}", data=os.urandom(100000))]) for i in range(2)]
    registry.add_image("lib/c", "latest", layers)
    seen, gate = held(registry, images.digest(layers[1]))
    client = engine.popen("pull", f"{registry.host}/lib/c")
    try:
        assert seen.wait(60) and len(work(engine)) == 1
        client.send_signal(signal.SIGINT)
        client.wait(60)
        until("nothing of the pull is left", lambda: not work(engine) and not helpers(engine))
    finally:
        gate.set()
        client.kill()
        client.wait()
    registry.fault = None
    assert engine.http("GET", f"/images/{registry.host}/lib/c/json")[0] == 404
    docker("pull", f"{registry.host}/lib/c")


def test_kill9_in_a_pull(own_engine, fake):
    engine = own_engine()
    registry = fake(engine)
    layers = [images.layer([images.entry(f"f{i}", data=os.urandom(300000))]) for i in range(3)]
    registry.add_image("lib/k", "latest", layers)
    for layer in layers[1:]:
        seen, gate = held(registry, images.digest(layer))
        client = engine.popen("pull", f"{registry.host}/lib/k")
        assert seen.wait(60)
        engine.kill9()
        gate.set()
        client.wait(60)
        engine.start()
        assert not work(engine) and not os.listdir(engine.root / "blobs/sha256")[1:]
    registry.fault = None
    engine.docker("pull", f"{registry.host}/lib/k")


# --- settings and credentials ----------------------------------------------------------------------------------------
def test_mirror(own_engine, fake, tmp_path):
    """docker.io by way of a mirror; a mirror that fails is passed over."""
    engine = own_engine(start=False)
    broken, mirror = fake(engine), fake(engine)
    broken.fault = lambda handler: handler.send_error_code(404, "MANIFEST_UNKNOWN", "not here") or True
    engine.arguments = ["--config-file", config_file(
        tmp_path, **{"registry-mirrors": [f"http://{broken.host}", f"http://{mirror.host}/"]})]
    engine.start()
    top = mirror.add_image("library/hello", "latest", small_layers(), gzip.compress)
    out = engine.docker("pull", "hello").out
    assert "latest: Pulling from library/hello" in out and out.endswith("docker.io/library/hello:latest\n"), out
    assert engine.inspect("hello")["RepoDigests"] == [f"hello@{top['digest']}"]
    assert broken.count("GET", "/manifests/") == 1
    assert engine.http("GET", "/info")[2]["RegistryConfig"]["Mirrors"] == [f"http://{broken.host}", f"http://{mirror.host}"]


def test_basic_authentication(engine, docker, real, tmp_path):
    passwords = tmp_path / "htpasswd"
    # "secret", by bcrypt
    passwords.write_text(subprocess.run(["htpasswd", "-nbB", "alice", "secret"], capture_output=True, text=True,
                                        check=True).stdout)
    registry = real(extra=f"auth:\n  htpasswd: {{realm: test, path: {passwords}}}\n")
    name = f"{registry.name}/lib/private"
    docker("tag", "silo/base", name)
    assert "no basic auth credentials" in docker("push", name, code=1).err
    assert "no basic auth credentials" in docker("pull", name, code=1).err
    wrong = docker("login", "-u", "alice", "--password-stdin", registry.name, stdin="guess", code=1)
    assert "unauthorized" in wrong.err, wrong
    assert "Login Succeeded" in docker("login", "-u", "alice", "--password-stdin", registry.name, stdin="secret").out
    docker("push", name)
    docker("rmi", name)
    docker("pull", name)
    docker("logout", registry.name)
    assert docker("pull", name, code=1)


def test_token_authentication(engine, docker, fake):
    registry = fake()
    registry.add_image("lib/t", "latest", small_layers(), gzip.compress)
    registry.require_token()
    name = f"{registry.host}/lib/t"
    docker("pull", name)
    assert registry.asked[-1]["scope"] == ["repository:lib/t:pull"] and registry.asked[-1]["service"] == ["test"]
    assert len(registry.asked) == 1, "one token for all requests"
    registry.require_token("u", "p")
    denied = docker("pull", name, code=1).err
    assert "pull access denied" in denied and "denied: requested access to the resource is denied" in denied
    assert "incorrect username or password" in docker("login", "-u", "u", "--password-stdin", registry.host, stdin="x",
                                                      code=1).err
    docker("login", "-u", "u", "--password-stdin", registry.host, stdin="p")
    docker("pull", name)
    assert registry.asked[-1]["account"] == ["u"]
    docker("logout", registry.host)
    header = base64.urlsafe_b64encode(json.dumps({"registrytoken": "good-lib/t"}).encode()).decode()
    asked = len(registry.asked)
    answer = engine.http("POST", f"/images/create?fromImage={name}&tag=latest", headers={"X-Registry-Auth": header})
    assert answer[0] == 200 and b"up to date" in answer[2] and len(registry.asked) == asked
    assert engine.http("POST", f"/images/create?fromImage={name}&tag=latest", headers={"X-Registry-Auth": "%%%"})[0] == 400


def test_identity_token(engine, docker, fake):
    """What the token server gives at login stands for the password from then on, by OAuth's POST."""
    registry = fake()
    registry.add_image("lib/i", "latest", small_layers(), gzip.compress)
    registry.require_token("u", "p", identity="stands for p")
    docker("login", "-u", "u", "--password-stdin", registry.host, stdin="p")
    assert registry.asked[-1]["client_id"] == ["docker"]
    kept = json.loads((engine.top / "docker/config.json").read_text())["auths"][registry.host]
    assert kept["identitytoken"] == "stands for p" and base64.b64decode(kept["auth"]) == b"u:"
    docker("pull", f"{registry.host}/lib/i")
    assert registry.asked[-1] == {"grant_type": ["refresh_token"], "client_id": ["docker"], "service": ["test"],
                                  "scope": ["repository:lib/i:pull"], "refresh_token": ["stands for p"]}
    body = {"username": "u", "identitytoken": "stands for p", "serveraddress": registry.host}
    assert engine.http("POST", "/auth", body)[2] == {"Status": "Login Succeeded", "IdentityToken": "stands for p"}
    docker("logout", registry.host)


@pytest.fixture
def authority(tmp_path):
    """A CA, and certificates of it: (ca, server, client) paths without their suffixes."""
    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)
    place = tmp_path / "tls"
    place.mkdir()
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=test ca", "-keyout", place / "ca.key", "-out", place / "ca.crt")
    for name, extra in (("server", "subjectAltName=IP:192.0.2.77"), ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                "-keyout", place / f"{name}.key", "-out", place / f"{name}.csr")
        (place / "ext").write_text(extra)
        openssl("x509", "-req", "-in", place / f"{name}.csr", "-CA", place / "ca.crt", "-CAkey", place / "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", place / "ext", "-out", place / f"{name}.crt")
    return place


def test_tls(engine, docker, real, authority):
    """Unknown CA, then the layout of certs.d, with a client's certificate."""
    engine.ip("address", "replace", "192.0.2.77/32", "dev", "lo")
    registry = real(host="192.0.2.77", http_extra=f"  tls:\n    certificate: {authority}/server.crt\n"
                    f"    key: {authority}/server.key\n    clientcas: [{authority}/ca.crt]\n")
    name = f"{registry.name}/lib/tls"
    docker("tag", "silo/base", name)
    place = Path("/etc/silo/certs.d") / registry.name
    place.mkdir(parents=True)
    try:
        assert "certificate signed by unknown authority" in docker("push", name, code=1).err
        shutil.copy(authority / "ca.crt", place / "ca.crt")
        assert docker("push", name, code=1)  # "fatal alert", or a broken pipe: a matter of time
        shutil.copy(authority / "client.crt", place / "client.cert")
        assert "missing key client.key" in docker("push", name, code=1).err
        shutil.copy(authority / "client.key", place / "client.key")
        docker("push", name)
        docker("rmi", name)
        docker("pull", name)
    finally:
        shutil.rmtree(place)
        engine.ip("address", "del", "192.0.2.77/32", "dev", "lo")


# --- push ------------------------------------------------------------------------------------------------------------
def test_push_and_skopeo(engine, docker, real, tmp_path):
    """What is pushed is what skopeo sees, and what comes back."""
    registry = real()
    layers = small_layers()
    docker("load", stdin=images.docker_archive(["push:1"], layers))
    name = f"{registry.name}/lib/push:1"
    docker("tag", "push:1", name)
    first = docker("push", name).out
    assert f"The push refers to repository [{registry.name}/lib/push]\n" in first
    assert first.count(": Pushed\n") == 2 and first.count(": Preparing\n") == 2, first
    digest = first.rsplit("digest: ", 1)[1].split()[0]
    assert engine.inspect("push:1")["RepoDigests"] == [f"{registry.name}/lib/push@{digest}"]
    manifest = raw_manifest(engine, name)
    assert images.digest(manifest) == digest and f"size: {len(manifest)}\n" in first
    # Here the CLI is the registry's client itself.
    seen = engine.command("docker", "manifest", "inspect", "-v", "--insecure", name, env=engine.cli_environment)
    assert json.loads(seen)["Descriptor"]["digest"] == digest
    again = docker("push", name).out
    assert again.count(": Layer already exists\n") == 2 and digest in again, again
    # Another repository of the same registry: nothing is sent.
    other = f"{registry.name}/lib/other:1"
    docker("tag", "push:1", other)
    assert docker("push", other).out.count(": Mounted from lib/push\n") == 2
    skopeo(engine, "copy", "--src-tls-verify=false", f"docker://{name}", f"docker-archive:{tmp_path}/back.tar:back:1")
    identity = engine.inspect("push:1")["Id"]
    engine.http("DELETE", f"/images/{identity}?force=1")
    docker("load", "-i", tmp_path / "back.tar")
    assert engine.inspect("back:1")["Id"] == identity
    docker("pull", name)
    assert engine.inspect(name)["Id"] == identity
    assert docker("run", "--rm", "--isolation=process", name, "cat", "/hello").out == "hi\n"


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_round_trip_keeps_the_digest(engine, docker, real, tmp_path, compress):
    """skopeo -> registry -> pull -> push to another registry: the same manifest, bit for bit."""
    one, two = real(), real()
    seed(engine, tmp_path, f"{one.name}/a/b:1", small_layers(), compress)
    docker("pull", f"{one.name}/a/b:1")
    docker("tag", f"{one.name}/a/b:1", f"{two.name}/c/d:2")
    docker("push", f"{two.name}/c/d:2")
    assert raw_manifest(engine, f"{one.name}/a/b:1") == raw_manifest(engine, f"{two.name}/c/d:2")


def test_push_all_tags_and_errors(engine, docker, real):
    registry = real()
    name = f"{registry.name}/lib/many"
    assert "An image does not exist locally with the tag" in docker("push", name, code=1).err
    for tag in ("a", "b"):
        docker("tag", "silo/base", f"{name}:{tag}")
    assert f"tag does not exist: {name}:c" in docker("push", f"{name}:c", code=1).err
    docker("push", "--all-tags", name)
    docker("rmi", f"{name}:a", f"{name}:b")
    docker("pull", "--all-tags", name)
    assert engine.inspect(f"{name}:b")["Id"] == engine.inspect("silo/base")["Id"]


def test_push_resumes_after_a_fault(engine, docker, fake):
    """A registry that loses the connection once gets the blob again; one that refuses is quoted."""
    registry = fake()
    name = f"{registry.host}/lib/x"
    state = {"put": 0}

    def fault(handler):
        length = int(handler.headers.get("Content-Length") or 0)
        if handler.command == "POST":
            handler.send(202, Location=f"{handler.path}id?state=1")
        elif handler.command == "PUT" and "/uploads/" in handler.path:
            handler.rfile.read(length)
            state["put"] += 1
            if state["put"] == 1:
                handler.close_connection = True
                return True
            handler.send(201)
        elif handler.command == "PUT":
            handler.rfile.read(length)
            handler.send_error_code(403, "DENIED", "requested access to the resource is denied")
        else:
            return False
        return True
    registry.fault = fault
    docker("tag", "silo/base", name)
    result = docker("push", name, code=1)
    assert "denied: requested access to the resource is denied" in result.err and state["put"] == 3, (result, state)


def test_helper_has_no_privileges(engine, fake):
    registry = fake()
    layer = images.layer([images.entry("f", data=os.urandom(1000))])
    registry.add_image("lib/j", "latest", [layer])
    seen, gate = held(registry, images.digest(layer))
    connection = UnixHTTP(engine.socket)
    try:
        connection.request("POST", f"/images/create?fromImage={registry.host}/lib/j&tag=latest")
        assert seen.wait(60)
        pid, = helpers(engine)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"1899999999"}
        assert all(int(status[key], 16) == 0 for key in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"))
        assert status["NoNewPrivs"] == "1" and not status["Groups"].strip()
        root = f"/proc/{pid}/root"
        assert sorted(os.listdir(root)) == ["etc", "tls"] and "shadow" not in os.listdir(f"{root}/etc")
    finally:
        gate.set()
        connection.close()


def test_configuration_is_checked(own_engine, tmp_path):
    for keys, text in (({"registry-mirrors": ["ftp://x"]}, "invalid mirror"),
                       ({"registry-mirrors": ["https://x/path"]}, "invalid mirror"),
                       ({"insecure-registries": ["http://x"]}, "should not contain"),
                       ({"max-concurrent-downloads": 0}, "max-concurrent-downloads")):
        engine = own_engine("--config-file", config_file(tmp_path, **keys), start=False)
        with pytest.raises(AssertionError, match=text):
            engine.start()
