# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker cp, diff, export and commit: on running, paused and stopped containers, in both modes."""
import base64
import gzip
import io
import json
import os
import tarfile

import pytest
from conftest import BASE
from engine import until
from images import busybox_entries, directory, docker_archive, entry, layer, symlink

MAKE = ("test -e /dir && exec sleep 1000; mkdir -p /dir/sub && echo one > /dir/one && echo two > /dir/sub/two && ln -s one /dir/link && "
        "ln -s /dir/sub /dir/far && ln /dir/one /dir/hard && chmod 4750 /dir/one && chown 7:8 /dir/sub/two && "
        "ln -s /nowhere /dir/dangling && rm /etc/group && rm -r /home && mkdir /home && touch /home/new && "
        "echo ready && exec sleep 1000")
CHANGES = ["A /dir", "A /dir/dangling", "A /dir/far", "A /dir/hard", "A /dir/link", "A /dir/one", "A /dir/sub",
           "A /dir/sub/two", "C /etc", "D /etc/group", "C /home", "A /home/new"]


def entries(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: m for m in tar}


def tar_of(*items):
    return layer(list(items), tarfile.PAX_FORMAT)


@pytest.fixture
def made(engine, run, name):
    """A container that has changed its files, still running."""
    run("-d", "--name", name, "-v", f"{name}-volume:/volume", "--tmpfs", "/scratch", BASE, "sh", "-c", MAKE)
    until("the files are made", lambda: "ready" in engine.docker("logs", name).out)
    yield name
    engine.docker("rm", "-f", name, code=None)
    engine.docker("volume", "rm", "-f", f"{name}-volume", code=None)


def stat_header(engine, ref, path):
    status, headers, _ = engine.http("HEAD", f"/containers/{ref}/archive?path={path}")
    text = headers.get("X-Docker-Container-Path-Stat")
    return status, json.loads(base64.b64decode(text)) if text else None


def check_out(engine, ref, tmp_path):
    """Everything that reads; the same whether the container runs or not."""
    seen = engine.docker("diff", ref).out.splitlines()
    assert sorted(seen) == sorted(CHANGES + ["A /scratch", "A /volume"]), seen
    found = entries(engine.docker("cp", f"{ref}:/dir", "-").raw)
    assert set(found) == {"dir", "dir/dangling", "dir/far", "dir/hard", "dir/link", "dir/one", "dir/sub", "dir/sub/two"}
    assert found["dir/one"].islnk() and found["dir/one"].linkname == "dir/hard" and found["dir/hard"].mode == 0o4750
    assert (found["dir/sub/two"].uid, found["dir/sub/two"].gid) == (7, 8)
    assert found["dir/link"].linkname == "one" and found["dir/far"].linkname == "/dir/sub"
    assert set(entries(engine.docker("cp", f"{ref}:/dir/sub/.", "-").raw)) == {".", "./two"}
    # A symlink is a symlink; with -L what it leads to, found inside of the container.
    assert entries(engine.docker("cp", f"{ref}:/dir/far", "-").raw)["far"].issym()
    engine.docker("cp", "-L", f"{ref}:/dir/far", str(tmp_path / "far"))
    assert (tmp_path / "far/two").read_text() == "two\n"
    missing = engine.docker("cp", f"{ref}:/nowhere/x", "-", code=1)
    assert f"Could not find the file /nowhere/x in container {ref}" in missing.err
    status, stat = stat_header(engine, ref, "/dir/dangling")
    assert status == 200 and stat["linkTarget"] == "/nowhere" and stat["name"] == "dangling" and stat["mode"] >> 27 & 1
    assert stat_header(engine, ref, "/dir/")[1]["mode"] >> 31 == 1
    exported = entries(engine.docker("export", ref).raw)
    assert "bin/busybox" in exported and "dir/one" in exported and "etc/group" not in exported
    assert not [n for n in exported if n.startswith(("volume/", "proc/", "dev/", "sys/"))]


