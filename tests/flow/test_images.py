# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker load, import, tag, rmi, history, images; and images whose author means harm."""
import bz2
import gzip
import io
import json
import lzma
import os
import re
import tarfile

import pytest
from conftest import BASE, MODES
from engine import until
from images import (archive, busybox_entries, config, digest, directory, docker_archive, entry, hardlink, layer, oci_layout,
                    symlink)


@pytest.fixture
def tag(engine):
    """An image reference of this test; the image is removed afterwards."""
    before = set(engine.docker("images", "-aq", "--no-trunc").out.split())
    reference = "flow/test:1"
    yield reference
    engine.remove_containers()
    for image in set(engine.docker("images", "-aq", "--no-trunc").out.split()) - before:
        engine.docker("rmi", "-f", image, code=None)
    assert set(engine.docker("images", "-aq", "--no-trunc").out.split()) == before


def store(engine):
    """What the image store holds: file names below blobs/ and layers/, images listed, leftovers in tmp/."""
    files = []
    for place in ("blobs", "layers", "tmp"):
        for base, dirs, names in os.walk(engine.root / place):
            files += [os.path.join(base, n) for n in dirs + names]
    return set(files), engine.docker("images", "-a", "--no-trunc", "--digests").out


def nothing_new(engine, before):
    """What earlier tests removed may still be on its way out."""
    files, images = store(engine)
    return files <= before[0] and images == before[1]


TWO_LAYERS = [layer(busybox_entries() + [entry("etc/a", data=b"old\n"), entry("etc/gone", data=b"x"),
                                         directory("opaque"), entry("opaque/hidden", data=b"x")]),
              layer([entry("etc/a", data=b"new\n"), entry("etc/.wh.gone"), directory("opaque"),
                     entry("opaque/.wh..wh..opq"), entry("opaque/shown", data=b"y"),
                     entry("suid", data=b"#!/bin/sh\n", mode=0o4755), entry("owned", data=b"", uid=7, gid=8),
                     hardlink("etc/b", "etc/a"), symlink("abs", "/etc/a")])]
LOOK = "cat /etc/a /etc/b /abs; test -e /etc/gone || echo no-gone; ls /opaque; stat -c '%u:%g' /owned; stat -c %a /suid"
SEEN = "new\nnew\nnew\nno-gone\nshown\n7:8\n4755\n"


@pytest.mark.parametrize("form", ["docker-archive", "docker-archive-gzip", "oci", "oci-plain"])
def test_load_and_run(engine, run, tag, form):
    data = {"docker-archive": lambda: docker_archive([tag], TWO_LAYERS),
            "docker-archive-gzip": lambda: gzip.compress(docker_archive([tag], TWO_LAYERS)),
            "oci": lambda: oci_layout(tag, TWO_LAYERS), "oci-plain": lambda: oci_layout(tag, TWO_LAYERS, compress=False)}
    result = engine.docker("load", stdin=data[form]())
    assert "Loaded image: flow/test:1" in result.out
    assert run("--rm", tag, "sh", "-c", LOOK).out == SEEN


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress], ids=["bzip2", "xz"])
def test_bzip2_and_xz(engine, tag, pack):
    """Archives and layers as dockerd takes them. OCI has no name for such layers: plain ones are kept."""
    result = engine.docker("load", stdin=pack(docker_archive([tag], TWO_LAYERS, pack=pack)))
    assert "Loaded image: flow/test:1" in result.out
    assert engine.docker("run", "--isolation=process", "--name", "packed", tag, "sh", "-c", LOOK).out == SEEN
    saved = engine.docker("save", tag).raw
    with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
        assert json.loads(tar.extractfile("manifest.json").read())[0]["Layers"] == \
            [f"blobs/sha256/{digest(data)[7:]}" for data in TWO_LAYERS]
    engine.docker("cp", "-", "packed:/tmp", stdin=pack(layer([entry("given", data=b"by cp")])))
    assert b"by cp" in engine.docker("cp", "packed:/tmp/given", "-").raw
    engine.docker("import", "-", "flow/test:2", stdin=pack(TWO_LAYERS[0]))
    assert engine.docker("run", "--rm", "--isolation=process", "flow/test:2", "cat", "/etc/a").out == "old\n"
    unknown = [layer([entry("new", data=os.urandom(5000))])]
    for broken in (pack(docker_archive(["flow/test:3"], unknown))[:-1000],
                   docker_archive(["flow/test:3"], unknown, pack=lambda data: pack(data)[:-1000])):
        assert "unexpected EOF" in engine.docker("load", stdin=broken, code=1).err


