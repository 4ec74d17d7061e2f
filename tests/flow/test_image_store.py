# SPDX-License-Identifier: LGPL-2.1-or-later
"""The image store through image-driver, without an engine: what goes in, what comes out, what must leave no trace."""
import gzip
import hashlib
import json
import os
import re
import signal
import sqlite3
import stat
import struct
import subprocess
import tarfile
import tempfile
import threading

import images as im
import pytest
from engine import BUILD

DRIVER = str(BUILD / "tests/image-driver")
UNPACK = str(BUILD / "src/cmd/silo-unpack")


class Store:
    def __init__(self, root):
        self.root = str(root)

    def run(self, *args, data=None, users=None, code=0):
        env = dict(os.environ, **({"IMAGE_USERS": json.dumps(users)} if users else {}))
        done = subprocess.run([DRIVER, self.root, UNPACK, *args], input=data or b"", capture_output=True, env=env)
        err = done.stderr.decode()
        assert code is None or done.returncode == code, (done.returncode, err)
        return (done.stdout.decode(), err)

    def json(self, *args, **kwargs):
        return json.loads(self.run(*args, **kwargs)[0])

    def fails(self, *args, **kwargs):
        return self.run(*args, code=1, **kwargs)[1].strip().splitlines()[-1]

    def files(self):
        """Everything below the root except the database: path, mode, owner, size."""
        out = []
        for top in ("blobs", "layers", "tmp"):
            for base, dirs, names in os.walk(os.path.join(self.root, top)):
                for name in sorted(dirs + names):
                    path = os.path.join(base, name)
                    out.append((os.path.relpath(path, self.root), os.lstat(path).st_mode))
        return sorted(out)

    def layers(self):
        return [(p, m) for p, m in self.files() if p.count("/") == 1 and p.startswith("layers/")]

    def top(self, ref):
        return self.json("dirs", ref)[0]


@pytest.fixture
def store():
    """In memory: the tests don't wait for what others write to the disk."""
    with tempfile.TemporaryDirectory(prefix="silo-image-", dir="/dev/shm") as place:
        yield Store(place + "/root")


@pytest.fixture
def disk_store(tmp_path):
    """On a disk's file system: tmpfs has no user xattrs before Linux 6.6."""
    return Store(tmp_path / "root")


def pax(entries):
    return im.layer(entries, tarfile.PAX_FORMAT)


BASE = im.layer([im.directory("etc"), im.entry("etc/a", data=b"old"), im.entry("etc/gone", data=b"x"),
                 im.directory("opaque"), im.entry("opaque/hidden", data=b"x")])
OVER = im.layer([im.entry("etc/a", data=b"new"), im.entry("etc/.wh.gone"), im.directory("opaque"),
                 im.entry("opaque/.wh..wh..opq"), im.entry("opaque/shown", data=b"y"), im.hardlink("etc/b", "etc/a")])


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


FORMS = {
    "docker": lambda: im.docker_archive(["t/x:1"], [BASE, OVER]),
    "docker-gzip": lambda: gzip.compress(im.docker_archive(["t/x:1"], [BASE, OVER])),
    "docker-zstd": lambda: zstd(im.docker_archive(["t/x:1"], [BASE, OVER])),
    "oci": lambda: im.oci_layout("t/x:1", [BASE, OVER]),
    "oci-plain": lambda: im.oci_layout("t/x:1", [BASE, OVER], compress=False),
    "oci-gzip-members": lambda: oci_with([BASE, OVER], lambda d: gzip.compress(d[:700]) + gzip.compress(d[700:]), "+gzip"),
    "oci-zstd": lambda: oci_with([BASE, OVER], zstd, "+zstd"),
    "oci-platforms": lambda: oci_platforms([BASE, OVER]),
    "docker-links": lambda: docker_links([BASE, OVER]),
}


