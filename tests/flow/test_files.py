# SPDX-License-Identifier: LGPL-2.1-or-later
"""What crosses the boundary as a file: POSIX meaning, locks, unix sockets."""
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest
from conftest import BASE
from engine import BUILD, until

PROBE = BUILD / "tests/file-probe"


@pytest.fixture
def shared(engine, name):
    place = engine.top / f"files-{name}"
    place.mkdir()
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def probe(run):
    """Run the probe in a container with these options: probe(options, "posix", "/p")."""
    return lambda options, *command, **kwargs: run("--rm", "-i", "--network", "none", "-v", f"{PROBE}:/probe:ro", *options, BASE,
                                                   "/probe", *command, **kwargs)


# --- POSIX -------------------------------------------------------------------------------------------------------------

# What a share of a virtual machine can't do, see docs/architecture.md. Whatever isn't named here works in both modes.
NOT_IN_A_VM = {"change when unlinked", "nanoseconds", "fifo", "socket"}


def test_posix_of_binds(probe, mode, shared):
    (shared / "many").mkdir()
    for i in range(10000):
        os.mknod(shared / "many" / f"name-{i}")
    lines = probe(["-v", f"{shared}:/p"], "posix", "/p").out.splitlines()
    answers = dict(line.split(": ") for line in lines)
    assert len(answers) == 18
    assert {k for k, v in answers.items() if v != "yes"} == (NOT_IN_A_VM if mode == "hyperv" else set())


def test_locks(engine, run, probe, mode, shared, name):
    """Between processes of one container in both modes; between containers and with the host in process mode only."""
    run("-d", "-i", "--name", name, "--network", "none", "-v", f"{PROBE}:/probe:ro", "-v", f"{shared}:/p", BASE, "/probe", "hold",
        "/p/lock")
    until("it is held", lambda: engine.docker("logs", name).out == "held\n")
    busy, free = "flock busy, fcntl busy\n", "flock free, fcntl free\n"
    assert engine.docker("exec", name, "/probe", "locks", "/p/lock").out == busy
    elsewhere = free if mode == "hyperv" else busy
    assert probe(["-v", f"{shared}:/p"], "locks", "/p/lock").out == elsewhere
    assert subprocess.run([PROBE, "locks", shared / "lock"], capture_output=True, text=True, check=True).stdout == elsewhere


# --- sockets -----------------------------------------------------------------------------------------------------------


class Server:
    """A unix socket of the host: each connection is handled by a thread of its own."""

    def __init__(self, path, handle):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        os.chmod(path, 0o666)
        self.socket.listen(128)
        self.handle, self.seen = handle, []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.seen.append(connection)
            threading.Thread(target=self.talk, args=[connection], daemon=True).start()

    def talk(self, connection):
        try:
            self.handle(connection)
        except OSError:
            pass  # the client has left
        connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)
        for connection in self.seen:
            connection.close()


@pytest.fixture
def serve(shared):
    servers = []

    def start(handle):
        servers.append(Server(shared / f"s{len(servers)}", handle))
        return shared / f"s{len(servers) - 1}"

    yield start
    for server in servers:
        server.close()


def receive_all(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_socket_half_close(probe, mode, serve):
    """The last word of the client, then the answer: both mounts of the same kind."""
    path = serve(lambda c: c.sendall(b"got " + hashlib.sha256(receive_all(c)).hexdigest().encode()))
    data = os.urandom(3 << 20)
    for how in (["-v", f"{path}:/s"], ["--mount", f"type=npipe,source={path},target=/s"]):
        assert probe(how, "talk", "/s", stdin=data).out == "got " + hashlib.sha256(data).hexdigest()


def test_socket_carries_much_back(probe, mode, serve):
    data = os.urandom(1 << 20) * 5
    assert probe(["-v", f"{serve(lambda c: c.sendall(data))}:/s"], "talk", "/s").raw == data


def test_many_connections(probe, mode, serve):
    def echo(connection):
        connection.sendall(connection.recv(64))
        connection.recv(1)  # the end

    assert probe(["-v", f"{serve(echo)}:/s"], "many", "/s", "200").out == "200\n"


def test_peer_is_the_user_inside(probe, mode, serve):
    """A server that asks the kernel who is there isn't told the monitor's own name."""
    def who(connection):
        _, uid, gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        connection.sendall(f"{uid}:{gid}".encode())

    path = serve(who)
    assert probe(["-v", f"{path}:/s", "-u", "1234:567"], "talk", "/s").out == "1234:567"
    assert probe(["-v", f"{path}:/s"], "talk", "/s").out == "0:0"
    os.chmod(path, 0o600)
    result = probe(["-v", f"{path}:/s", "-u", "1234:567"], "talk", "/s", code=1)
    assert "Permission denied" in result.err


def test_nobody_listens(probe, mode, shared):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(shared / "s"))
    result = probe(["-v", f"{shared}/s:/s"], "talk", "/s", code=None)
    assert result.out == ""
    if mode == "process":
        assert "Connection refused" in result.err


def test_client_that_leaves(engine, run, mode, serve, name):
    """A killed client is seen as such by the server, which waits for it; a server that doesn't read blocks nobody else."""
    left, stuck = threading.Event(), threading.Event()

    def watch(connection):
        connection.sendall(b"hello\n")
        connection.recv(1)
        left.set()

    slow, path = serve(lambda c: stuck.wait(60)), serve(watch)
    run("-d", "-i", "--name", name, "--network", "none", "-v", f"{PROBE}:/probe:ro", "-v", f"{path}:/s", "-v", f"{slow}:/slow", BASE,
        "sleep", "1000")
    engine.docker("exec", "-d", name, "sh", "-c", "/probe talk /slow < /dev/zero")
    engine.docker("exec", "-d", name, "sh", "-c", "sleep 1000 | /probe talk /s > /out")
    until("the greeting has come", lambda: engine.docker("exec", name, "cat", "/out", code=None).out == "hello\n")
    engine.docker("exec", name, "killall", "file-probe", "probe", code=None)
    until("the server has noticed", left.is_set)
    stuck.set()


def test_datagrams_are_refused(engine, shared):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(shared / "s"))
        result = engine.docker("run", "--rm", "--isolation=hyperv", "-v", f"{shared}/s:/dev/log", BASE, "true", code=None)
        assert result.code != 0 and "a datagram socket can't be forwarded into a virtual machine" in result.err