def test_layers_of_one_file(engine, run, tag):
    """The same blob twice, a blob under two names, one that no image wants."""
    files = [("a/layer.tar", TWO_LAYERS[0]), ("b/layer.tar", TWO_LAYERS[1]), ("c/layer.tar", TWO_LAYERS[1]),
             ("unwanted.tar", layer([entry("x", data=b"y" * 5000)]))]
    settings = config([TWO_LAYERS[0], TWO_LAYERS[1], TWO_LAYERS[1], TWO_LAYERS[1]])
    files += [("config.json", settings), ("manifest.json", json.dumps([{
        "Config": "config.json", "RepoTags": [tag],
        "Layers": ["a/layer.tar", "b/layer.tar", "b/layer.tar", "c/layer.tar"]}]).encode())]
    engine.docker("load", stdin=archive(files))
    assert run("--rm", tag, "sh", "-c", LOOK).out == SEEN


def test_image_settings(engine, run, tag):
    settings = {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo $GREETING from $(pwd) as $(id -u)"], "WorkingDir": "/tmp",
                "Env": ["PATH=/bin", "GREETING=hi"], "User": "bob", "Labels": {"from": "image"}}
    engine.docker("load", stdin=docker_archive([tag], [layer(busybox_entries())], settings))
    assert run("--rm", tag).out == "hi from /tmp as 1000\n"
    assert run("--rm", tag, "echo other").out == "other\n"
    assert run("--rm", "-e", "GREETING=yo", "-u", "0", "-w", "/", tag).out == "yo from / as 0\n"
    assert run("--rm", "-u", "bob:staff", tag, "id -g").out == "50\n"
    assert run("--rm", tag, "echo $HOME").out == "/tmp\n"


def test_import(engine, run, tag):
    tar = layer(busybox_entries())
    result = engine.docker("import", "--change", 'CMD ["echo", "imported"]', "--change", "ENV A=b", "--message", "note",
                           "-", tag, stdin=tar)
    assert re.match(r"sha256:[0-9a-f]{64}$", result.line)
    assert run("--rm", tag).out == "imported\n"
    info = json.loads(engine.docker("image", "inspect", tag).out)[0]
    assert info["Id"] == result.line and info["RepoTags"] == [tag] and "A=b" in info["Config"]["Env"]
    assert info["Os"] == "linux" and info["Architecture"] == "amd64" and len(info["RootFS"]["Layers"]) == 1
    history = engine.docker("history", "--format", "{{.Comment}}", tag).out
    assert "note" in history
    # The same content again is the same layer.
    assert len(set(engine.docker("images", "-q", "--no-trunc").out.split())) >= 1


def test_tags(engine, tag):
    engine.docker("load", stdin=docker_archive([tag], [layer(busybox_entries())]))
    engine.docker("tag", tag, "flow/second:2")
    listed = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").out
    assert re.search(r"flow/test:1 [0-9a-f]{12}", listed) and re.search(r"flow/second:2 [0-9a-f]{12}", listed)
    assert engine.docker("images", "-q", "flow/second").line == engine.docker("images", "-q", "flow/test").line
    assert "Untagged: flow/test:1" in engine.docker("rmi", tag).out
    assert "Deleted: sha256:" in engine.docker("rmi", "flow/second:2").out
    assert "No such image: flow/second:2" in engine.docker("rmi", "flow/second:2", code=1).err
    assert "No such image" in engine.docker("tag", "flow/none", "flow/x", code=1).err
    assert engine.docker("tag", BASE, "Bad Name", code=None).code != 0


def test_rmi_of_used(engine, mode, run, tag, name):
    engine.docker("load", stdin=docker_archive([tag], [layer(busybox_entries())]))
    run("-d", "--name", name, tag, "sleep", "1000")
    result = engine.docker("rmi", tag, code=1)
    assert re.search(r"conflict: unable to (remove repository reference|delete) .*(is using its referenced image|container)",
                     result.err), result
    engine.docker("rm", "-f", name)
    engine.docker("rmi", tag)


def test_history_and_inspect(engine, tag):
    engine.docker("load", stdin=docker_archive([tag], TWO_LAYERS))
    lines = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", tag).out.split("\n")
    assert lines[:2] == ["layer 1", "layer 0"]
    info = json.loads(engine.docker("image", "inspect", tag).out)[0]
    assert info["Config"]["Cmd"] == ["sh"] and info["Size"] > 100000
    assert "No such image: flow/none" in engine.docker("image", "inspect", "flow/none", code=1).err


def test_base_image(engine):
    info = json.loads(engine.docker("image", "inspect", BASE).out)[0]
    assert info["RepoTags"] == [f"{BASE}:latest"]


def test_system_df(engine):
    out = engine.docker("system", "df").out
    assert re.search(r"Images\s+\d+", out) and re.search(r"Containers\s+\d+", out)


# --- hostile and broken images: refused or contained, and the store is as before

OUTSIDE = "/tmp/silo-flow-escape"


