# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private engine for the flow tests: own root, own sockets; driven by the stock docker CLI and by raw HTTP."""
import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SILO_BUILD", TOP / "build"))
DOCKER = os.environ.get("SILO_DOCKER") or shutil.which("docker") or "/usr/bin/docker"
CLONE_NEWNET = 0x40000000
COMMAND_S = 120  # no command of the suite may take longer; an emulated VM starts in some seconds on a busy host


def program(name):
    for place in (BUILD / name, BUILD / "src/cmd" / name):
        if place.exists():
            return str(place)
    raise FileNotFoundError(f"{name} is not built in {BUILD}: run script/build")


def until(what, condition, seconds=60.0):
    """Poll until condition() is true and return its value; fail with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        threading.Event().wait(pause)
        pause = min(pause * 1.5, 0.2)


def process_table():
    """[(pid, ppid, comm, cmdline)] of every process the host sees."""
    table = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                stat = f.read()
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                cmdline = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        comm = stat[stat.index("(") + 1 : stat.rindex(")")]
        ppid = int(stat[stat.rindex(")") + 2 :].split()[1])
        table.append((int(entry), ppid, comm, cmdline))
    return table


def descendants(pid):
    table = process_table()
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        for row in table:
            if row[1] == parent:
                found.append(row)
                todo.append(row[0])
    return found


def in_namespace(namespace, function):
    """Call function in a thread of its own that has entered a network namespace (None: a new one)."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = []

    def work():
        rc = libc.unshare(CLONE_NEWNET) if namespace is None else libc.setns(namespace, CLONE_NEWNET)
        answer.append(OSError(ctypes.get_errno(), "network namespace") if rc else function())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(answer[0], OSError):
        raise answer[0]
    return answer[0]