def check_in(engine, ref, tmp_path, mark):
    source = tmp_path / f"in-{mark}"
    source.mkdir()
    (source / "file").write_text(mark)
    engine.docker("cp", str(source / "file"), f"{ref}:/tmp/new-{mark}")
    engine.docker("cp", str(source), f"{ref}:/volume/")
    engine.docker("cp", "-", f"{ref}:/dir", stdin=tar_of(entry("piped", data=mark.encode()), symlink("out", "/etc"),
                                                         entry("out/through", data=mark.encode()),
                                                         entry("n" * 150 + "/" + "m" * 120, data=b"long")))
    engine.docker("cp", "-", f"{ref}:/tmp", stdin=gzip.compress(tar_of(entry("packed", data=mark.encode()))))
    assert entries(engine.docker("cp", f"{ref}:/tmp/packed", "-").raw)["packed"].size == len(mark)
    damaged = gzip.compress(tar_of(entry("packed", data=os.urandom(9000))))[:5000]
    assert engine.docker("cp", "-", f"{ref}:/tmp", stdin=damaged, code=1).err
    got = entries(engine.docker("cp", f"{ref}:/volume/in-{mark}/file", "-").raw)
    assert got["file"].size == len(mark)
    # The symlink led to where it leads in the container.
    assert "through" in entries(engine.docker("cp", f"{ref}:/etc/through", "-").raw)
    escape = engine.docker("cp", "-", f"{ref}:/tmp", stdin=tar_of(entry("../../escape", data=b"x")), code=1)
    assert "outside" in escape.err
    as_tar = {"Content-Type": "application/x-tar"}
    status, _, body = engine.http("PUT", f"/containers/{ref}/archive?path=/&noOverwriteDirNonDir=1",
                                  tar_of(entry("dir", data=b"x")), as_tar)
    assert status == 400 and "cannot overwrite directory" in body["message"], body
    status, _, body = engine.http("PUT", f"/containers/{ref}/archive?path=/dir/one", tar_of(entry("x")), as_tar)
    assert status == 400 and body["message"] == "extraction point is not a directory", body
    status, _, body = engine.http("PUT", f"/containers/{ref}/archive?path=/nowhere", tar_of(entry("x")), as_tar)
    assert status == 404, body


def test_running(engine, made, tmp_path):
    check_out(engine, made, tmp_path)
    check_in(engine, made, tmp_path, "running")
    assert engine.docker("exec", made, "cat", "/tmp/new-running", "/dir/piped", "/volume/in-running/file").out == \
        "running" * 3
    engine.docker("pause", made)
    assert entries(engine.docker("cp", f"{made}:/dir/sub/two", "-").raw)["two"].size == 4
    engine.docker("unpause", made)


def test_stopped(engine, made, tmp_path):
    engine.docker("kill", made)
    until("it has ended", lambda: "exited" in engine.docker("inspect", "-f", "{{.State.Status}}", made).out)
    check_out(engine, made, tmp_path)
    check_in(engine, made, tmp_path, "stopped")
    assert engine.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", made).line == "exited 137"
    engine.docker("start", made)
    assert engine.docker("exec", made, "cat", "/tmp/new-stopped", "/volume/in-stopped/file").out == "stopped" * 2


def test_created_without_a_program(engine, mode, name):
    """What CI does with an image that only carries files."""
    engine.docker("create", f"--isolation={mode}", "--name", name, "-u", "nobody-there", BASE, "/no/such/program")
    assert "passwd" in entries(engine.docker("cp", f"{name}:/etc/passwd", "-").raw)
    assert engine.docker("diff", name).out == ""
    engine.docker("rm", name)


