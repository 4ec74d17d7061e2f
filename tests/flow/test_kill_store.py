# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 of the engine in the middle of what changes the store (security cases 32, 33): the next start finds it
consistent and has removed what was left. SILO_KILL_ROUNDS: how many random moments for each operation (50 before a
release; the suite takes a few)."""
import os
import random
import sqlite3

import pytest
from conftest import BASE
from images import busybox_entries, docker_archive, entry, layer

ROUNDS = int(os.environ.get("SILO_KILL_ROUNDS", "3"))
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


@pytest.fixture
def loaded(own_engine):
    engine = own_engine()
    engine.docker("load", stdin=ARCHIVE)
    engine.docker("create", "--isolation=process", "--name", "killed", BASE, "true")
    engine.docker("cp", "-", "killed:/", stdin=layer(MANY))
    return engine


def interrupt(engine, seconds, *args, stdin=None):
    """Run a command of the CLI and kill the engine at a random moment of it."""
    child = engine.popen(*args, stdin=-1 if stdin else None)
    if stdin:
        import threading
        feeder = threading.Thread(target=lambda: feed(child, stdin))
        feeder.start()
    try:
        child.wait(timeout=random.uniform(0, seconds))
    except Exception:
        pass
    engine.kill9()
    child.wait(timeout=60)
    if stdin:
        feeder.join()
    engine.start()
    check(engine)


def feed(child, data):
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


def test_kill_in_copy(loaded):
    """A copy that was cut off leaves a container that can be copied from, written to and started."""
    for _ in range(ROUNDS):
        interrupt(loaded, 0.3, "cp", "-", "killed:/", stdin=layer(MANY))
        assert len(loaded.docker("cp", "killed:/bin/busybox", "-").raw) > 100000
    loaded.docker("cp", "-", "killed:/", stdin=layer(MANY))
    loaded.docker("start", "-a", "killed")
