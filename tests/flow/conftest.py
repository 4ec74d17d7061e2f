# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures: one engine for the session, every test in both isolation modes unless it says otherwise."""
import itertools
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from engine import BUILD, Engine, Watch, until  # noqa: E402
from terminal import Terminal  # noqa: E402

MODES = os.environ.get("SILO_FLOW_MODES", "process,hyperv").split(",")
BASE = "silo/base"
counter = itertools.count(1)


def pytest_generate_tests(metafunc):
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", MODES)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what silod said during the test."""
    outcome = yield
    report = outcome.get_result()
    engine = item.funcargs.get("engine") if hasattr(item, "funcargs") else None
    if report.failed and engine:
        report.sections.append(("silod", engine.log()[getattr(item, "log_start", 0) :][-4000:]))


@pytest.fixture(scope="session")
def vm_dir():
    place = Path(os.environ.get("SILO_VM_DIR", BUILD / "vm"))
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture(scope="session")
def session_engine(vm_dir):
    engine = Engine(vm_dir).start()
    engine.watch = Watch(engine)
    yield engine
    engine.remove_containers()
    ids = {e["Actor"]["ID"] for e in engine.watch.events if e["Type"] == "container"}
    engine.watch.close()
    try:
        engine.assert_clean(ids)
        # One connection is one thread and some descriptors: none of them outlives its client.
        until("silod has closed what its clients left",
              lambda: len(os.listdir(f"/proc/{engine.process.pid}/fd")) < 64, 15)
    finally:
        engine.stop()
        engine.remove()


@pytest.fixture
def engine(session_engine, request):
    """The session's engine, without containers; after the test nothing of its containers is left on the host."""
    seen = len(session_engine.watch.events)
    request.node.log_start = len(session_engine.log())
    yield session_engine
    ids = set(session_engine.remove_containers())
    ids |= {e["Actor"]["ID"] for e in session_engine.watch.events[seen:] if e["Type"] == "container"}
    session_engine.assert_clean(ids)


@pytest.fixture
def docker(engine):
    return engine.docker


@pytest.fixture
def run(engine, mode):
    """docker run in the test's mode: run("-d", "sleep", ...) with the image put in by the caller."""
    return lambda *args, **kwargs: engine.docker("run", f"--isolation={mode}", *args, **kwargs)


@pytest.fixture
def name():
    return f"flow{next(counter)}"


@pytest.fixture
def sleeper(engine, run, name):
    """A running container; returns its name."""
    run("-d", "--name", name, BASE, "sleep", "1000")
    return name


@pytest.fixture
def terminal(engine):
    opened = []

    def open_terminal(*args, **kwargs):
        opened.append(Terminal(engine, *args, **kwargs))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


@pytest.fixture
def own_engine(vm_dir):
    """A factory of engines that a test may kill; each is removed with all its containers."""
    engines = []

    def make(*arguments, start=True, **kwargs):
        engine = Engine(kwargs.pop("vm_dir", vm_dir), *arguments, **kwargs)
        engines.append(engine)
        return engine.start() if start else engine

    yield make
    for engine in engines:
        if engine.process and engine.process.poll() is None:
            ids = engine.remove_containers()
            engine.assert_clean(ids)
            engine.stop()
        engine.remove()