def oci_blobs(layers, pack, kind, arch="amd64"):
    cfg = im.config(layers).replace(b'"amd64"', json.dumps(arch).encode())
    files = [("blobs/sha256/" + im.digest(cfg)[7:], cfg)]
    descriptors = []
    for data in layers:
        blob = pack(data)
        files.append(("blobs/sha256/" + im.digest(blob)[7:], blob))
        descriptors.append({"mediaType": "application/vnd.oci.image.layer.v1.tar" + kind, "digest": im.digest(blob),
                            "size": len(blob)})
    manifest = json.dumps({"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                                                          "digest": im.digest(cfg), "size": len(cfg)},
                           "layers": descriptors}).encode()
    files.append(("blobs/sha256/" + im.digest(manifest)[7:], manifest))
    return files, {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": im.digest(manifest),
                   "size": len(manifest)}


def index_of(*descriptors):
    return json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                       "manifests": list(descriptors)}).encode()


NAMED = {"annotations": {"org.opencontainers.image.ref.name": "docker.io/t/x:1"}}


def oci_with(layers, pack, kind):
    files, manifest = oci_blobs(layers, pack, kind)
    return im.archive(files + [("index.json", index_of({**manifest, **NAMED}))])


def oci_platforms(layers):
    arm, arm_manifest = oci_blobs([im.layer([im.entry("wrong", data=b"")])], lambda d: d, "", "arm64")
    amd, manifest = oci_blobs(layers, lambda d: d, "")
    inner = index_of({**arm_manifest, "platform": {"os": "linux", "architecture": "arm64"}},
                     {**arm_manifest, "platform": {"os": "unknown", "architecture": "unknown"}},
                     {**manifest, "platform": {"os": "linux", "architecture": "amd64"}})
    outer = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": im.digest(inner), "size": len(inner)}
    files = dict(arm + amd + [("blobs/sha256/" + im.digest(inner)[7:], inner)])
    return im.archive(list(files.items()) + [("index.json", index_of({**outer, **NAMED}))])


