# SPDX-License-Identifier: LGPL-2.1-or-later
"""Others' engines with Silo as their OCI runtime, as Debian packages them: containerd (ctr, CRI), dockerd, podman."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import grpc
import images
import pb
import pytest
from engine import COMMAND_S, DOCKER, program, until

IMAGE, PAUSE = "silo.test/base:1", "silo.test/pause:1"
HOST_NETWORK = 2  # CRI: NamespaceMode NODE


def write_images(top):
    layer = images.layer(images.busybox_entries())
    for tag, command in ((IMAGE, ["sh"]), (PAUSE, ["sleep", "1000000"])):
        settings = {"Cmd": command, "Env": ["PATH=/bin:/usr/bin"]}
        (top / f"{tag.split('/')[1].split(':')[0]}.tar").write_bytes(images.docker_archive([tag], [layer], settings))


class Host:
    """A directory with the runtime under its two names, and daemons that end with it."""

    def __init__(self, vm_dir):
        self.top = Path(tempfile.mkdtemp(prefix="silo-ways-"))
        self.vm_dir = vm_dir
        self.daemons = []
        self.paths = {}
        for mode in ("process", "hyperv"):
            # a wrapper, as engines have no option for ours
            path = self.top / f"silo-{mode}"
            path.write_text(f'#!/bin/sh\nexec {program("silo")} --isolation {mode} --vm-dir {vm_dir} "$@"\n')
            path.chmod(0o755)
            self.paths[mode] = str(path)
        write_images(self.top)

    def start(self, *command):
        with open(self.top / "daemon.log", "ab") as log:
            # bridges and rules of theirs are not the host's
            daemon = subprocess.Popen(["unshare", "--net", "--mount", "--", *map(str, command)], stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log, start_new_session=True)
        self.daemons.append(daemon)
        return daemon

    def command(self, *args, code=0):
        done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=COMMAND_S, check=False)
        if code is not None:
            assert done.returncode == code, (done, self.log())
        return done.stdout

    def log(self):
        path = self.top / "daemon.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def end(self):
        for daemon in self.daemons:
            daemon.terminate()
            daemon.wait(60)
        # the parents of pods and tasks are their makers' affair: containerd's and ours
        for pattern in ("*/silo-cri-*", "*/k8s.io"):
            for group in Path("/sys/fs/cgroup").glob(pattern):
                try:
                    group.rmdir()
                except OSError:
                    pass  # somebody else's
        shutil.rmtree(self.top, ignore_errors=True)


def containerd_config(host):
    top = host.top
    runtimes = "".join(f"""
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.silo-{mode}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.silo-{mode}.options]
        BinaryName = "{path}"
        Root = "{top}/oci"
""" for mode, path in host.paths.items())
    (top / "cni").mkdir()
    (top / "config.toml").write_text(f"""version = 2
root = "{top}/root"
state = "{top}/state"
[grpc]
  address = "{top}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{top}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "silo-process"
{runtimes}""")
    (top / "cni/10-test.conflist").write_text(json.dumps({
        "cniVersion": "0.4.0", "name": "test", "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": {"type": "host-local", "subnet": "10.98.0.0/24",
                                                      "dataDir": str(top / "ipam"), "routes": [{"dst": "0.0.0.0/0"}]}}]}))


@pytest.fixture(scope="module")
def containerd(vm_dir):
    host = Host(vm_dir)
    containerd_config(host)
    host.start("containerd", "--config", host.top / "config.toml")
    host.ctr = lambda *args, **kwargs: host.command("ctr", "-a", host.top / "c.sock", "-n", "k8s.io", *args, **kwargs)
    until("containerd answers", lambda: (host.top / "c.sock").exists() and "Server" in host.ctr("version", code=None))
    for name in ("base", "pause"):
        host.ctr("images", "import", "--snapshotter", "native", host.top / f"{name}.tar")
    yield host
    host.end()


@pytest.fixture
def ctr(containerd, mode):
    options = ("--snapshotter", "native", "--runc-binary", containerd.paths[mode], "--runc-root", containerd.top / "oci")
    containerd.run = lambda *args, **kwargs: containerd.ctr("run", *options, *args, **kwargs)
    return containerd


def test_containerd_ctr(ctr, mode):
    done = ctr.run("--rm", IMAGE, f"a{mode}", "sh", "-c", "echo hello; uname -r; exit 0")
    assert done.startswith("hello")
    assert (os.uname().release in done) == (mode == "process")
    name = f"b{mode}"
    ctr.run("-d", IMAGE, name, "sleep", "1000")
    assert ctr.ctr("tasks", "exec", "--exec-id", "e", name, "sh", "-c", "echo inside; exit 3", code=3) == "inside\n"
    ctr.ctr("tasks", "pause", name)
    assert "PAUSED" in ctr.ctr("tasks", "ls")
    ctr.ctr("tasks", "resume", name)
    ctr.ctr("tasks", "kill", "-s", "KILL", name)
    until("the task has stopped", lambda: "STOPPED" in ctr.ctr("tasks", "ls"))
    ctr.ctr("tasks", "rm", name, code=None)  # hands on the exit code
    ctr.ctr("containers", "rm", name)
    assert not list((ctr.top / "oci/k8s.io").glob("[!.]*"))


# --- CRI

class Cri:
    """runtime.v1 over gRPC, as the kubelet speaks it."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(f"unix://{address}")

    def __call__(self, method, *fields):
        call = self.channel.unary_unary(f"/runtime.v1.{method}", request_serializer=bytes, response_deserializer=bytes)
        return pb.decode(call(pb.encode(*fields), timeout=COMMAND_S))

    def sandbox(self, handler, uid, top, host_network=False):
        metadata = pb.encode((1, f"pod-{uid}"), (2, uid), (3, "default"), (4, 0))
        namespaces = pb.encode((1, HOST_NETWORK if host_network else 0))
        linux = pb.encode((1, f"/silo-cri-{uid}"), (2, pb.encode((1, namespaces))))
        config = pb.encode((1, metadata), (2, f"host-{uid}"), (3, str(top)), (8, linux))
        return config, self("RuntimeService/RunPodSandbox", (1, config), (2, handler))[1][0].decode()

    def container(self, sandbox, config, name, *command, mounts=()):
        fields = [(1, pb.encode((1, name), (2, 0))), (2, pb.encode((1, IMAGE)))]
        fields += [(3, c) for c in command] + [(7, pb.encode((1, inside), (2, outside))) for inside, outside in mounts]
        fields += [(11, f"{name}.log"), (15, b"")]
        made = self("RuntimeService/CreateContainer", (1, sandbox), (2, pb.encode(*fields)), (3, config))
        return made[1][0].decode()

    def status(self, container):
        """(state, exit code): 1 = running, 2 = exited."""
        status = pb.decode(self("RuntimeService/ContainerStatus", (1, container))[1][0])
        return status.get(3, [0])[0], status.get(7, [0])[0]

    def exec(self, container, *command):
        done = self("RuntimeService/ExecSync", (1, container), *((2, c) for c in command), (3, 60))
        return done.get(1, [b""])[0].decode(), done.get(3, [0])[0]


