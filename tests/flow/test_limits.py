# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits, devices, namespaces of the host: the same options in both isolation modes."""
import glob
import json
import os
import socket
import time

import pytest

from conftest import BASE, MODES
from engine import until

CPUS = os.cpu_count()

# option, file of cgroup v1 and v2, what stands there in each
FILES = [
    ("--memory=64m", "memory/memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
    ("--memory-reservation=32m", "memory/memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432"),
    ("--cpus=0.5", "cpu/cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"),
    ("--cpu-quota=20000", "cpu/cpu.cfs_quota_us", "20000", "cpu.max", "20000 100000"),
    ("--cpu-shares=512", "cpu/cpu.shares", "512", "cpu.weight", "20"),
    ("--cpuset-cpus=0", "cpuset/cpuset.cpus", "0", "cpuset.cpus", "0"),
    ("--pids-limit=33", "pids/pids.max", "33", "pids.max", "33"),
]


def look(v1, v2):
    return ["sh", "-c", f"cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}"]


@pytest.mark.parametrize("option, v1, value1, v2, value2", FILES, ids=[f[0].split("=")[0][2:] for f in FILES])
def test_limit_is_in_the_cgroup(run, option, v1, value1, v2, value2):
    assert run("--rm", option, BASE, *look(v1, v2)).line in (value1, value2)


def host_cgroup(identity, controller, file):
    """The host's cgroup of a container or of the machine that it is in: content of a file of cgroup v1 or v2."""
    for place in (f"/sys/fs/cgroup/{controller}/silo/{identity}", f"/sys/fs/cgroup/silo/{identity}"):
        for name in file.split("|"):
            if os.path.exists(f"{place}/{name}"):
                with open(f"{place}/{name}", encoding="ascii") as f:
                    return f.read().strip()
    raise FileNotFoundError(f"{controller} {file} of {identity}")


def machine_limits(identity):
    return {key: host_cgroup(identity, *where) for key, where in {
        "memory": ("memory", "memory.limit_in_bytes|memory.max"), "cpu": ("cpu", "cpu.cfs_quota_us|cpu.max"),
        "shares": ("cpu", "cpu.shares|cpu.weight"), "cpus": ("cpuset", "cpuset.cpus"), "pids": ("pids", "pids.max"),
        "procs": ("memory", "cgroup.procs")}.items()}


@pytest.mark.skipif("hyperv" not in MODES, reason="hyperv isn't among the tested modes")
def test_limits_hold_for_the_machine_too(engine):
    """Twice, because the second container may get the machine that waits; after kill -9 of the monitor nothing is left."""
    options = ("--memory=64m", "--memory-swap=64m", "--cpus=0.5", "--cpuset-cpus=0", "--cpu-shares=512", "--oom-score-adj=300")
    for _ in range(2):
        identity = engine.docker("run", "-d", "--isolation=hyperv", *options, BASE, "sleep", "1000").line
        vmwp = engine.inspect(identity)["State"]["Pid"]
        found = machine_limits(identity)
        assert found["procs"].split() == [str(vmwp)]
        assert int(found["memory"]) == (64 + 64 // 4 + 256 + 192) << 20
        assert found["cpu"].split()[0] == "50000" and found["cpus"] == "0" and found["pids"] == "128"
        assert found["shares"] in ("512", "20")
        with open(f"/proc/{vmwp}/oom_score_adj", encoding="ascii") as score:
            assert score.read().strip() == "300"
        engine.docker("update", "--memory=128m", "--memory-swap=128m", "--cpus=0.25", identity)
        found = machine_limits(identity)
        assert int(found["memory"]) == (128 + 128 // 4 + 256 + 192) << 20 and found["cpu"].split()[0] == "25000"
    os.kill(engine.monitor_pid(identity), 9)
    until("the engine has noticed", lambda: not engine.state(identity)["Running"])


@pytest.mark.skipif("hyperv" not in MODES, reason="hyperv isn't among the tested modes")
def test_machine_gets_no_more_cpu_time_than_its_container(engine):
    """A guest that only computes: the host's account of the whole machine, over some time, against the quota."""
    identity = engine.docker("run", "-d", "--isolation=hyperv", "--cpus=0.2", BASE, "sh", "-c", "while :; do :; done").line
    start, used = time.monotonic(), machine_cpu_s(identity)
    until("the machine has worked", lambda: machine_cpu_s(identity) - used > 0.4)
    assert machine_cpu_s(identity) - used < 0.2 * (time.monotonic() - start) + 0.1


def machine_cpu_s(identity):
    text = host_cgroup(identity, "cpuacct", "cpuacct.usage|cpu.stat").split()
    return int(text[0]) / 1e9 if len(text) == 1 else int(text[text.index("usage_usec") + 1]) / 1e6


def test_limits_of_the_process(run):
    out = run("--rm", "--ulimit", "nofile=100:200", "--shm-size=8m", "--sysctl", "net.ipv4.ip_forward=1",
              "--sysctl", "kernel.msgmax=4096", BASE, "sh", "-c",
              "ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n 1; cat /proc/sys/net/ipv4/ip_forward "
              "/proc/sys/kernel/msgmax").out.split()
    assert out[:2] == ["100", "200"] and "8192" in out and out[-2:] == ["1", "4096"]


def test_update_while_running_and_stored(engine, sleeper):
    engine.docker("update", "--pids-limit=44", "--cpu-shares=256", "--memory=80m", "--memory-swap=80m", sleeper)
    assert engine.docker("exec", sleeper, *look("pids/pids.max", "pids.max")).line == "44"
    assert engine.docker("exec", sleeper, *look("memory/memory.limit_in_bytes", "memory.max")).line == "83886080"
    host = engine.inspect(sleeper)["HostConfig"]
    assert (host["PidsLimit"], host["CpuShares"], host["Memory"]) == (44, 256, 83886080)
    engine.docker("restart", "-t", "0", sleeper)
    assert engine.docker("exec", sleeper, *look("pids/pids.max", "pids.max")).line == "44"


def test_update_of_the_restart_policy(engine, sleeper):
    engine.docker("update", "--restart=on-failure:3", sleeper)
    assert engine.inspect(sleeper)["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_oom(engine, run, name):
    run("--name", name, "--memory=16m", "--memory-swap=16m", BASE, "sh", "-c", "exec tail /dev/zero", code=137)
    state = engine.state(name)
    assert state["OOMKilled"] and state["ExitCode"] == 137
    until("oom event", lambda: [e for e in engine.watch.events if e["Action"] == "oom"
                                and e["Actor"]["Attributes"]["name"] == name])


def test_stats(engine, run, name):
    run("-d", "--name", name, "--memory=64m", BASE, "sh", "-c", "while :; do :; done")
    status, _, first = engine.http("GET", f"/containers/{name}/stats?stream=false")
    assert status == 200
    memory, cpu, before = first["memory_stats"], first["cpu_stats"], first["precpu_stats"]
    assert memory["limit"] == 67108864 and 0 < memory["usage"] < 67108864
    assert cpu["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"] > 0
    assert first["pids_stats"]["current"] >= 1


WRONG = [
    ({"Memory": 1024}, "Minimum memory limit allowed is 6MB"),
    ({"Memory": 33554432, "MemorySwap": 16777216}, "Minimum memoryswap limit should be larger than memory limit"),
    ({"MemorySwap": 33554432}, "You should always set the Memory limit when using Memoryswap limit"),
    ({"NanoCpus": (CPUS + 1) * 10**9}, f"range of CPUs is from 0.01 to {CPUS}.00, as there are only {CPUS} CPUs available"),
    ({"NanoCpus": 10**9, "CpuPeriod": 1000}, "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    ({"NanoCpus": 10**9, "CpuQuota": 1000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    ({"CpusetCpus": "0-"}, "Invalid value 0- for cpuset cpus"),
    ({"CpusetCpus": "4000"}, "Requested CPUs are not available - requested 4000, available: "),
    ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
    ({"CpuPeriod": 10}, "CPU cfs period can not be less than 1ms"),
    ({"DeviceCgroupRules": ["c 1 rwm"]}, "invalid device cgroup rule format: 'c 1 rwm'"),
    ({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}, 'could not select device driver "" with capabilities: [[gpu]]'),
]


@pytest.mark.parametrize("host, text", WRONG, ids=[w[1][:30] for w in WRONG])
def test_limits_that_make_no_sense(engine, mode, host, text):
    status, _, body = engine.http("POST", "/containers/create",
                                  {"Image": BASE, "Cmd": ["true"], "HostConfig": dict(host, Isolation=mode)})
    assert status == 400 and text in body["message"], body


HOSTS = [("--device=/dev/ptmx", "/dev/ptmx: a virtual machine (--isolation=hyperv) can be given block devices and disk images"),
         ("--ipc=host", "--ipc=host is not possible with hyperv isolation"),
         ("--pid=host", "--pid=host is not possible with hyperv isolation"),
         ("--pid=container:x", "--pid=container:x is not possible with hyperv isolation"),
         ("--uts=host", "--uts=host is not possible with hyperv isolation"),
         ("--userns=host", "--userns=host is not possible with hyperv isolation")]


@pytest.mark.parametrize("option, text", HOSTS, ids=[h[0] for h in HOSTS])
def test_what_a_vm_cannot_share(engine, option, text):
    assert text in engine.docker("create", "--isolation=hyperv", option, BASE, "true", code=1).err


def process_run(engine, *args, **kwargs):
    return engine.docker("run", "--rm", "--isolation=process", *args, **kwargs)


def test_device_with_permissions(engine, tmp_path):
    """The kernel's log as a node of our own: a host may have none in /dev."""
    node = tmp_path / "node"
    os.mknod(node, 0o666 | 0o020000, os.makedev(1, 11))
    os.chmod(node, 0o666)
    out = process_run(engine, f"--device={node}:/dev/other:w", BASE, "sh", "-c",
                      "(: > /dev/other) 2>&1 && echo writes; (: < /dev/other) 2>&1; ls -l /dev/other", code=None).out
    assert "writes" in out and "ermitted" in out and "1,  11" in out, out


def test_device_cgroup_rule(engine):
    probe = "mknod /tmp/f c 10 229 && (head -c 0 /tmp/f && : < /tmp/f) 2>&1"
    assert "ermitted" in process_run(engine, BASE, "sh", "-c", probe, code=None).out
    assert "ermitted" not in process_run(engine, "--device-cgroup-rule=c 10:229 rwm", BASE, "sh", "-c", probe, code=None).out


def test_privileged_has_the_devices(engine):
    nodes = process_run(engine, "--privileged", BASE, "ls", "/dev").out.split()
    assert "full" in nodes and "null" in nodes and len(nodes) > 12


def test_namespaces_of_the_host(engine):
    for option, kind in (("--pid=host", "pid"), ("--ipc=host", "ipc"), ("--uts=host", "uts"), ("--cgroupns=host", "cgroup")):
        inside = process_run(engine, option, BASE, "readlink", f"/proc/self/ns/{kind}").line
        assert inside == os.readlink(f"/proc/self/ns/{kind}"), option
    name = socket.gethostname()
    process_run(engine, "--uts=host", BASE, "hostname")
    assert socket.gethostname() == name


def test_ipc_of_another_container(engine, name):
    """One IPC namespace and one /dev/shm, of containers that were made to be shared; nobody else's."""
    engine.docker("run", "-d", "--name", name, "--isolation=process", "--ipc=shareable", BASE, "sh", "-c", "echo there > /dev/shm/mark; exec sleep 1000")
    joined = ("--ipc", f"container:{name}")
    out = process_run(engine, *joined, BASE, "sh", "-c", "cat /dev/shm/mark; echo back > /dev/shm/answer; readlink /proc/self/ns/ipc").out
    inside = engine.docker("exec", name, "sh", "-c", "cat /dev/shm/answer; readlink /proc/self/ns/ipc").out.split()
    assert out.split() == ["there", inside[1]] and inside[0] == "back"
    process_run(engine, "-d", "--name", f"{name}-private", BASE, "sleep", "1000")
    failed = process_run(engine, f"--ipc=container:{name}-private", BASE, "true", code=125).err
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in failed
    assert "No such container: nobody" in process_run(engine, "--ipc=container:nobody", BASE, "true", code=125).err
    engine.docker("create", "--name", f"{name}-late", "--isolation=process", *joined, BASE, "true")
    engine.docker("stop", "-t", "0", name)
    assert "is not running" in engine.docker("start", f"{name}-late", code=1).err


def test_processes_of_another_container(engine, name):
    """Their processes are seen; the container's own end with its init, the other's don't."""
    process_run(engine, "-d", "--name", name, BASE, "sleep", "1001")
    pid = ("-d", "--name", f"{name}-joined", f"--pid=container:{name}")
    engine.docker("run", "--isolation=process", *pid, BASE, "sh", "-c", "sleep 1002 & exec sleep 1003")
    out = engine.docker("exec", f"{name}-joined", "ps").out
    assert all(f"sleep {number}" in out for number in (1001, 1002, 1003))
    engine.docker("kill", f"{name}-joined")
    until("all of it has ended", lambda: "sleep 100" not in engine.docker("exec", name, "ps").out.replace("sleep 1001", ""))
    assert engine.state(name)["Running"]


def test_disk_size(engine):
    out = engine.docker("run", "--rm", "--isolation=hyperv", "--network=none", "--storage-opt", "size=100m", BASE, "sh", "-c",
                        "df -k / | tail -n 1; dd if=/dev/zero of=/x bs=1M count=120; true")
    assert 80 * 1024 < int(out.out.split()[1]) <= 100 * 1024 and "No space left" in out.err, out
    failed = engine.docker("create", "--isolation=process", "--storage-opt", "size=100m", BASE, "true", code=1).err
    assert "--storage-opt is supported only for overlay over xfs with 'pquota' mount option" in failed


def test_cgroup_parent(engine, run, name):
    parent = f"/{name}-parent"
    identity = run("-d", "--network=none", "--cgroup-parent", parent, BASE, "sleep", "1000").line
    with open(f"/proc/{engine.inspect(identity)['State']['Pid']}/cgroup", encoding="ascii") as f:
        assert f"{parent}/{identity}" in f.read()
    engine.remove_containers()
    until("only the parent is left", lambda: not glob.glob(f"/sys/fs/cgroup/**/{identity}", recursive=True))
    for place in glob.glob(f"/sys/fs/cgroup/*{parent}") + glob.glob(f"/sys/fs/cgroup{parent}"):
        os.rmdir(place)


def test_rates_of_a_device(engine, run):
    """Of any disk of the host: for a virtual machine they hold there."""
    device = next(f"/dev/{disk}" for disk in os.listdir("/sys/block") if os.path.exists(f"/dev/{disk}"))
    number = os.stat(device).st_rdev
    identity = run("-d", "--network=none", f"--device-read-bps={device}:1mb", BASE, "sleep", "1000").line
    text = host_cgroup(identity, "blkio", "blkio.throttle.read_bps_device|io.max")
    assert text.split()[0] == f"{os.major(number)}:{os.minor(number)}" and "1048576" in text


def test_what_the_kernel_has_not(engine, mode):
    status, _, body = engine.http("POST", "/containers/create", {
        "Image": BASE, "Cmd": ["true"], "HostConfig": {"KernelMemory": 50 << 20, "Isolation": mode}})
    assert status == 201 and "kernel memory limit capabilities or the cgroup is not mounted" in body["Warnings"][0]


@pytest.mark.parametrize("option, key", [("--ipc=host", "kernel.msgmax=1"), ("--network=host", "net.ipv4.ip_forward=1")])
def test_sysctl_of_the_host(engine, option, key):
    text = "in the hosts ipc namespace" if "ipc" in option else "in host network namespace"
    failed = process_run(engine, option, "--sysctl", key, BASE, "true", code=125)
    assert f'sysctl "{key.split("=")[0]}"' in failed.err and text in failed.err


@pytest.mark.skipif("hyperv" not in MODES, reason="hyperv isn't among the tested modes")
def test_defaults_of_the_daemon(own_engine, tmp_path):
    """Without a limit a machine is as large as vm-memory says, and gives back what was used and freed."""
    (tmp_path / "daemon.json").write_text(json.dumps({
        "vm-memory": "2g", "vm-standby": False, "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 50, "Hard": 60}}}))
    engine = own_engine("--config-file", tmp_path / "daemon.json")
    assert process_run(engine, BASE, "sh", "-c", "ulimit -n; ulimit -Hn").out.split() == ["50", "60"]
    engine.docker("run", "-d", "--name", "xx", "--isolation=hyperv", "--network=none", "--tmpfs", "/big:size=300m", BASE, "sleep", "1000")
    out = engine.docker("exec", "xx", "sh", "-c", "ulimit -n; grep MemTotal /proc/meminfo").out.split()
    assert out[0] == "50" and 1800 * 1024 < int(out[2]) <= 2048 * 1024
    vmwp = engine.inspect("xx")["State"]["Pid"]
    engine.docker("exec", "xx", "dd", "if=/dev/zero", "of=/big/x", "bs=1M", "count=200")
    used = private_kib(vmwp)
    assert used > 200 * 1024
    engine.docker("exec", "xx", "rm", "/big/x")
    until("the host has it back", lambda: private_kib(vmwp) < used - 150 * 1024)


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(f.read().split("Private_Dirty:")[1].split()[0])


def test_missing_device(engine):
    failed = engine.docker("create", "--isolation=process", "--device=/dev/nothing-here", BASE, "true", code=1)
    assert 'error gathering device information while adding custom device "/dev/nothing-here"' in failed.err


def test_vm_has_the_size_that_is_asked_for(engine):
    """More memory than the usual machine has, and two CPUs: a machine of that size class."""
    out = engine.docker("run", "--rm", "--isolation=hyperv", "--memory=1500m", f"--cpus={min(CPUS, 2)}", BASE, "sh", "-c",
                        "nproc; grep MemTotal /proc/meminfo").out.split()
    assert int(out[0]) == min(CPUS, 2)
    assert 1500 * 1024 < int(out[2]) <= 2048 * 1024, out