def docker_links(layers):
    """Layers behind a symlink and a hard link, as older docker save writes shared ones."""
    cfg = im.config(layers)
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["t/x:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]).encode()
    return im.layer([im.entry("c.json", data=cfg), im.entry("real/0", data=layers[0]), im.entry("real/1", data=layers[1]),
                     im.directory("a"), im.symlink("a/layer.tar", "../real/0"), im.directory("b"),
                     im.hardlink("b/layer.tar", "real/1"), im.entry("manifest.json", data=manifest)])


@pytest.mark.parametrize("form", FORMS)
def test_load(disk_store, form):
    store = disk_store
    out, err = store.run("load", data=FORMS[form]())
    assert '{"stream":"Loaded image: t/x:1\\n"}' in out and "event load sha256:" in err
    top, bottom = store.json("dirs", "t/x:1")
    with open(top + "/etc/a", encoding="utf-8") as f:
        assert f.read() == "new"
    gone = os.lstat(top + "/etc/gone")
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert os.getxattr(top + "/opaque", "trusted.overlay.opaque") == b"y"
    assert os.listdir(top + "/opaque") == ["shown"]
    assert os.stat(top + "/etc/a").st_ino == os.stat(top + "/etc/b").st_ino
    assert sorted(os.listdir(bottom)) == ["etc", "opaque"]
    info = store.json("inspect", "t/x:1")
    assert info["RootFS"]["Layers"] == [im.digest(BASE), im.digest(OVER)] and info["Architecture"] == "amd64"
    # Blobs are what their names say, the work directory is gone.
    for name in os.listdir(store.root + "/blobs/sha256"):
        with open(store.root + "/blobs/sha256/" + name, "rb") as f:
            assert hashlib.sha256(f.read()).hexdigest() == name
    assert os.listdir(store.root + "/tmp/images") == []
    # Again: the same image, nothing new.
    before = store.files()
    store.run("load", data=FORMS[form]())
    assert store.files() == before and len(store.json("list")) == 1


def test_metadata(disk_store):
    store = disk_store
    info, _ = im.entry("caps")
    info.pax_headers = {"SCHILY.xattr.user.note": "hello", "SCHILY.xattr.trusted.overlay.redirect": "/etc",
                        "SCHILY.xattr.user.overlay.opaque": "y",
                        "SCHILY.xattr.security.capability": struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0).decode("latin1")}
    dated, data = im.entry("dated")
    dated.mtime = 1234567890.5
    old_dir = im.directory("old")[0]
    old_dir.mtime = 1000000000
    data = pax([(old_dir, b""), im.entry("old/file"), (info, b""), (dated, data), im.entry("suid", mode=0o6755, uid=7, gid=8),
                im.entry("big", uid=4000000000, gid=4000000001), im.directory("sticky", mode=0o1777),
                im.entry("n" * 255, data=b"1"), im.entry("d/" * 100 + "deep", data=b"2"), im.entry("ünï/cödé", data=b"3"),
                im.entry("null", tarfile.CHRTYPE, device=(1, 3)), im.entry("blk", tarfile.BLKTYPE, device=(8, 1)),
                im.entry("fifo", tarfile.FIFOTYPE), im.symlink("dangling", "/no/where"), im.symlink("usr-lib", "d/d")])
    store.run("import", "t/m", data=data)
    top = store.top("t/m")
    st = os.lstat(top + "/suid")
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o6755, 7, 8)
    assert os.lstat(top + "/big").st_uid == 4000000000 and os.lstat(top + "/sticky").st_mode & 0o7777 == 0o1777
    assert os.lstat(top + "/dated").st_mtime == 1234567890.5 and os.lstat(top + "/old").st_mtime == 1000000000
    assert set(os.listxattr(top + "/caps")) == {"security.capability", "user.note"}
    assert os.getxattr(top + "/caps", "user.note") == b"hello"
    assert os.path.exists(top + "/" + "n" * 255) and os.path.exists(top + "/" + "d/" * 100 + "deep")
    assert os.path.exists(top + "/ünï/cödé")
    assert os.lstat(top + "/null").st_rdev == os.makedev(1, 3) and stat.S_ISBLK(os.lstat(top + "/blk").st_mode)
    assert stat.S_ISFIFO(os.lstat(top + "/fifo").st_mode) and os.readlink(top + "/dangling") == "/no/where"


def test_replacement_rules(store):
    """Later entries win; whiteouts concern only the layers below."""
    data = im.layer([im.entry("x", data=b"file"), im.directory("x"), im.entry("x/in", data=b"1"),
                     im.directory("y"), im.entry("y/in"), im.entry("y", data=b"file"),
                     im.entry("z/own", data=b"1"), im.entry(".wh.z"), im.entry(".wh.w"), im.directory("w"),
                     im.entry("plain", data=b"1"), im.entry(".wh.plain"), im.entry(".wh..wh.plnk"),
                     im.directory("real"), im.symlink("link", "/real"), im.entry("link/through", data=b"1")])
    store.run("import", "t/r", data=data)
    top = store.top("t/r")
    assert os.listdir(top + "/x") == ["in"] and os.path.isfile(top + "/y") and os.path.isfile(top + "/plain")
    assert os.listdir(top + "/z") == ["own"] and os.getxattr(top + "/z", "trusted.overlay.opaque") == b"y"
    assert os.path.isdir(top + "/w") and os.getxattr(top + "/w", "trusted.overlay.opaque") == b"y"
    assert os.listdir(top + "/real") == ["through"] and not os.path.lexists(top + "/.wh..wh.plnk")


OUTSIDE = "/tmp/silo-image-escape"
GZ = gzip.compress(BASE)


def manifest_archive(text):
    return im.archive([("manifest.json", text)])


def spoiled(kind, change):
    return im.oci_layout("t/h:1", [BASE, OVER], spoil=lambda k, b: change(b) if k == kind else b)


def oci_layer_blob(blob, diff):
    cfg = im.config([diff])
    files, manifest = oci_blobs([diff], lambda d: blob, "+gzip")
    return im.archive(files + [("index.json", index_of({**manifest, **NAMED}))])


