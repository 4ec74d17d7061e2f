# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 of the engine in the middle of what changes the store (security cases 32, 33): the next start finds it
consistent and has removed what was left. SILO_KILL_ROUNDS: how many random moments for each operation (50 before a
release; the suite takes a few)."""
import os
import random
import sqlite3
import subprocess
import threading

import pytest
from conftest import BASE
from engine import Engine
from images import busybox_entries, docker_archive, entry, layer
from registries import RealRegistry

ROUNDS = int(os.environ.get("SILO_KILL_ROUNDS", "2"))
MANY = [entry(f"many/{i}", data=os.urandom(2000)) for i in range(1500)]
ARCHIVE = docker_archive(["flow/kill:1"], [layer(busybox_entries()), layer(MANY)])


def check(engine):
    """Every layer and blob of the database is there, and nothing else."""
    db = sqlite3.connect(f"file:{engine.root}/state.db?mode=ro", uri=True)
    try:
        rows = db.execute("SELECT chain, blob FROM image_layers").fetchall()
        used = {r[0] for r in db.execute("SELECT chain FROM image_uses")}
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not db.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        db.close()
    assert {r[0] for r in rows} == used
    assert set(os.listdir(engine.root / "layers")) == {chain[7:] for chain, _ in rows}
    assert set(os.listdir(engine.root / "blobs/sha256")) == {blob[7:] for _, blob in rows}
    assert os.listdir(engine.root / "tmp/images") == []
    for image in engine.docker("images", "-aq", "--no-trunc").out.split():
        engine.docker("image", "inspect", image)


@pytest.fixture(scope="module")
def loaded(vm_dir):
    engine = Engine(vm_dir).start()
    engine.docker("load", stdin=ARCHIVE)
    engine.docker("create", "--isolation=process", "--name", "killed", BASE, "true")
    engine.docker("cp", "-", "killed:/", stdin=layer(MANY))
    yield engine
    engine.assert_clean(engine.remove_containers())
    engine.stop()
    engine.remove()


@pytest.fixture(autouse=True)
def image(loaded):
    """Each test finds the image under its name."""
    loaded.docker("load", "-q", stdin=ARCHIVE)


def interrupt(engine, seconds, *args, stdin=None):
    """Run a command of the CLI and kill the engine at a random moment of it."""
    output = subprocess.DEVNULL  # nobody reads it: it must not wait for that
    child = engine.popen(*args, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=output, stderr=output)
    feeder = threading.Thread(target=feed, args=(child, stdin or b""))
    feeder.start()
    try:
        child.wait(timeout=random.uniform(0, seconds))
    except subprocess.TimeoutExpired:
        pass
    engine.kill9()
    child.wait(timeout=60)
    feeder.join()
    engine.start()
    check(engine)


def feed(child, data):
    if not child.stdin:
        return
    try:
        child.stdin.write(data)
        child.stdin.close()
    except OSError:
        pass


def test_kill_in_load(loaded):
    for _ in range(ROUNDS):
        loaded.docker("rmi", "-f", "flow/kill:1", code=None)
        interrupt(loaded, 0.4, "load", stdin=ARCHIVE)


def test_kill_in_commit(loaded):
    for i in range(ROUNDS):
        interrupt(loaded, 0.4, "commit", "killed", f"flow/commit:{i}")
        loaded.docker("image", "prune", "-f")


def test_kill_in_remove(loaded):
    for _ in range(ROUNDS):
        loaded.docker("load", stdin=ARCHIVE)
        interrupt(loaded, 0.15, "rmi", "flow/kill:1")


def test_kill_in_save(loaded):
    """Nothing is written by it: what was cut off isn't an archive, and the image is as it was."""
    for _ in range(ROUNDS):
        interrupt(loaded, 0.2, "save", "flow/kill:1")
    assert loaded.docker("save", "flow/kill:1").raw


def test_kill_in_copy(loaded):
    """A copy that was cut off leaves a container that can be copied from, written to and started."""
    for _ in range(ROUNDS):
        interrupt(loaded, 0.3, "cp", "-", "killed:/", stdin=layer(MANY))
        assert len(loaded.docker("cp", "killed:/bin/busybox", "-").raw) > 100000
    loaded.docker("cp", "-", "killed:/", stdin=layer(MANY))
    loaded.docker("start", "-a", "killed")


def test_kill_in_push_and_pull(loaded, tmp_path):
    registry = RealRegistry(loaded, tmp_path / "registry")
    name = f"{registry.name}/flow/kill:1"
    try:
        loaded.docker("tag", "flow/kill:1", name)
        for _ in range(ROUNDS):
            interrupt(loaded, 0.5, "push", name)
        loaded.docker("push", name)
        loaded.docker("rmi", "flow/kill:1")
        for _ in range(ROUNDS):
            loaded.docker("rmi", "-f", name, code=None)
            interrupt(loaded, 0.6, "pull", name)
        loaded.docker("pull", name)
        assert loaded.docker("run", "--rm", "--isolation=process", name, "echo", "whole").line == "whole"
    finally:
        registry.close()


def test_kill_in_build(loaded, tmp_path):
    (tmp_path / "many").write_bytes(os.urandom(2000000))
    (tmp_path / "Dockerfile").write_text("FROM flow/kill:1\nCOPY many /\nRUN touch /made\n")
    for i in range(ROUNDS):
        (tmp_path / "many").write_bytes(os.urandom(2000000))
        interrupt(loaded, 3, "build", "-q", "-t", f"flow/built:{i}", tmp_path)
    loaded.docker("build", "-q", "-t", "flow/built:whole", tmp_path)
    assert loaded.docker("run", "--rm", "--isolation=process", "flow/built:whole", "ls", "/made").line == "/made"
