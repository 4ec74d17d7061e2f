# SPDX-License-Identifier: LGPL-2.1-or-later
"""The isolation matrix: what of the host and of other containers can be seen, in both modes, and what each way of piercing
the boundary shares. isolation-probe leaves marks in one place and looks for them in another; that it sees its own is the
control. docs/isolation.md has the tables, between markers; script/isolation-doc writes them, the last test compares."""
import io
import os
import re
import signal
import socket
import subprocess
import tarfile
import uuid
from pathlib import Path

import pytest
from conftest import MODES
from engine import BUILD, TOP, until

IMAGE = "flow/matrix"
PROBE = BUILD / "tests/isolation-probe"
BUSYBOX = next(p for p in ("/bin/busybox", "/usr/bin/busybox", "/usr/lib/silo/busybox") if os.path.exists(p))
DOC = TOP / "docs/isolation.md"
HOST_USER = "games"  # of the host's /etc/passwd, not of the image's

ROWS = [("file", "file system"), ("process", "processes"), ("thread", "threads"), ("port", "network ports (loopback)"),
        ("abstract", "abstract unix sockets"), ("sysv", "System V shared memory"), ("mqueue", "POSIX message queues"),
        ("memory", "POSIX shared memory"), ("hostname", "host name"), ("user", "users (names)"),
        ("device", "devices (kernel's log)"), ("kernel", "kernel"), ("time", "clock: setting it")]
ALL = {row[0] for row in ROWS if row[0] != "time"}
COLUMNS = ["host → container", "container → host", "container ↔ container"]
# What is seen although nobody asked for it: one kernel, and the host sees all that runs on it.
SEEN = {"process": [{"kernel"}, {"kernel", "process", "thread"}, {"kernel"}], "hyperv": [set(), set(), set()]}
PROVED = {}