# input of load, text of the error
BROKEN = {
    "case-11-dot-dot": (lambda: im.docker_archive(["t/h:1"], [im.layer([im.entry("../" * 9 + OUTSIDE, data=b"x")])]),
                        "is outside of the archive"),
    "case-11-outer-dot-dot": (lambda: im.archive([("../../escape", b"x"), ("manifest.json", b"[]")]), "is outside of the archive"),
    "case-11-hardlink-out": (lambda: im.docker_archive(["t/h:1"], [im.layer([im.hardlink("h", "../../etc/passwd")])]),
                             "is outside of the archive"),
    "case-11-hardlink-missing": (lambda: im.docker_archive(["t/h:1"], [im.layer([im.hardlink("h", "/etc/passwd")])]), "hard link"),
    "case-11-owner": (lambda: im.docker_archive(["t/h:1"], [pax([im.entry("o", uid=2 ** 32 - 1)])]), "out of range"),
    "case-03-proc": (lambda: im.docker_archive(["t/h:1"], [im.layer([im.symlink("proc", "/tmp")])]), "symbolic link at /proc is refused"),
    "case-11-whiteout-dot-dot": (lambda: im.docker_archive(["t/h:1"], [im.layer([im.entry("a/.wh...")])]), "invalid whiteout"),
    "case-12-truncated": (lambda: im.docker_archive(["t/h:1"], [BASE, OVER])[:4000], "unexpected EOF"),
    "case-12-truncated-gzip": (lambda: gzip.compress(im.docker_archive(["t/h:1"], [BASE, OVER]))[:-20], "unexpected EOF"),
    "case-12-truncated-layer-gzip": (lambda: oci_layer_blob(GZ[:-12], BASE), "unexpected EOF"),
    "case-12-gzip-crc": (lambda: oci_layer_blob(GZ[:-8] + b"????" + GZ[-4:], BASE), "checksum"),
    "case-12-gzip-garbage": (lambda: oci_layer_blob(GZ + b"garbage", BASE), "gzip"),
    "case-12-wrong-diff-id": (lambda: oci_layer_blob(gzip.compress(OVER), BASE), "expected sha256:.*, got sha256:"),
    "case-12-not-a-tar": (lambda: b"no tar" * 1000, "archive/tar"),
    "case-12-empty": (lambda: b"", "invalid archive"),
    "case-12-no-manifest": (lambda: im.layer([]), "does not contain a manifest.json"),
    "case-12-not-json": (lambda: manifest_archive(b"{"), "invalid JSON"),
    "case-12-deep": (lambda: manifest_archive(b"[" * 100000), "nested deeper"),
    "case-12-duplicate-key": (lambda: manifest_archive(b'[{"Config":"a","Config":"b"}]'), "duplicate"),
    "case-12-huge": (lambda: manifest_archive(b'["' + b"x" * (5 << 20) + b'"]'), "larger than"),
    "case-12-types": (lambda: manifest_archive(b'[{"Config":5}]'), "invalid value for Config: expected string"),
    "case-12-config-missing": (lambda: manifest_archive(b'[{"Config":"x","Layers":[]}]'), "No such file"),
    "case-12-config-outside": (lambda: manifest_archive(b'[{"Config":"../../../../../etc/passwd","Layers":[]}]'), "No such file"),
    "case-12-config-link": (lambda: im.layer([im.symlink("c", "/etc/passwd"),
                                              im.entry("manifest.json", data=b'[{"Config":"c","Layers":[]}]')]), "No such file"),
    "case-12-config-dir": (lambda: im.layer([im.directory("c"),
                                             im.entry("manifest.json", data=b'[{"Config":"c","Layers":[]}]')]), "not a regular file"),
    "case-12-count": (lambda: im.docker_archive(["t/h:1"], [BASE, OVER], config_data=im.config([BASE])),
                      "layers length mismatch: expected 2, got 1"),
    "case-12-blob-changed": (lambda: spoiled("config", lambda b: b[:-1] + b" "), "digest mismatch"),
    "case-12-layer-changed": (lambda: spoiled("layer", lambda b: b[:-9] + b"?" * 9), "digest mismatch"),
    "case-12-size": (lambda: spoiled("layer", lambda b: b + b"x"), "size mismatch"),
    "case-12-manifest-changed": (lambda: spoiled("manifest", lambda b: b[:-1] + b" "), "digest mismatch"),
    "reference": (lambda: im.docker_archive(["Bad Ref"], [BASE]), "invalid tag"),
    "device-in-outer": (lambda: im.layer([im.entry("manifest.json", tarfile.CHRTYPE, device=(1, 5))]), "not a file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(store, name):
    make, text = BROKEN[name]
    store.run("load", data=im.docker_archive(["t/ok:1"], [im.layer([im.entry("ok", data=b"ok")])]))
    before, listed = store.files(), store.json("list")
    err = store.fails("load", data=make())
    assert re.search(text, err) and re.match("(invalid|limit): ", err), err
    assert store.files() == before and store.json("list") == listed and not os.path.exists(OUTSIDE)


def test_contained(store):
    """Absolute names and symlinks out of the layer lead to where they would lead in the container."""
    data = im.layer([im.entry(OUTSIDE, data=b"x"), im.symlink("way", "/tmp"), im.entry("way/a", data=b"x"),
                     im.symlink("up", "../../../../tmp"), im.entry("up/b", data=b"x")])
    store.run("import", "t/c", data=data)
    assert sorted(os.listdir(store.top("t/c") + "/tmp")) == ["a", "b", os.path.basename(OUTSIDE)]
    assert not os.path.exists(OUTSIDE) and not os.path.exists("/tmp/a")


def test_dangling_parent(store):
    assert "parent directory" in store.fails("import", "t/c", data=im.layer([im.symlink("w", "/no"), im.entry("w/a")]))


def test_too_many_entries():
    """case 11: a million entries end at the limit."""
    head = im.layer([im.entry("f")])[:512]
    out = unpack(head * 1001, "1000", str(1 << 30))
    assert b"more than 1000 entries" in out


def test_too_many_bytes():
    out = unpack(im.layer([im.entry("f", data=b"x" * 5000)]), "1000", "4096")
    assert b"files of more than 4096 bytes" in out


def unpack(data, *limits):
    with tempfile.TemporaryDirectory() as target:
        fd = os.open(target, os.O_RDONLY)
        # The shell puts the directory at fd 3.
        done = subprocess.run(["sh", "-c", f'exec "$0" layer "$@" 3</proc/self/fd/{fd}', UNPACK, *limits], input=data,
                              capture_output=True, pass_fds=[fd])
        os.close(fd)
    return done.stdout


def test_sparse_bomb(store):
    """case 11: 10 GB in a few bytes stays a hole."""
    head = bytearray(tarfile.TarInfo("bomb").tobuf(tarfile.GNU_FORMAT))
    size = 10 << 30
    head[156:157] = b"S"
    head[124:136] = b"%011o\0" % 512
    head[386:398] = b"\x80" + (size - 512).to_bytes(11, "big")
    head[398:410] = b"%011o\0" % 512
    head[483:495] = b"\x80" + size.to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    store.run("import", "t/s", data=bytes(head) + b"x" * 512 + bytes(1024))
    st = os.lstat(store.top("t/s") + "/bomb")
    assert st.st_size == size and st.st_blocks * 512 < 1 << 20


def test_shared_layers(store):
    store.run("load", data=im.docker_archive(["t/a:1"], [BASE]))
    store.run("load", data=im.oci_layout("t/b:1", [BASE, OVER], compress=False))
    assert len(store.layers()) == 2 and len(os.listdir(store.root + "/blobs/sha256")) == 2
    out = store.json("rmi", "t/b:1")
    assert out[0] == {"Untagged": "t/b:1"} and [list(x) for x in out[1:]] == [["Deleted"], ["Deleted"]]
    assert len(store.layers()) == 1 and len(os.listdir(store.root + "/blobs/sha256")) == 1
    out = store.json("rmi", "t/a:1")
    assert out[-1] == {"Deleted": im.digest(BASE)}
    assert store.layers() == [] and os.listdir(store.root + "/blobs/sha256") == [] and store.json("list") == []


def test_tags_and_removal(store):
    store.run("load", data=im.docker_archive(["t/a:1"], [BASE]))
    image = store.json("inspect", "t/a:1")["Id"]
    short = image[7:19]
    store.run("tag", "t/a:1", "t/b", "2")
    store.run("tag", short, "localhost:5000/t/c")
    assert sorted(store.json("inspect", image)["RepoTags"]) == ["localhost:5000/t/c:latest", "t/a:1", "t/b:2"]
    assert store.fails("tag", "t/a:1", "t/B") == "invalid: invalid reference format: repository name (t/B) must be lowercase"
    assert store.fails("tag", "t/a:1", "t/b", "a b") == "invalid: invalid tag format"
    assert store.fails("inspect", "none") == "not_found: No such image: none:latest"
    assert store.fails("inspect", "FOO") == "invalid: invalid reference format: repository name (library/FOO) must be lowercase"
    assert store.fails("rmi", short) == (
        f"conflict: conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories")
    assert store.json("rmi", "t/b:2") == [{"Untagged": "t/b:2"}]
    store.json("rmi", "localhost:5000/t/c")
    used = ["c" * 64]
    assert store.fails("rmi", "t/a:1", users=used) == (
        'conflict: conflict: unable to remove repository reference "t/a:1" (must force) - container cccccccccccc is using'
        f" its referenced image {short}")
    assert store.fails("rmi", short, users=used) == (
        f"conflict: conflict: unable to delete {short} (must be forced) - image is being used by stopped container cccccccccccc")
    running = [{"id": "d" * 64, "running": True}]
    assert store.fails("rmi", short, "-f", users=running) == (
        f"conflict: conflict: unable to delete {short} (cannot be forced) - image is being used by running container dddddddddddd")
    # By force: the image is gone for the user, its layers stay for the container.
    out = store.json("rmi", "t/a:1", "-f", users=used)
    assert out == [{"Untagged": "t/a:1"}, {"Deleted": image}]
    assert store.json("list") == [] and len(store.layers()) == 1
    store.run("prune")
    assert store.layers() == []


def test_list_filters(store):
    for i, label in enumerate(("x", "y")):
        store.run("load", data=im.docker_archive([f"t/{label}:1"], [im.layer([im.entry(label)])], {"Labels": {"l": label}}))
    store.run("import", "", data=im.layer([im.entry("import", data=b"x" * 100)]))
    def tags(**filters):
        return sorted(t for image in store.json("list", json.dumps(filters)) for t in image["RepoTags"])
    assert tags() == ["<none>:<none>", "t/x:1", "t/y:1"]
    assert tags(dangling=["true"]) == ["<none>:<none>"] and tags(dangling={"false": True}) == ["t/x:1", "t/y:1"]
    assert tags(label=["l=x"]) == ["t/x:1"] and tags(label={"l": True}) == ["t/x:1", "t/y:1"] and tags(label=["l=z"]) == []
    assert tags(reference=["t/x"]) == ["t/x:1"] and tags(reference=["t/*"]) == ["t/x:1", "t/y:1"] and tags(reference=["*"]) == []
    assert tags(since=["t/x:1"]) == ["<none>:<none>"]
    assert store.fails("list", '{"bogus":["1"]}') == "invalid: invalid filter 'bogus'"
    assert store.fails("list", '{"dangling":["2"]}') == "invalid: invalid filter 'dangling=[2]'"
    out = store.json("prune")
    assert len(out["ImagesDeleted"]) == 2 and out["SpaceReclaimed"] == 100 and len(store.json("list")) == 2
    assert len(store.json("prune", '{"dangling":["false"],"label":["l=x"]}')["ImagesDeleted"]) == 3
    assert tags() == ["t/y:1"]


def test_import_changes(store):
    changes = ['CMD ["a","b"]', "ENTRYPOINT x y", "ENV A=b C='d e'", "ENV A=c", "EXPOSE 80 53/udp", "LABEL k=v", "USER bob",
               "WORKDIR /w", 'VOLUME ["/v"]', "STOPSIGNAL SIGINT"]
    out, err = store.run("import", "t/i", json.dumps(changes), data=gzip.compress(BASE))
    info = store.json("inspect", out.strip())
    assert info["RepoTags"] == ["t/i:latest"] and info["Comment"] == "Imported from -"
    config = {k: v for k, v in info["Config"].items() if v}
    assert config == {"Cmd": ["a", "b"], "Entrypoint": ["/bin/sh", "-c", "x y"], "Env": ["A=c", "C=d e"],
                      "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Labels": {"k": "v"}, "User": "bob", "WorkingDir": "/w",
                      "Volumes": {"/v": {}}, "StopSignal": "SIGINT"}
    assert store.fails("import", "t/i", '["FROM x"]', data=BASE) == "invalid: FROM is not a valid change command"


def test_erofs(store):
    store.run("load", data=im.docker_archive(["t/e:1"], [BASE, OVER]))
    path = store.run("erofs", "t/e:1")[0].strip()
    assert path.endswith("/image.erofs") and path == store.run("erofs", "t/e:1")[0].strip()
    listing = subprocess.run(["dump.erofs", "-s", path], capture_output=True, text=True, check=True).stdout
    assert "Filesystem" in listing
    mounted = os.path.join(store.root, "mnt")
    os.mkdir(mounted)
    look = 'mount -t erofs -o ro,loop "$0" "$1" && cd "$1" && cat etc/a && ls etc opaque && stat -c %h etc/a'
    done = subprocess.run(["unshare", "-m", "sh", "-c", look, path, mounted], capture_output=True, text=True)
    if done.returncode == 0:
        assert done.stdout == "newetc:\na\nb\n\nopaque:\nshown\n2\n", done
    store.run("load", data=im.docker_archive(["t/f:1"], [BASE]))
    assert store.run("erofs", "t/f:1")[0].strip() == os.path.dirname(store.top("t/f:1")) + "/image.erofs"
    assert os.listdir(store.root + "/tmp/images") == []


def test_base(store):
    store.run("base", im.BUSYBOX)
    first = store.json("inspect", "silo/base")
    assert first["Config"]["Cmd"] == ["sh"] and first["RepoTags"] == ["silo/base:latest"]
    store.run("base", im.BUSYBOX)
    store.run("rmi", "silo/base")
    store.run("base", im.BUSYBOX)
    assert store.json("inspect", "silo/base")["Id"] == first["Id"]
    top = store.top("silo/base")
    assert os.lstat(top + "/tmp").st_mode & 0o7777 == 0o1777 and os.lstat(top + "/root").st_mode & 0o7777 == 0o700
    assert subprocess.run(["chroot", top, "sh", "-c", "echo $((1+1))"], capture_output=True, check=True).stdout == b"2\n"


def test_concurrent_loads(store):
    store.run("list")
    data = im.oci_layout("t/p:1", [BASE, OVER, im.layer([im.entry("big", data=os.urandom(1 << 20))])])
    # In one process as threads: separate processes would take each other's work directory for a leftover.
    out = store.run("load-twice", data=data, code=None)
    assert "Loaded image" in out[0], out
    assert len(store.layers()) == 3 and os.listdir(store.root + "/tmp/images") == []


@pytest.mark.parametrize("after_ms", [1, 3, 6, 10, 15, 22, 30, 40, 60])
def test_killed(store, after_ms):
    """kill -9 at several moments: the next open finds a consistent store, and the same load works."""
    data = im.oci_layout("t/k:1", [BASE, OVER, im.layer([im.entry(f"f{i}", data=os.urandom(1000)) for i in range(3000)])])
    child = subprocess.Popen([DRIVER, store.root, UNPACK, "load"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    timer = threading.Timer(after_ms / 1000, lambda: os.kill(child.pid, signal.SIGKILL))
    timer.start()
    try:
        child.stdin.write(data)
        child.stdin.close()
    except BrokenPipeError:
        pass
    child.wait()
    timer.join()
    listed = store.json("list")
    assert len(store.layers()) == (3 if listed else 0)
    if not listed:
        assert os.listdir(store.root + "/blobs/sha256") == []
    store.run("load", data=data)
    assert len(store.json("list")) == 1 and len(store.layers()) == 3
    assert os.listdir(store.root + "/tmp/images") == []


def test_second_process(store):
    """Two engines on one root would take each other's work for leftovers: the second is refused."""
    child = subprocess.Popen([DRIVER, store.root, UNPACK, "load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # It has asked for the archive: it has opened the store.
    child.stdin.write(b"\0" * (1 << 20))
    child.stdin.flush()
    assert "is in use by another process" in store.fails("list")
    child.stdin.close()
    child.wait()
    store.run("list")


def test_case_33_power_cut(store):
    """What another boot hadn't written to disk goes, with all that is built on it; the rest stays."""
    store.run("load", data=im.oci_layout("t/a:1", [BASE]))
    store.run("load", data=im.oci_layout("t/b:1", [BASE, OVER]))
    store.run("erofs", "t/a:1")
    store.run("list")  # closing has waited for the writer
    over, base = (os.path.basename(os.path.dirname(d)) for d in store.json("dirs", "t/b:1"))
    with sqlite3.connect(store.root + "/state.db") as db:
        db.execute("INSERT INTO image_pending VALUES('boot/1', ?, 0)", ("sha256:" + over,))
        db.execute("INSERT INTO image_pending VALUES('boot/2', ?, 1)", ("sha256:" + base,))
    db.close()
    assert [i["RepoTags"] for i in store.json("list")] == [["t/a:1"]]
    assert os.listdir(store.root + "/layers") == [base] and os.listdir(store.root + "/layers/" + base) == ["diff"]
    assert len(os.listdir(store.root + "/blobs/sha256")) == 1
    store.run("load", data=im.oci_layout("t/b:1", [BASE, OVER]))
    store.run("erofs", "t/a:1")


def test_retag_by_load(store):
    store.run("load", data=im.docker_archive(["t/a:1"], [BASE]))
    old = store.json("inspect", "t/a:1")["Id"]
    out = store.run("load", data=im.docker_archive(["t/a:1"], [OVER]))[0]
    assert f"The image t/a:1 already exists, renaming the old one with ID {old} to empty string" in out
    assert sorted(i["RepoTags"] for i in store.json("list")) == [["<none>:<none>"], ["t/a:1"]]


def test_missing_helper(store):
    done = subprocess.run([DRIVER, store.root, "/nonexistent", "load"], input=b"", capture_output=True)
    assert done.returncode == 1 and b"No such file" in done.stderr


def test_skopeo(store, tmp_path):
    """What another tool makes of our input loads too."""
    if subprocess.run(["sh", "-c", "command -v skopeo"], capture_output=True).returncode:
        pytest.skip("skopeo isn't installed")
    (tmp_path / "in.tar").write_bytes(im.oci_layout("t/x:1", [BASE, OVER]))
    for form, target in (("docker", f"docker-archive:{tmp_path}/d.tar:t/s:1"), ("oci", f"oci-archive:{tmp_path}/o.tar:t/s:2")):
        subprocess.run(["skopeo", "--insecure-policy", "copy", f"oci-archive:{tmp_path}/in.tar", target], check=True,
                       capture_output=True)
        out = store.run("load", data=(tmp_path / (form[0] + ".tar")).read_bytes())[0]
        assert "Loaded image" in out
    assert len(store.layers()) == 2