def test_commit(engine, made, mode):
    reference = f"flow/commit-{mode}:1"
    image = engine.docker("commit", "-a", "me <me@x>", "-m", "a note", "-c", 'CMD ["cat", "/dir/one"]', "-c", "ENV K=v",
                          made, reference).line
    try:
        info = json.loads(engine.docker("image", "inspect", reference).out)[0]
        assert info["Id"] == image and info["Author"] == "me <me@x>" and info["Comment"] == "a note"
        assert "K=v" in info["Config"]["Env"] and len(info["RootFS"]["Layers"]) == 2
        assert info["Parent"] == json.loads(engine.docker("image", "inspect", BASE).out)[0]["Id"]
        look = ("cat /dir/one /dir/far/two; stat -c %a /dir/hard; stat -c %u:%g /dir/sub/two; "
                "test -e /etc/group || echo gone; ls /home; test -d /volume && ls /volume; env | grep K=")
        for isolation in {mode, "process"}:
            assert engine.docker("run", "--rm", f"--isolation={isolation}", reference, "sh", "-c", look).out == \
                "one\ntwo\n4750\n7:8\ngone\nnew\nK=v\n"
        assert engine.docker("run", "--rm", reference).out == "one\n"
        # No change, no layer; the name moves.
        engine.docker("create", "--name", f"{made}-2", reference)
        again = engine.docker("commit", "-p=false", f"{made}-2", reference).line
        info = json.loads(engine.docker("image", "inspect", again).out)[0]
        assert info["Id"] == again and len(info["RootFS"]["Layers"]) == 2
        assert engine.docker("inspect", "-f", "{{.State.Status}}", made).line == "running"
        used = engine.docker("rmi", image, code=1).err
        assert "conflict: unable to delete" in used, used
        engine.docker("rm", f"{made}-2")
    finally:
        engine.docker("rm", "-f", f"{made}-2", code=None)
        engine.docker("rmi", "-f", reference, code=None)
        engine.docker("rmi", "-f", image, code=None)


def test_read_only(engine, mode, name):
    engine.docker("run", "-d", f"--isolation={mode}", "--name", name, "--read-only", "-v", f"{name}:/rw", "-v",
                  f"{name}:/ro:ro", BASE, "sleep", "1000")
    data = tar_of(entry("x", data=b"x"))
    assert "container rootfs is marked read-only" in engine.docker("cp", "-", f"{name}:/tmp", stdin=data, code=1).err
    assert "mounted volume is marked read-only" in engine.docker("cp", "-", f"{name}:/ro", stdin=data, code=1).err
    engine.docker("cp", "-", f"{name}:/rw", stdin=data)
    assert engine.docker("exec", name, "cat", "/ro/x").out == "x"
    engine.docker("rm", "-f", name)
    engine.docker("volume", "rm", name)


def test_owner(engine, mode, name):
    """-a with a user: all belongs to him; without it the archive decides."""
    engine.docker("create", f"--isolation={mode}", "--name", name, "-u", "www-data", BASE, "true")
    data = tar_of(entry("x", uid=5, gid=6, data=b"x"))
    engine.docker("cp", "-a", "-", f"{name}:/tmp", stdin=data)
    engine.docker("cp", "-", f"{name}:/root", stdin=data)
    assert entries(engine.docker("cp", f"{name}:/tmp/x", "-").raw)["x"].uid == 33
    assert entries(engine.docker("cp", f"{name}:/root/x", "-").raw)["x"].uid == 5


def test_hostile_root(engine, mode, name):
    """Symlinks of the image end inside of the container's root (security case 11), devices don't open."""
    reference = "flow/hostile:1"
    engine.docker("load", stdin=docker_archive([reference], [layer(
        busybox_entries() + [symlink("abs", "/../../../etc/hostname"), symlink("up", "../../../../../tmp"),
                             directory("deep"), symlink("deep/root", "/"),
                             entry("null", tarfile.CHRTYPE, device=(1, 3))])]))
    try:
        engine.docker("create", f"--isolation={mode}", "--name", name, reference, "true")
        engine.docker("cp", "-", f"{name}:/deep/root/up", stdin=tar_of(entry("silo-cp-probe", data=b"in")))
        assert not os.path.exists("/tmp/silo-cp-probe")
        assert "silo-cp-probe" in entries(engine.docker("cp", f"{name}:/tmp/silo-cp-probe", "-").raw)
        got = engine.docker("cp", "-L", f"{name}:/abs", "-").raw
        with tarfile.open(fileobj=io.BytesIO(got)) as tar:
            inside = tar.extractfile(tar.next()).read().decode().strip()
        assert inside == json.loads(engine.docker("inspect", name).out)[0]["Id"][:12]
        assert entries(engine.docker("cp", f"{name}:/null", "-").raw)["null"].ischr()
    finally:
        engine.docker("rm", "-f", name)
        engine.docker("rmi", "-f", reference)