def test_containerd_cri(containerd, mode):
    """A pod with one container: sandbox, create, start, exec, log, statistics, stop, remove."""
    cri = Cri(containerd.top / "c.sock")
    config, sandbox = cri.sandbox(f"silo-{mode}", f"uid{mode}", containerd.top)
    container = cri.container(sandbox, config, f"main-{mode}", "sh", "-c", "echo started; hostname; exec sleep 1000")
    cri("RuntimeService/StartContainer", (1, container))
    assert cri.status(container)[0] == 1
    out, code = cri.exec(container, "sh", "-c", "hostname; uname -r; exit 5")
    assert out.split()[0] == f"host-uid{mode}" and code == 5
    assert (out.split()[1] == os.uname().release) == (mode == "process")
    addresses, _ = cri.exec(container, "busybox", "ip", "addr", "show", "eth0")
    assert "10.98.0." in addresses
    log = containerd.top / f"main-{mode}.log"
    until("the log has the output", lambda: log.exists() and "started" in log.read_text())
    stats = pb.decode(cri("RuntimeService/ContainerStats", (1, container))[1][0])
    assert stats[1]
    cri("RuntimeService/StopContainer", (1, container), (2, 0))
    assert cri.status(container)[0] == 2
    cri("RuntimeService/RemoveContainer", (1, container))
    cri("RuntimeService/StopPodSandbox", (1, sandbox))
    cri("RuntimeService/RemovePodSandbox", (1, sandbox))
    assert not list((containerd.top / "oci/k8s.io").glob("[!.]*"))