def hostile(*entries):
    return docker_archive(["flow/hostile:1"], [layer(busybox_entries() + list(entries))])


# name, archive, text of the error (regex)
BROKEN = [
    ("case-11-dot-dot", lambda: hostile(entry("../../../../../../.." + OUTSIDE, data=b"x")), None),
    ("case-11-dot-dot-inside", lambda: hostile(entry("a/../../../.." + OUTSIDE, data=b"x")), None),
    ("case-11-absolute", lambda: hostile(entry(OUTSIDE, data=b"x")), None),
    ("case-11-write-through-symlink", lambda: hostile(symlink("way", "/tmp"), entry("way/silo-flow-escape", data=b"x")), None),
    ("case-11-write-through-relative", lambda: hostile(symlink("way", "../../../../../../../../tmp"),
                                                       entry("way/silo-flow-escape", data=b"x")), None),
    ("case-11-hardlink-out", lambda: hostile(hardlink("etc/host", "../../../../../../../etc/hostname")), None),
    ("case-11-hardlink-absolute", lambda: hostile(hardlink("etc/host", "/../../etc/machine-id")), None),
    ("case-12-truncated", lambda: docker_archive(["flow/hostile:1"], TWO_LAYERS)[:200000], r"\w"),
    ("case-12-truncated-gzip", lambda: gzip.compress(docker_archive(["flow/hostile:1"], TWO_LAYERS))[:100000], r"\w"),
    ("case-12-not-a-tar", lambda: b"this is not a tar archive" * 1000, r"\w"),
    ("case-12-empty", lambda: b"", r"\w"),
    ("case-12-empty-tar", lambda: layer([]), r"\w"),
    ("case-12-manifest-not-json", lambda: archive([("manifest.json", b"{")]), r"\w"),
    ("case-12-manifest-deep", lambda: archive([("manifest.json", b"[" * 100000)]), r"\w"),
    ("case-12-manifest-wrong-types", lambda: archive([("manifest.json", b'[{"Config":5,"Layers":"x","RepoTags":{}}]')]), r"\w"),
    ("case-12-config-missing", lambda: archive([("manifest.json", b'[{"Config":"x.json","Layers":[],"RepoTags":[]}]')]), r"\w"),
    ("case-12-config-outside", lambda: archive([("manifest.json", json.dumps([{
        "Config": "../../../../etc/passwd", "Layers": ["/etc/passwd"], "RepoTags": ["flow/hostile:1"]}]).encode())]), r"\w"),
    ("case-12-wrong-layer-digest", lambda: docker_archive(["flow/hostile:1"], TWO_LAYERS, config_data=config(TWO_LAYERS[:1] * 2)),
     "expected sha256:"),
    ("case-12-layer-count", lambda: docker_archive(["flow/hostile:1"], TWO_LAYERS, config_data=config(TWO_LAYERS[:1])), r"\w"),
    ("case-12-oci-wrong-blob", lambda: oci_layout("flow/hostile:1", TWO_LAYERS, spoil=lambda kind, blob: blob[:-1] + b"?"
                                                  if kind == "config" else blob), r"\w"),
    ("case-12-oci-wrong-layer", lambda: oci_layout("flow/hostile:1", TWO_LAYERS, spoil=lambda kind, blob: blob[:-9] + b"?" * 9
                                                   if kind == "layer" else blob), r"\w"),
    ("case-12-oci-wrong-size", lambda: oci_layout("flow/hostile:1", TWO_LAYERS, spoil=lambda kind, blob: blob + b"more"
                                                  if kind == "layer" else blob), r"\w"),
    ("bad-reference", lambda: docker_archive(["../Bad Ref:1"], [layer(busybox_entries())]), r"\w"),
]


@pytest.mark.parametrize("make,text", [pytest.param(m, t, id=n) for n, m, t in BROKEN])
def test_broken_image(engine, tag, make, text):
    before = store(engine)
    result = engine.docker("load", stdin=make(), code=None)
    assert not os.path.exists(OUTSIDE)
    if text:
        assert result.code == 1 and re.search(text, result.err), result
    if result.code == 0:
        # Contained is as good as rejected: the image runs, and its host file isn't in it.
        done = engine.docker("run", "--rm", "--isolation=process", "flow/hostile:1", "cat", "/etc/host", code=None)
        for path in ("/etc/hostname", "/etc/machine-id"):
            if os.path.exists(path) and os.path.getsize(path):
                with open(path, encoding="utf-8") as f:
                    assert f.read() not in done.out
        assert not os.path.exists(OUTSIDE)
    else:
        until("the store is as before", lambda: nothing_new(engine, before))
    # It still works.
    assert engine.docker("run", "--rm", "--isolation=process", BASE, "echo", "ok").out == "ok\n"