@pytest.fixture(scope="module")
def image(session_engine):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        t.add(BUSYBOX, "bin/busybox")
        t.add(PROBE, "bin/probe")
        for name in ("etc", "tmp", "run"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            t.addfile(info)
        for tool in ("sh", "cat", "date", "grep"):
            info = tarfile.TarInfo(f"bin/{tool}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            t.addfile(info)
    session_engine.docker("import", "-", IMAGE, stdin=tar.getvalue())
    yield IMAGE
    session_engine.remove_containers()
    session_engine.docker("rmi", IMAGE, code=None)


def port_of(token):
    value = 2166136261
    for byte in token.encode():
        value = (value ^ byte) * 16777619 % 2**32
    return 20000 + value % 10000


class Host:
    """The host as a place to leave marks and to look for them. Its network is the engine's."""

    def __init__(self, engine, top):
        self.engine, self.files, self.socket = engine, top, top / "probe.sock"
        self.token = "host-" + uuid.uuid4().hex[:8]
        self.environment = dict(os.environ, PROBE_FILES=str(top), PROBE_SOCKET=str(self.socket))
        self.process = subprocess.Popen([*engine.enter(), PROBE, "plant", self.token], pass_fds=[engine.namespace],
                                        env=self.environment)
        self.tokens = {self.token: "host", socket.gethostname(): "host", HOST_USER: "host",
                       Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(): "host"}
        until("the host's marks are there", lambda: ALL | {"socket"} <= self.look(self.tokens).get("host", set()))

    def look(self, tokens):
        out = self.engine.command(PROBE, "look", *tokens, env=self.environment)
        return by_origin(out, tokens)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def by_origin(out, tokens):
    seen = {}
    for line in out.splitlines():
        token, mark = line.rsplit(" ", 1)
        seen.setdefault(tokens[token], set()).add(mark)
    return seen


class Box:
    """A container that leaves marks; its token is its host name and one of its users, too."""

    def __init__(self, engine, mode, *options, network="none", files="/tmp"):
        self.engine, self.token = engine, "mark-" + uuid.uuid4().hex[:8]
        script = f"echo {self.token}:x:9:9::/:/bin/sh >> /etc/passwd; exec probe plant {self.token}"
        self.id = engine.docker("run", "-d", f"--isolation={mode}", "--network", network, "--hostname", self.token,
                                "-e", f"PROBE_FILES={files}", *options,
                                IMAGE, "sh", "-c", script).line
        boot = engine.docker("exec", self.id, "cat", "/proc/sys/kernel/random/boot_id").line
        self.tokens = {self.token: "box", boot: "box"}
        until("the container's marks are there", lambda: ALL - {"device"} <= self.look(self.tokens).get("box", set()))

    def look(self, tokens):
        return by_origin(self.engine.docker("exec", self.id, "probe", "look", *tokens).out, tokens)


@pytest.fixture
def host(engine, tmp_path):
    place = Host(engine, tmp_path)
    yield place
    place.end()


def clock(engine, box=None):
    return int(engine.docker("exec", box.id, "date", "+%s").line) if box else int(engine.command("date", "+%s"))


def set_clock(engine, mode, box):
    """Try to move the clock by a year."""
    year = 365 * 86400
    done = engine.docker("exec", box.id, "date", "-s", f"@{clock(engine) + year}", code=None)
    assert ("not permitted" in done.err) == (mode == "process"), done
    return clock(engine, box) - clock(engine) > year / 2


def test_isolated(engine, mode, image, host):
    # One may set the clock, where that isn't the host's.
    boxes = [Box(engine, mode, *(["--cap-add=SYS_TIME"] if mode == "hyperv" else [])), Box(engine, mode)]
    names = [host.tokens, boxes[0].tokens, boxes[1].tokens]
    everything = {token: i for i, tokens in enumerate(names) for token in tokens}
    if mode == "process":  # one kernel: the same token, whoever it is of
        everything = {token: 3 if "-" in token and token.count("-") == 4 else i for token, i in everything.items()}
    seen = [place.look(everything) for place in (host, *boxes)]
    shared = {"kernel"} if mode == "process" else set()
    for i, place in enumerate(seen):
        own = ALL - shared - (set() if i == 0 else {"device"})
        assert own <= place[i], f"the probe sees its own marks: {i}"
        assert not shared or shared <= place[3]
    # directions: the host's marks in a container, a container's on the host, one container's in the other
    found = [seen[1].get(0, set()) | seen[2].get(0, set()) | shared, seen[0].get(1, set()) | seen[0].get(2, set()) | shared,
             seen[1].get(2, set()) | seen[2].get(1, set()) | shared]
    assert [place - {"socket"} for place in found] == SEEN[mode]

    moved = set_clock(engine, mode, boxes[0])
    assert moved == (mode == "hyperv"), "the control: where a clock of its own is, setting it works"
    assert abs(clock(engine) - clock(engine, boxes[1])) < 300, "neither the host's nor another container's clock has moved"
    PROVED[mode] = found


def test_users_on_the_host(engine, mode, image):
    """Numbers of users: a container's root is the host's root without most of its powers; a virtual machine is nobody."""
    box = Box(engine, mode)
    pid = engine.inspect(box.id)["State"]["Pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        uid = int(re.search(r"Uid:\s+(\d+)", status.read()).group(1))
    assert (uid == 0) == (mode == "process")


# --- piercing: what is asked for, whose marks come through (of the host or of the donor X), in process and in hyperv.
# Exactly these; a text: refused with it.
OWN_KERNEL = " is not possible with hyperv isolation: the container has a kernel of its own"
PIERCE = [
    ("`-v DIR:/tmp`", ["-v", "{files}:/tmp"], "host", {"file"}, {"file"}),
    ("`--mount type=npipe,source=SOCKET`", ["-e", "PROBE_SOCKET=/run/s", "--mount", "type=npipe,source={socket},target=/run/s"],
     "host", {"socket"}, {"socket"}),
    ("`-v VOLUME:/volume`, twice", ["-e", "PROBE_FILES=/volume", "-v", "{volume}:/volume"], "X", {"file"}, {"file"}),
    ("`--network=host`", ["--network=host"], "host", {"port", "abstract", "hostname"},
     "host network is not possible with hyperv isolation: a virtual machine has its own network stack"),
    ("`--ipc=host`", ["--ipc=host"], "host", {"sysv", "mqueue", "memory"}, "--ipc=host" + OWN_KERNEL),
    ("`--ipc=container:X`", ["--ipc=container:{X}"], "X", {"sysv", "mqueue", "memory"}, "--ipc=container:{X}" + OWN_KERNEL),
    ("`--pid=host`", ["--pid=host"], "host", {"process", "thread"}, "--pid=host" + OWN_KERNEL),
    ("`--pid=container:X`", ["--pid=container:{X}"], "X", {"process", "thread"}, "--pid=container:{X}" + OWN_KERNEL),
    ("`--uts=host`", ["--uts=host"], "host", {"hostname"}, "--uts=host" + OWN_KERNEL),
    ("`--userns=host`", ["--userns=host"], "host", set(), "--userns=host" + OWN_KERNEL),
    ("`--device-cgroup-rule='c 1:11 rwm' --cap-add=SYSLOG`", ["--device-cgroup-rule=c 1:11 rwm", "--cap-add=SYSLOG"], "host",
     {"device"}, set()),
    ("`--privileged`", ["--privileged"], "host", {"device"}, set()),
]


def pierce(engine, mode, host, donor, case):
    title, options, origin, process, hyperv = case
    words = {"files": str(host.files), "socket": str(host.socket), "volume": f"matrix-{mode}", "X": donor.id}
    expected = process if mode == "process" else hyperv
    options = [option.format(**words) for option in options]
    network = [] if any("--network" in option for option in options) else ["--network=none"]
    tokens = {**{token: "host" for token in host.tokens}, **{token: "X" for token in donor.tokens}}
    if mode == "process":
        tokens = {token: "kernel" if token.count("-") == 4 else origin for token, origin in tokens.items()}
    done = engine.docker("run", "--rm", f"--isolation={mode}", *network, *options, IMAGE, "probe", "look", *tokens, code=None)
    if isinstance(expected, str):
        assert done.code == 125 and expected.format(**words) in done.err, (title, done)
        return "refused"
    assert done.code == 0, (title, done)
    seen = by_origin(done.out, tokens)
    others = {key: value for key, value in seen.items() if key not in (origin, "kernel")}
    if options == ["--pid=host"]:  # the host's view: the donor's processes are among them
        assert others.pop("X") == {"process", "thread"}
    assert seen.get(origin, set()) == expected and not others, (title, done)
    names = {**dict(ROWS), "socket": "the socket", "file": "the files"}
    return ", ".join(names[mark].split(" (")[0] for mark in sorted(expected)) or "nothing of the host"


def test_pierced(engine, mode, image, host):
    volume = f"matrix-{mode}"
    donor = Box(engine, mode, "-v", f"{volume}:/volume", *(["--ipc=shareable"] if mode == "process" else []), files="/volume")
    token = "own-" + uuid.uuid4().hex[:8]
    script = f"probe plant {token} & until probe look {token} | grep -q device; do :; done; echo seen"
    try:
        seen = engine.docker("run", "--rm", f"--isolation={mode}", "--privileged", IMAGE, "sh", "-c", script)
        assert seen.line == "seen", "the control: there the probe sees its own mark"
        PROVED[mode, "pierced"] = [pierce(engine, mode, host, donor, case) for case in PIERCE]
    finally:
        engine.remove_containers()
        engine.docker("volume", "rm", "-f", volume)


def test_published_port(engine, mode, image, host):
    """Closed before, open after; nothing else comes with it."""
    closed = Box(engine, mode, network="bridge")
    assert host.look({closed.token: "box"}).get("box", set()) - {"process", "thread"} == set()
    token = "port-" + uuid.uuid4().hex[:8]
    port = port_of(token)
    engine.docker("run", "-d", f"--isolation={mode}", "-p", f"{port}:{port}", IMAGE, "probe", "plant", token)
    until("the port is reached", lambda: "port" in host.look({token: "box"}).get("box", set()))
    assert host.look({token: "box"})["box"] - {"process", "thread"} == {"port"}
    PROVED[mode, "port"] = True


def test_joined_network(engine, image, host):
    donor = Box(engine, "process")
    done = engine.docker("run", "--rm", "--isolation=process", f"--network=container:{donor.id}", IMAGE, "probe", "look", donor.token)
    assert by_origin(done.out, {donor.token: "X"})["X"] == {"port", "abstract", "hostname"}


# --- the document

def tables():
    lines = ["| | " + " | ".join(f"{mode}: {column}" for mode in ("process", "hyperv") for column in COLUMNS) + " |",
             "|---" * 7 + "|"]
    for mark, title in ROWS:
        cells = ["**visible**" if mark in PROVED[mode][i] else "isolated" for mode in ("process", "hyperv") for i in range(3)]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "| asked for | process: shared are | hyperv: shared are |", "|---|---|---|"]
    for i, case in enumerate(PIERCE):
        lines.append(f"| {case[0]} | {PROVED['process', 'pierced'][i]} | {PROVED['hyperv', 'pierced'][i]} |")
    lines.append("| `-p PORT:PORT` | this port | this port |")
    return "\n".join(lines)


def test_document():
    """What docs/isolation.md says is what the tests above have proved."""
    if not all(key in PROVED for mode in ("process", "hyperv") for key in (mode, (mode, "pierced"), (mode, "port"))):
        assert set(MODES) != {"process", "hyperv"} or not PROVED, "a test above has failed"
        pytest.skip("only with all tests of the matrix, in both modes")
    text = DOC.read_text(encoding="utf-8")
    print(tables())
    wanted = re.sub(r"(<!-- matrix -->\n).*(\n<!-- end of matrix -->)", lambda m: m.group(1) + tables() + m.group(2), text,
                    flags=re.DOTALL)
    if os.environ.get("SILO_MATRIX_WRITE"):
        DOC.write_text(wanted, encoding="utf-8")
    else:
        assert text == wanted, "run script/isolation-doc"