def test_containerd_cri_pod(containerd, mode):
    """A pod with two containers: network, host name, shared memory and a volume are the pod's; under hyperv so is the machine."""
    cri = Cri(containerd.top / "c.sock")
    config, sandbox = cri.sandbox(f"silo-{mode}", f"pod{mode}", containerd.top)
    volume = containerd.top / f"volume-{mode}"
    volume.mkdir()
    mounts = (("/shared", str(volume)),)
    serve = "mkdir /w; hostname >/w/index.html; exec busybox httpd -f -p 127.0.0.1:80 -h /w"
    first = cri.container(sandbox, config, f"first-{mode}", "sh", "-c", serve, mounts=mounts)
    second = cri.container(sandbox, config, f"second-{mode}", "sleep", "1000", mounts=mounts)
    for each in (first, second):
        cri("RuntimeService/StartContainer", (1, each))
    ask = ("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:80/")
    until("the second one reaches the first", lambda: cri.exec(second, *ask)[0] == f"host-pod{mode}\n")
    boots = {cri.exec(each, "cat", "/proc/sys/kernel/random/boot_id")[0] for each in (first, second)}
    own = Path("/proc/sys/kernel/random/boot_id").read_text()
    assert len(boots) == 1 and (own in boots) == (mode == "process")
    assert cri.exec(first, "sh", "-c", "echo of-first >/shared/x; echo memory >/dev/shm/x; touch /mark")[1] == 0
    assert cri.exec(second, "cat", "/shared/x", "/dev/shm/x")[0] == "of-first\nmemory\n"
    assert (volume / "x").read_text() == "of-first\n"
    seen = cri.exec(second, "sh", "-c", "ls /; busybox ps; hostname")[0]
    # CRI's default is one set of processes for the pod; each has its own files.
    assert "mark" not in seen and "httpd" in seen and seen.endswith(f"host-pod{mode}\n")
    # Of two, one ends and is replaced: its volume comes anew.
    cri("RuntimeService/StopContainer", (1, first), (2, 0))
    assert cri.status(first) == (2, 137) and cri.status(second)[0] == 1
    cri("RuntimeService/RemoveContainer", (1, first))
    third = cri.container(sandbox, config, f"third-{mode}", "sh", "-c", "cat /shared/x; exit 3", mounts=mounts)
    cri("RuntimeService/StartContainer", (1, third))
    until("the third one has ended", lambda: cri.status(third) == (2, 3))
    log = containerd.top / f"third-{mode}.log"
    until("it has read what the first has written", lambda: log.exists() and "of-first" in log.read_text())
    assert pb.decode(cri("RuntimeService/ContainerStats", (1, second))[1][0])[1]
    # The end of the sandbox is the end of all, and of all that they had.
    cri("RuntimeService/StopPodSandbox", (1, sandbox))
    assert cri.status(second) == (2, 137)
    cri("RuntimeService/RemovePodSandbox", (1, sandbox))
    assert not list((containerd.top / "oci/k8s.io").glob("[!.]*"))


# --- dockerd

@pytest.fixture(scope="module")
def dockerd(vm_dir):
    host = Host(vm_dir)
    top = host.top
    (top / "daemon.json").write_text("{}")
    host.start("dockerd", "--config-file", top / "daemon.json", "--data-root", top / "data", "--exec-root", top / "run", "-p", top / "pid",
               "-H", f"unix://{top}/s.sock", "--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs",
               *(f"--add-runtime=silo-{m}={p}" for m, p in host.paths.items()))
    host.docker = lambda *args, **kwargs: host.command(DOCKER, "-H", f"unix://{top}/s.sock", *args, **kwargs)
    until("dockerd answers", lambda: (top / "s.sock").exists() and host.docker("version", code=None))
    host.docker("load", "-i", top / "base.tar")
    yield host
    host.end()


def test_dockerd_add_runtime(dockerd, mode):
    options = ("--network", "none", "--runtime", f"silo-{mode}")
    done = dockerd.docker("run", "--rm", *options, IMAGE, "sh", "-c", "uname -r; exit 6", code=6)
    assert (done.strip() == os.uname().release) == (mode == "process")
    name = f"d{mode}"
    dockerd.docker("run", "-d", "--name", name, *options, "--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--health-cmd",
                   "test -d /tmp", "--health-interval", "1s", IMAGE, "sleep", "1000")
    assert dockerd.docker("exec", name, "sh", "-c", "echo inside; exit 4", code=4) == "inside\n"
    until("the health check says so", lambda: dockerd.docker("inspect", "-f", "{{.State.Health.Status}}", name).strip() == "healthy")
    if mode == "process":  # of a machine containerd's shim counts its stand-in
        assert "/ 64MiB" in dockerd.docker("stats", "--no-stream", name)
    dockerd.docker("update", "--memory", "96m", "--memory-swap", "96m", name)
    dockerd.docker("restart", "-t", "0", name)
    assert dockerd.docker("exec", name, "echo", "again") == "again\n"
    dockerd.docker("stop", "-t", "0", name)
    assert dockerd.docker("wait", name).strip() == "137"
    dockerd.docker("rm", name)


# --- podman

@pytest.fixture(scope="module")
def podman(vm_dir):
    host = Host(vm_dir)
    top = host.top
    # --ulimit: its default asks for more than this process may have
    host.podman = lambda mode, *args, **kwargs: host.command(
        "podman", "--root", top / "pm", "--runroot", top / "run", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
        "--events-backend", "file", "--tmpdir", top / "tmp", "--runtime", host.paths[mode], *args, **kwargs)
    host.podman("process", "load", "-i", top / "base.tar")
    yield host
    host.end()


LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


def test_podman_runtime(podman, mode):
    options = (*LIMITS, "--network", "none")
    done = podman.podman(mode, "run", "--rm", *options, IMAGE, "sh", "-c", "uname -r; exit 6", code=6)
    assert (done.strip() == os.uname().release) == (mode == "process")
    name = f"p{mode}"
    podman.podman(mode, "run", "-d", "--name", name, *options, IMAGE, "sleep", "1000")
    assert podman.podman(mode, "exec", name, "sh", "-c", "echo inside; exit 4", code=4) == "inside\n"
    podman.podman(mode, "kill", name)
    assert podman.podman(mode, "wait", name).strip() == "137"
    podman.podman(mode, "rm", name)