def new_namespace():
    """A network namespace: its descriptor. It is gone with its last user."""
    return in_namespace(None, lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path, timeout=COMMAND_S):
        super().__init__("docker", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Result:
    """What a command left: code, out, err (text) and raw (bytes of stdout)."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.raw = args, code, out
        self.out, self.err = out.decode(errors="replace"), err.decode(errors="replace")

    def __repr__(self):
        return f"docker {' '.join(map(str, self.args))} -> {self.code}\nstdout: {self.out}\nstderr: {self.err}"

    @property
    def line(self):
        return self.out.strip()


class Engine:
    def __init__(self, vm_dir, *arguments, environment=None):
        self.top = Path(tempfile.mkdtemp(prefix="silo-flow-"))
        self.root, self.exec_root = self.top / "root", self.top / "run"
        self.socket = self.top / "silo.sock"
        self.log_path = self.top / "silod.log"
        self.vm_dir = Path(vm_dir)
        self.arguments = arguments
        self.environment = dict(os.environ, **(environment or {}))
        # No configuration of the user's CLI may change a test.
        (self.top / "docker").mkdir()
        self.cli_environment = dict(os.environ, DOCKER_HOST=f"unix://{self.socket}", TERM="xterm", DOCKER_BUILDKIT="0",
                                    DOCKER_CONFIG=str(self.top / "docker"))
        for name in ("DOCKER_CONTEXT", "DOCKER_API_VERSION", "DOCKER_TLS_VERIFY"):
            self.cli_environment.pop(name, None)
        self.process = None
        # Bridges, rules and ports of a test are not the host's.
        self.namespace = new_namespace()
        self.ip("link", "set", "lo", "up")

    # --- the daemon
    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.enter(), program("silod"), "--root", self.root, "--exec-root", self.exec_root, "--vm-dir", self.vm_dir,
                 "--host", f"unix://{self.socket}", *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True,
                pass_fds=[self.namespace])
        until("silod answers /_ping", self.answers, 60)
        return self

    def enter(self):
        """The beginning of a command that runs in the engine's network namespace (with pass_fds)."""
        return ["nsenter", f"--net=/proc/self/fd/{self.namespace}", "--"]

    def command(self, *args, code=0, **kwargs):
        """A command of the host, in the engine's network namespace: its output."""
        done = subprocess.run([*self.enter(), *map(str, args)], pass_fds=[self.namespace], capture_output=True, text=True,
                              timeout=COMMAND_S, check=False, **kwargs)
        if code is not None:
            assert done.returncode == code, done
        return done.stdout

    def ip(self, *args):
        return self.command("ip", *args)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"silod ended with {self.process.returncode}:\n{self.log()}")
        try:
            return self.http("GET", "/_ping", timeout=5)[0] == 200
        except OSError:
            return False

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Orderly end of silod; what still runs keeps running."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill9()
                raise AssertionError("silod did not end within 30 s of SIGTERM") from None

    def remove(self):
        shutil.rmtree(self.top, ignore_errors=True)
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # --- the stock CLI
    def docker(self, *args, stdin=None, code=0, timeout=COMMAND_S, binary=None):
        """Run the docker CLI; code=None accepts every exit code. stdin: bytes or text; none = /dev/null."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        feed = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run([binary or DOCKER, *map(str, args)], capture_output=True, timeout=timeout,
                              env=self.cli_environment, check=False, **feed)
        result = Result(args, done.returncode, done.stdout, done.stderr)
        if code is not None:
            assert result.code == code, result
        return result

    def popen(self, *args, **kwargs):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
        return subprocess.Popen([DOCKER, *map(str, args)], env=self.cli_environment, **options)

    def inspect(self, ref):
        return json.loads(self.docker("inspect", ref).out)[0]

    def state(self, ref):
        return self.inspect(ref)["State"]

    def template(self, ref, text):
        return self.docker("inspect", "-f", text, ref).line

    # --- raw HTTP
    def http(self, method, path, body=None, headers=None, timeout=COMMAND_S):
        """(status, headers, body: parsed JSON, or bytes where it isn't JSON)."""
        connection = UnixHTTP(self.socket, timeout)
        try:
            headers = dict(headers or {})
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            kind = answer.getheader("Content-Type") or ""
            if data and kind.startswith("application/json"):
                try:
                    data = json.loads(data)
                except ValueError:
                    pass
            return answer.status, dict(answer.getheaders()), data
        finally:
            connection.close()

    def hijack(self, path, body=b"{}", upgrade=True):
        """POST and take over the connection: (status line and headers, socket)."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(COMMAND_S)
        sock.connect(str(self.socket))
        lines = [f"POST {path} HTTP/1.1", "Host: docker", "Content-Type: application/json",
                 f"Content-Length: {len(body)}"]
        if upgrade:
            lines += ["Connection: Upgrade", "Upgrade: tcp"]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = sock.recv(1)
            if not piece:
                break
            head += piece
        return head.decode(), sock

    # --- what is left on the host
    def containers(self):
        return [c["Id"] for c in self.http("GET", "/containers/json?all=1")[2]]

    def remove_containers(self):
        ids = self.containers()
        for container in ids:
            self.http("DELETE", f"/containers/{container}?force=1&v=1")
        return ids

    def leaks(self, ids=()):
        """Everything on the host that belongs to containers of this engine; empty when all are gone."""
        marks = [str(self.exec_root), *ids]
        found = []
        for pid, _, comm, cmdline in process_table():
            if "--standby" in cmdline:  # waits for a container: the engine's, not one of these
                continue
            if pid != self.process.pid and comm != "docker" and any(m in cmdline for m in marks):
                found.append(f"process {pid} {comm}: {cmdline[:100]}")
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as f:
            found += [f"mount {line.split()[4]}" for line in f if str(self.top) in line]
        for base, dirs, _ in os.walk("/sys/fs/cgroup"):
            found += [f"cgroup {base}/{d}" for d in dirs if any(i in d for i in ids)]
        for place in ("containers",):
            for base in (self.root, self.exec_root):
                found += [f"file {p}" for p in (base / place).glob("*") if p.name in ids]
        sockets = in_namespace(self.namespace, lambda: Path("/proc/thread-self/net/unix").read_text(errors="replace"))
        for line in sockets.splitlines():
            if any(i in line for i in ids):
                found.append(f"socket {line.split()[-1]}")
        return found

    def assert_clean(self, ids):
        try:
            until("", lambda: not self.leaks(ids), 20)
        except AssertionError:
            raise AssertionError("left behind:\n" + "\n".join(self.leaks(ids))) from None

    def monitor_pid(self, container_id):
        rows = [r for r in process_table() if r[2].startswith("silo-monitor") and container_id in r[3]]
        assert len(rows) == 1, rows
        return rows[0][0]

    def vmwp_pid(self, container_id):
        rows = [r for r in descendants(self.monitor_pid(container_id)) if r[2] == "vmwp"]
        assert rows, descendants(self.monitor_pid(container_id))
        return rows[0][0]


class Watch:
    """Follows /events from its creation on; records every container id that was created."""

    def __init__(self, engine, query=""):
        self.events, self.lock = [], threading.Condition()
        self.connection = UnixHTTP(engine.socket, None)
        self.connection.request("GET", "/events" + query)
        self.sock = self.connection.sock  # the answer takes it over
        self.answer = self.connection.getresponse()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for line in self.answer:
                if line.strip():
                    with self.lock:
                        self.events.append(json.loads(line))
                        self.lock.notify_all()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the engine was quicker
        self.thread.join(10)
        self.connection.close()

    def actions(self, container):
        with self.lock:
            return [e["Action"] for e in self.events if e["Type"] == "container" and e["Actor"]["ID"] == container]

    def wait_for(self, action, container, seconds=30):
        until(f"event {action}", lambda: action in self.actions(container), seconds)


def frames(data):
    """Split Docker's multiplexed stream into [(stream number, bytes)]."""
    out = []
    while data:
        assert len(data) >= 8, data
        size = int.from_bytes(data[4:8], "big")
        assert data[0] in (0, 1, 2) and data[1:4] == b"\0\0\0" and len(data) >= 8 + size, data[:32]
        out.append((data[0], data[8 : 8 + size]))
        data = data[8 + size :]
    return out


def kill_process(pid, number=signal.SIGKILL):
    os.kill(pid, number)


ID = re.compile(r"[0-9a-f]{64}")
