# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pods as the annotations of their makers tell: containers that share the machine of their sandbox."""
import copy
import os
import signal

import oci
import pytest

WORDS = [("io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"),
         ("io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID")]


@pytest.fixture
def silo(vm_dir):
    runtime = oci.Runtime("hyperv", vm_dir)
    yield runtime
    runtime.remove()


class Pod:
    """A sandbox "c" that sleeps."""

    def __init__(self, silo, words=WORDS[0]):
        self.silo, self.words = silo, words
        silo.spec("sleep", "1000", hostname="of-the-pod", annotations={words[0]: "sandbox"})
        silo("run", "-d", "c")
        self.pid = silo.state()["pid"]

    def prepare(self, *args, sandbox=None, **changes):
        """config.json of a container."""
        spec = self.silo.spec(*args, annotations={self.words[0]: "container", self.words[1]: sandbox or self.silo.id}, **changes)
        del spec["hostname"]
        for ns in spec["linux"]["namespaces"]:
            if ns["type"] in ("network", "ipc", "uts"):
                ns["path"] = f"/proc/{self.pid}/ns/{'net' if ns['type'] == 'network' else ns['type']}"
        self.silo.write(spec)

    def start(self, name, *args, **changes):
        self.prepare(*args, **changes)
        self.silo("run", "-d", name)
        return self.silo.state(name)["pid"]


@pytest.fixture
def names(silo):
    return [f"{silo.id}-{i}" for i in (1, 2)]


def test_life(silo, names):
    """Exit codes, signals, exec, pause and numbers are each container's own; so is the end."""
    pod = Pod(silo, WORDS[1])
    (silo.top / "shared").mkdir()
    bind = {"destination": "/mnt", "type": "bind", "source": str(silo.top / "shared"), "options": ["rbind", "ro"]}
    pod.start(names[0], "sleep", "1000", mounts=[*oci.SPEC["mounts"], bind])
    boot = ("cat", "/proc/sys/kernel/random/boot_id")
    assert silo("exec", "c", *boot).out == silo("exec", names[0], *boot).out
    assert silo("exec", names[0], "hostname").out == "of-the-pod\n"
    assert silo("exec", names[0], "sh", "-c", "touch /mnt/x; exit 4", code=4).err.endswith("Read-only file system\n")
    silo("pause", names[0])
    assert silo.state(names[0])["status"] == "paused" and silo.state()["status"] == "running"
    silo("resume", names[0])
    silo("update", "--pids-limit", "50", names[0])
    assert '"pids"' in silo("events", "--stats", names[0]).out
    pod.prepare("sh", "-c", "echo out; echo err >&2; exit 7")
    result = silo("run", names[1], code=7)
    assert (result.out, result.err) == ("out\n", "err\n")
    silo("kill", names[0], "KILL")
    silo.wait_status("stopped", names[0])
    silo("delete", names[0])
    assert silo.state()["status"] == "running"
    # a failure leaves the pod as it was
    pod.prepare("nosuch")
    assert "executable file not found in $PATH" in silo("run", names[1], code=1).err
    silo("delete", "--force", "c")


@pytest.mark.parametrize("victim", ["monitor", "container"])
def test_sudden_death(silo, names, victim):
    pod = Pod(silo)
    pids = [pod.start(name, "sleep", "1000") for name in names]
    os.kill(pod.pid if victim == "monitor" else pids[0], signal.SIGKILL)
    silo.wait_status("stopped", names[0])
    if victim == "monitor":
        silo.wait_status("stopped", names[1])
        silo.wait_status("stopped")
    else:
        silo("delete", names[0])
        pod.start(names[0], "sleep", "1000")
        silo("exec", names[1], "true")
        assert silo.state(names[1])["status"] == "running"
    for name in (*names, "c"):
        silo("delete", "--force", name)
    assert not oci.cgroup_left(silo.id)


def test_refused(silo, names):
    """No annotation makes a process of what was to be in a machine, nor lets it into that of nobody."""
    pod = Pod(silo)
    pod.prepare("true", sandbox="nobody")
    assert "the pod's sandbox nobody is no container with hyperv isolation" in silo("run", names[0], code=1).err
    pod.prepare("true")
    silo.arguments[-1] = "process"
    assert f"the pod's sandbox {silo.id} has hyperv isolation" in silo("run", names[0], code=1).err
    silo.arguments[-1] = "hyperv"
    spaces = [ns for ns in copy.deepcopy(oci.SPEC["linux"]["namespaces"]) if ns["type"] != "pid"]
    pod.prepare("true", linux__namespaces=spaces)
    assert "can't have the host's pid namespace" in silo("run", names[0], code=1).err
    pod.prepare("true", linux__namespaces=[*spaces, {"type": "pid", "path": "/proc/1/ns/pid"}])
    assert "/proc/1/ns/pid is not of a container in this pod" in silo("run", names[0], code=1).err
