# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker build: the stock CLI's classic builder, RUN in both isolation modes."""
import io
import json
import os
import signal
import tarfile

import pytest
from conftest import BASE
from engine import descendants, until


@pytest.fixture
def context(engine, name):
    """context({"file": text, ...}) -> directory; "Dockerfile" among them."""
    place = engine.top / f"context-{name}"

    def write(files):
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text)
        return place

    return write


@pytest.fixture
def build(engine, name):
    """build(directory, *options): the tag; it is removed after the test."""

    def run(directory, *options, code=0, stdin=None):
        return engine.docker("build", "-t", f"flow/{name}", *options, directory, code=code, stdin=stdin)

    run.tag = f"flow/{name}"
    yield run
    engine.remove_containers()
    engine.docker("rmi", "-f", run.tag, code=None)
    engine.docker("image", "prune", "-f")


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(text)
            t.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def post(engine, query, files):
    status, _, body = engine.http("POST", f"/build?{query}", tar_of(files), {"Content-Type": "application/x-tar"})
    return status, body


def test_steps_in_mode(engine, build, context, mode):
    place = context({
        "Dockerfile": """
            ARG FROM_IMAGE=nothing
            FROM ${FROM_IMAGE:-x} AS first
            ARG VALUE=default
            RUN echo "$VALUE" > /value; uname -r > /kernel; \\
                # a comment between the lines
                cat /proc/self/uid_map > /dev/null
            FROM silo/base
            COPY --from=first /value /kernel /from/
            COPY some /some
            WORKDIR /work
            ENV NAME=build
            LABEL of=file
            HEALTHCHECK --interval=7s CMD true
            CMD ["sh", "-c", "cat /from/value /some/file; pwd; echo $NAME"]
        """, "some/file": "of the context\n", "some/left-out": "", ".dockerignore": "some/left-out\n"})
    # The mode is no part of the cache's key, the argument is.
    done = build(place, f"--isolation={mode}", "--build-arg", "FROM_IMAGE=silo/base", "--build-arg", f"VALUE={mode}",
                 "--label", "by=test", "-t", f"{build.tag}:second")
    assert "Step 1/3 : FROM silo/base AS first" in done.out and "Successfully built " in done.out
    assert f"Successfully tagged {build.tag}:latest" in done.out
    run = engine.docker("run", "--rm", "--isolation=process", build.tag)
    assert run.out.split("\n")[:4] == [mode, "of the context", "/work", "build"]
    kernel = engine.docker("run", "--rm", "--isolation=process", build.tag, "cat", "/from/kernel").line
    assert (kernel == os.uname().release) == (mode == "process")
    assert engine.docker("run", "--rm", "--isolation=process", build.tag, "ls", "/some").out.split() == ["file"]
    config = engine.inspect(build.tag)["Config"]
    assert config["Labels"] == {"of": "file", "by": "test"}
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 7 * 10**9}
    assert engine.inspect(f"{build.tag}:second")["Id"] == engine.inspect(build.tag)["Id"]
    engine.docker("rmi", f"{build.tag}:second")


def test_cache(engine, build, context):
    place = context({"Dockerfile": f"FROM {BASE}\nRUN head -c 8 /dev/urandom | od > /random\n"})
    build(place)
    first = engine.inspect(build.tag)["Id"]
    again = build(place)
    assert " ---> Using cache" in again.out and engine.inspect(build.tag)["Id"] == first
    build(place, "--no-cache")
    assert engine.inspect(build.tag)["Id"] != first
    assert "reclaimed space: 0B" not in engine.docker("builder", "prune", "-f").out


def test_dockerfile_elsewhere(engine, build, context):
    place = context({"Dockerfile": "FROM nosuch\n", "sub/Other": f"FROM {BASE} AS x\nRUN echo x > /x\nFROM x\nRUN false\n"})
    build(place, "-f", place / "sub/Other", "--target", "x", "-q")
    assert engine.docker("run", "--rm", build.tag, "cat", "/x").line == "x"
    quiet = engine.docker("build", "-q", "-", stdin=f"FROM {BASE}\nCMD true\n")
    assert quiet.out.strip().startswith("sha256:") and "\n" not in quiet.out.strip()
    engine.docker("rmi", quiet.out.strip())


def test_network(engine, build, context):
    """RUN has a network like any container: its own, not the host's."""
    place = context({"Dockerfile": f"FROM {BASE}\nRUN cat /proc/net/dev > /devices; ip -o addr > /addresses\n"})
    build(place, "--no-cache")
    assert "eth0" in engine.docker("run", "--rm", build.tag, "cat", "/devices").out
    build(place, "--no-cache", "--network", "none", "--add-host", "there:192.0.2.7")
    assert "eth0" not in engine.docker("run", "--rm", build.tag, "cat", "/devices").out
    assert engine.containers() == []


