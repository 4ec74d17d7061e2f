# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker save: read by Silo again, by skopeo, and made of skopeo's archives; parents of committed images."""
import io
import json
import shutil
import subprocess
import tarfile

import pytest
from conftest import BASE
from images import busybox_entries, digest, docker_archive, entry, layer

SHARED = layer(busybox_entries())
OWN = [layer([entry("etc/which", data=b"first\n")]), layer([entry("etc/which", data=b"second\n")])]


@pytest.fixture
def images(engine):
    """Two images that share a layer."""
    names = ["flow/save:a", "flow/save:b"]
    for name, own in zip(names, OWN):
        engine.docker("load", stdin=docker_archive([name], [SHARED, own]))
    yield names
    engine.remove_containers()
    for name in names:
        engine.docker("rmi", "-f", name, code=None)


def contents(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


def ids(engine, names):
    return [json.loads(engine.docker("image", "inspect", n).out)[0]["Id"] for n in names]


def test_both_forms_in_one(engine, images):
    data = engine.docker("save", *images).raw
    assert data == engine.docker("save", *images).raw  # the same images, the same bytes
    files = contents(data)
    manifest, index = json.loads(files["manifest.json"]), json.loads(files["index.json"])
    assert sorted(m["RepoTags"][0] for m in manifest) == images
    for m in manifest:
        assert digest(files[m["Config"]]) == "sha256:" + m["Config"].rsplit("/", 1)[1]
        assert [digest(files[p]) for p in m["Layers"]] == list(m["LayerSources"])
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert sorted(d["annotations"]["io.containerd.image.name"] for d in index["manifests"]) == \
        [f"docker.io/{n}" for n in images]
    for d in index["manifests"]:
        assert digest(files["blobs/sha256/" + d["digest"][7:]]) == d["digest"]
    # The layer that both have is there once.
    assert sum(len(v) for k, v in files.items() if k.startswith("blobs/")) < len(SHARED) + 100000
    # A repository without a tag means all its tags; an id has no name.
    assert contents(engine.docker("save", "flow/save").raw)["manifest.json"] == files["manifest.json"]
    by_id = json.loads(contents(engine.docker("save", ids(engine, images)[0]).raw)["manifest.json"])
    assert by_id[0]["RepoTags"] is None


def test_round_trip(engine, run, images, mode):
    before = ids(engine, images)
    data = engine.docker("save", *images).raw
    for name in images:
        engine.docker("rmi", name)
    out = engine.docker("load", stdin=data).out
    assert ids(engine, images) == before and all(f"Loaded image: {n}" in out for n in images)
    assert run("--rm", images[1], "cat", "/etc/which").out == "second\n"


def test_errors(engine, images):
    assert "reference does not exist" in engine.docker("save", "flow/none:x", code=1).err
    err = engine.docker("save", "--platform", "linux/arm64", images[0], code=1).err
    assert "was found but does not provide the specified platform (linux/arm64)" in err


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_skopeo(engine, images, tmp_path):
    """The second implementation reads what we save, and we what it makes of it, with equal digests."""
    def skopeo(*args):
        return subprocess.run(["skopeo", "--insecure-policy", *args], check=True, capture_output=True, timeout=120,
                              env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}).stdout

    before = ids(engine, images)
    saved = tmp_path / "saved.tar"
    engine.docker("save", "-o", str(saved), *images)
    layout = tmp_path / "layout"
    layout.mkdir()
    with tarfile.open(saved) as tar:
        tar.extractall(layout)
    index = {d["annotations"]["org.opencontainers.image.ref.name"]: d["digest"]
             for d in json.loads((layout / "index.json").read_text())["manifests"]}
    seen = json.loads(skopeo("inspect", f"oci:{layout}:a"))
    assert seen["Digest"] == index["a"] and seen["Layers"] == [digest(SHARED), digest(OWN[0])]
    seen = json.loads(skopeo("inspect", f"docker-archive:{saved}:{images[1]}"))
    assert seen["Layers"] == [digest(SHARED), digest(OWN[1])]
    # OCI to OCI keeps manifest and config: the same image.
    copied = tmp_path / "copied.tar"
    skopeo("copy", "--preserve-digests", f"oci:{layout}:a", f"oci-archive:{copied}:{images[0]}")
    engine.docker("rmi", images[0])
    assert f"Loaded image: {images[0]}" in engine.docker("load", "-i", str(copied)).out
    assert ids(engine, images) == before
    assert json.loads(contents(engine.docker("save", images[0]).raw)["index.json"])["manifests"][0]["digest"] == index["a"]
    # docker-archive, written by skopeo.
    other = tmp_path / "other.tar"
    skopeo("copy", f"docker-archive:{saved}:{images[1]}", f"docker-archive:{other}:flow/other:1")
    engine.docker("load", "-i", str(other))
    assert engine.docker("run", "--rm", "--isolation=process", "flow/other:1", "cat", "/etc/which").out == "second\n"
    engine.docker("rmi", "flow/other:1")


@pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed")
def test_podman(engine, images, tmp_path):
    """The same image, by its id, in podman's store and back again in both of its forms."""
    def podman(*args):
        where = ["--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs", "--cgroup-manager",
                 "cgroupfs"]
        return subprocess.run(["podman", *where, *args], check=True, capture_output=True, text=True, timeout=120).stdout

    before = ids(engine, images)
    saved = tmp_path / "saved.tar"
    engine.docker("save", "-o", str(saved), *images)
    podman("load", "-i", saved)
    listed = dict(line.split() for line in podman("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
                  .splitlines())
    assert {name.split("/", 1)[1]: image for name, image in listed.items()} == dict(zip(images, before))
    for form in ("docker-archive", "oci-archive"):
        podman("save", "-q", "--format", form, "-o", tmp_path / form, images[0])
        engine.docker("rmi", "-f", before[0])
        name = engine.docker("load", "-i", tmp_path / form).line.removeprefix("Loaded image: ")  # localhost/..., of podman
        assert name.endswith(images[0])
        assert form == "oci-archive" or ids(engine, [name]) == before[:1]  # podman writes another config for OCI
        assert engine.docker("run", "--rm", "--isolation=process", name, "cat", "/etc/which").out == "first\n"
    engine.docker("rmi", name)


def test_parents(engine):
    """What an image was made from stays as long as it is needed, and goes with it when nothing else keeps it."""
    engine.docker("image", "prune", "-f")  # what other tests left
    before = set(engine.docker("images", "-aq", "--no-trunc").out.split())
    step = BASE
    made = []
    for i in range(3):
        engine.docker("create", "--isolation=process", "--name", f"parent{i}", step, "true")
        engine.docker("cp", "-", f"parent{i}:/", stdin=layer([entry(f"file{i}", data=b"x")]))
        made.append(engine.docker("commit", f"parent{i}").line)
        engine.docker("rm", f"parent{i}")
        step = made[-1]
    engine.docker("tag", made[2], "flow/child:1")
    assert set(engine.docker("images", "-aq", "--no-trunc").out.split()) == before | set(made)
    assert not set(engine.docker("images", "-q", "--no-trunc").out.split()) & set(made[:2])
    err = engine.docker("rmi", "-f", made[0], code=1).err
    assert "(cannot be forced) - image has dependent child images" in err
    assert made[0] not in engine.docker("image", "prune", "-f").out
    out = engine.docker("rmi", "flow/child:1").out
    assert [line for line in out.splitlines() if line[9:] in made] == [f"Deleted: {i}" for i in reversed(made)]
    assert set(engine.docker("images", "-aq", "--no-trunc").out.split()) == before


def test_usage_and_history(engine, images):
    engine.docker("image", "prune", "-f")  # what other tests left
    out = engine.docker("system", "df", "-v").out
    line = [text.split() for text in out.splitlines() if text.startswith("flow/save")][0]
    assert line[-1] == "0" and line[-3] != "0B", line  # containers; shared size
    history = engine.docker("history", "--format", "{{.ID}} {{.Size}}", images[0], "--no-trunc").out.splitlines()
    assert history == [] or history[0].startswith("sha256:")
    engine.docker("builder", "prune", "-f")
    assert "Total reclaimed space: 0B" in engine.docker("builder", "prune", "-f").out


def test_zstd_layer_is_kept(engine):
    """A layer that came compressed is saved as it came."""
    if not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    packed = subprocess.run(["zstd", "-q", "-c"], input=OWN[0], capture_output=True, check=True).stdout
    data = docker_archive(["flow/zstd:1"], [OWN[0]])
    files = contents(data)
    path = json.loads(files["manifest.json"])[0]["Layers"][0]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            text = packed if name == path else text
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    engine.docker("load", stdin=out.getvalue())
    saved = contents(engine.docker("save", "flow/zstd:1").raw)
    source = json.loads(saved["manifest.json"])[0]["LayerSources"][digest(OWN[0])]
    assert source["mediaType"].endswith("+zstd") and source["digest"] == digest(packed)
    assert saved["blobs/sha256/" + source["digest"][7:]] == packed
    engine.docker("rmi", "flow/zstd:1")