def test_case_11_device_nodes(engine, run, tag):
    data = docker_archive([tag], [layer(busybox_entries() + [
        entry("kmem", tarfile.CHRTYPE, device=(1, 2)), entry("disk", tarfile.BLKTYPE, device=(8, 0)),
        entry("fifo", tarfile.FIFOTYPE)])])
    if engine.docker("load", stdin=data, code=None).code:
        return
    result = run("--rm", tag, "sh", "-c", "cat /disk /kmem >/dev/null", code=None)
    assert result.code != 0, result


def test_case_11_sparse_bomb(engine, tag):
    """A file of 10 GB that is a few bytes in the archive takes no space, or is refused."""
    info = tarfile.TarInfo("bomb")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    size = 10 << 30
    header[124:136] = b"%011o\0" % 512  # bytes in the archive
    header[386:398] = b"%011o\0" % (size - 512)  # one piece at the end
    header[398:410] = b"%011o\0" % 512
    header[483:495] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    blob = layer(busybox_entries()).rstrip(b"\0")
    blob += b"\0" * (-len(blob) % 512) + bytes(header) + b"x" * 512 + b"\0" * 1024
    used = os.statvfs(engine.root)
    engine.docker("load", stdin=docker_archive([tag], [blob]), code=None)
    now = os.statvfs(engine.root)
    assert (used.f_bavail - now.f_bavail) * used.f_frsize < 1 << 30


@pytest.mark.parametrize("where", ["proc", "sys", "dev", "dev-pts", "dev-null", "etc"])
def test_case_03_06_mount_points(engine, run, tag, where):
    """The image makes mount points symlinks to elsewhere, or its own /dev/null: refused or contained."""
    entries = busybox_entries(standard=False) + [directory("tmp"), directory("target")]
    special = {"proc": [symlink("proc", "/target")], "sys": [symlink("sys", "/target")], "dev": [symlink("dev", "/target")],
               "dev-pts": [directory("dev"), symlink("dev/pts", "/target")],
               "dev-null": [directory("dev"), entry("dev/null", data=b"mine")],
               "etc": [symlink("etc", "/../../../../tmp/silo-flow-etc")]}
    entries += special[where] + [directory(d) for d in ("proc", "sys", "dev") if d != where and not where.startswith(d + "-")]
    result = engine.docker("load", stdin=docker_archive([tag], [layer(entries)]), code=None)
    if result.code == 0:
        result = run("--rm", tag, "sh", "-c", "cat /proc/kcore | wc -c; echo x >/dev/null; cat /dev/null", code=None)
        if result.code == 0:
            assert result.out.strip() == "0", result
        elif where in ("proc", "sys", "dev"):
            assert result.code in (125, 126, 127) and re.search(where, result.err), result
    assert not os.path.exists("/tmp/silo-flow-etc")
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


def test_case_04_volume_over_proc(engine, run):
    result = run("--rm", "-v", "/tmp:/proc/sys", BASE, "true", code=None)
    assert result.code in (125, 126, 127), result


def test_case_10_vm_files_in_image(engine, run, tag):
    data = docker_archive([tag], [layer(busybox_entries() + [
        entry("qemu.conf", data=b"-nonsense"), symlink("template", "/"), symlink("disk.ext4", "/etc/passwd"),
        entry("init", data=b"#!/bin/sh\necho mine\n"), entry("config.json", data=b"{}"), entry("silo.json", data=b"{}")])])
    engine.docker("load", stdin=data)
    assert run("--rm", tag, "echo", "fine").out == "fine\n"


@pytest.mark.parametrize("body", [
    b"{", b"[]", b"{}", b'{"Image":5}', b'{"Image":"silo/base","Cmd":7}', b'{"Image":"silo/base","HostConfig":[]}',
    b'{"Image":"silo/base","Env":[1]}', b'{"Image":"' + b"x" * 100000 + b'"}', b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"Image":"silo/base","Image":"other/x"}', b'{"Image":"silo/base","Cmd":["a\\u0000b"]}', b"\xff\xfe", b'"' + b"a" * 3000000])
def test_case_12_hostile_create(engine, body):
    status, headers, answer = engine.http("POST", "/containers/create", body, {"Content-Type": "application/json"})
    assert status in (400, 404, 413) and answer["message"], (status, answer)
    assert headers["Content-Type"] == "application/json"
    assert engine.containers() == []


@pytest.mark.skipif("hyperv" not in MODES, reason="hyperv isn't among the tested modes")
def test_case_28_arguments_in_names(engine):
    for option in (["--label", "a=,file=/etc/passwd"], ["--name", "x-accel.kvm"], ["-h", "a,b=c"],
                   ["--annotation", "k=-device x"]):
        result = engine.docker("run", "--rm", "--isolation=hyperv", *option, BASE, "echo", "ok", code=None)
        assert result.out == "ok\n" or result.code == 125, result