BAD = [
    ("", 1, "the Dockerfile (Dockerfile) cannot be empty"),
    ("FROM silo/base\nFOO x", 1, "dockerfile parse error on line 2: unknown instruction: FOO"),
    ("RUN x", 1, "dockerfile parse error on line 1: no build stage in current context"),
    ("FROM silo/base\n\nRUN exit 3", 3, "The command '/bin/sh -c exit 3' returned a non-zero code: 3"),
    ("FROM silo/base\nCOPY nofile /", 1, '"/nofile": no such file or directory'),
    ("FROM ${UNSET}", 1, "base name (${UNSET}) should not be blank"),
    ("FROM lower/UPPER", 1, "invalid reference format: repository name (lower/UPPER) must be lowercase"),
]


@pytest.mark.parametrize("text,code,message", BAD)
def test_bad_dockerfile(engine, build, context, text, code, message):
    before = engine.docker("images", "-aq").out
    done = build(context({"Dockerfile": text}), code=code)
    assert message in done.err, done
    assert str(engine.root) not in done.err + done.out
    assert engine.docker("images", "-aq").out == before


def test_refused(engine):
    files = {"Dockerfile": f"FROM {BASE}\n"}
    refused = [
        ("version=2", "BuildKit is not supported"),
        ("remote=https://example.invalid/x.git", "remote build contexts are not supported"),
        ("platform=linux/arm64", "images for platform linux/arm64 can't be built here: only linux/amd64"),
        ("isolation=x", "invalid isolation (x): Silo supports 'default', 'process', or 'hyperv'"),
        ("t=Bad%20Name", "invalid reference format"),
        ("buildargs=%5B%5D", "buildargs: not an object"),
        ("memory=lots", "is not a number"),
        ("isolation=hyperv&networkmode=host", "host network is not possible with hyperv isolation"),
    ]
    for query, text in refused:
        status, body = post(engine, query, files)
        assert status == 400 and text in body["message"], (query, body)


def test_hostile_context(engine):
    """The Dockerfile's path and links stay inside the context; the archive can't leave it (security case 11)."""
    secret = engine.top / "secret"
    secret.write_text(f"FROM {BASE}\n")
    for path in ("../../../../../../../../.." + str(secret), str(secret)):
        status, body = post(engine, f"dockerfile={path}", {"x": "y"})
        assert status == 400 and "Cannot locate specified Dockerfile" in body["message"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        link = tarfile.TarInfo("Dockerfile")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        t.addfile(link)
    status, _, body = engine.http("POST", "/build", out.getvalue())
    assert status == 400 and "Cannot locate specified Dockerfile" in body["message"]
    status, body = post(engine, "", {"../escaped": "x", "Dockerfile": f"FROM {BASE}\n"})
    assert status == 400
    assert not list(engine.top.rglob("escaped"))


def building(engine):
    return [p for p in descendants(engine.process.pid) if p[2] == "buildah" or "sleep 4321" in p[3]]


def test_cancelled(engine, context):
    """Ctrl-C ends the step, and leaves neither processes nor an image."""
    place = context({"Dockerfile": f"FROM {BASE}\nRUN sleep 4321\n"})
    client = engine.popen("build", "--no-cache", place)
    until("the step runs", lambda: [p for p in building(engine) if "sleep 4321" in p[3]])
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=60)
    until("all of it has ended", lambda: not building(engine) and not engine.containers())
    assert not list((engine.root / "builder/jobs").iterdir())


def test_killed_engine(own_engine):
    """kill -9 of silod in the middle of a step: the next build works."""
    engine = own_engine()
    files = {"Dockerfile": f"FROM {BASE}\nRUN sleep 4321\n"}
    client = engine.popen("build", "-")
    client.stdin.write(tar_of(files))
    client.stdin.close()
    until("the step runs", lambda: [p for p in building(engine) if "sleep 4321" in p[3]])
    engine.kill9()
    client.wait(timeout=60)
    engine.start()
    done = engine.docker("build", "-q", "-", stdin=f"FROM {BASE}\nRUN echo again\n")
    assert done.out.startswith("sha256:")
    until("the network of the lost build is given back", lambda: not engine.containers())


def test_api_lines(engine):
    """What docker-py and Compose look for: one JSON object a line, the id in aux and in the last words."""
    status, _, body = engine.http("POST", "/build?t=flow/lines", tar_of({"Dockerfile": f"FROM {BASE}\nCMD true\n"}))
    lines = [json.loads(line) for line in (body if isinstance(body, bytes) else json.dumps(body).encode()).splitlines()]
    assert status == 200
    image = next(line["aux"]["ID"] for line in lines if "aux" in line)
    words = [line["stream"] for line in lines if "stream" in line]
    assert f"Successfully built {image[7:19]}\n" in words and "Successfully tagged flow/lines:latest\n" in words
    engine.docker("rmi", "flow/lines")
