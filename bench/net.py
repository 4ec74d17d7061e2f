#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What networks cost, beside dockerd where it is installed and beside a bare QEMU. Called by script/bench.

Each engine is the only one in a network namespace, with a wire to another namespace: the outside. tests/net_probe.c is the
server in the container, and the client: outside, for published ports, or in another container. Rounds are interleaved.
Quoted are the best values of the rounds: whatever else runs on the machine only ever takes away. bench/net.md gets ratios,
since only those mean something on another machine.
"""
import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/flow"))

from bare import archive, kernel_modules  # noqa: E402
from engine import BUILD, DOCKER, Engine, in_namespace, new_namespace, until  # noqa: E402
from images import busybox_entries, entry, layer  # noqa: E402
from report import publish  # noqa: E402

GATEWAY = "172.30.0.1"
CGROUPS = Path("/sys/fs/cgroup")
PROBE, PORT, IMAGE = BUILD / "tests/net-probe", "7", "bench/net-probe"
HOST, OUTSIDE = "10.99.0.1", "10.99.0.2"
BARE = "bare QEMU"
MODULES = ("virtio_mmio", "virtio_net")
pause = threading.Event()


class Place:
    """A network namespace with a wire to the outside."""

    def __init__(self, namespace):
        self.namespace, self.outside = namespace, new_namespace()
        self.run("ip", "link", "set", "lo", "up")
        subprocess.run([*self.enter(), "ip", "link", "add", "up0", "type", "veth", "peer", "name", "out0", "netns",
                        f"/proc/self/fd/{self.outside}"], pass_fds=[self.namespace, self.outside], check=True)
        for where, device, address in ((self.namespace, "up0", HOST), (self.outside, "out0", OUTSIDE)):
            self.run("ip", "addr", "add", f"{address}/24", "dev", device, where=where)
            self.run("ip", "link", "set", device, "up", where=where)

    def enter(self, where=None):
        return ["nsenter", f"--net=/proc/self/fd/{self.namespace if where is None else where}", "--"]

    def run(self, *command, where=None):
        done = subprocess.run([*self.enter(where), *map(str, command)], pass_fds=[self.namespace if where is None else where],
                              capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr[-300:]}")
        return done.stdout.strip()

    def close(self):
        os.close(self.outside)


class Dockerd(Place):
    """A private dockerd with its bridge and its rules in a namespace of its own."""

    def __init__(self, top):
        super().__init__(new_namespace())
        self.top, self.log = top, open(top / "dockerd.log", "wb")
        self.environment = dict(os.environ, DOCKER_HOST=f"unix://{top}/dockerd.sock")
        # Its containers compete with other work on this machine on the same terms as Silo's.
        self.process = subprocess.Popen(
            [*self.enter(), "dockerd", "--data-root", top / "dockerd", "--exec-root", top / "dockerd-run", "-H",
             f"unix://{top}/dockerd.sock", "--pidfile", top / "dockerd.pid", "--cgroup-parent", "/silo"],
            stdout=self.log, stderr=self.log, pass_fds=[self.namespace])
        until("dockerd answers", lambda: self.process.poll() is not None or subprocess.run(
            [DOCKER, "version"], env=self.environment, capture_output=True, check=False).returncode == 0, 60)
        self.works = self.process.poll() is None

    def docker(self, *args, stdin=None):
        done = subprocess.run([DOCKER, *args], env=self.environment, input=stdin, capture_output=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"docker {args}: {done.stderr.decode()[-300:]}")
        return done.stdout.decode().strip()

    def stop(self):
        try:
            ids = self.docker("ps", "-aq").split()
            if ids:
                self.docker("rm", "-f", *ids)
        except RuntimeError as e:  # it has ended, or never started
            print(e, file=sys.stderr)
        self.process.terminate()
        self.process.wait(60)
        self.close()
        os.close(self.namespace)


class BareVM:
    """QEMU as Silo starts it, with the same kernel and network card, and with nothing of Silo in it."""

    def __init__(self, place, vm_dir, bridge, top):
        self.device, self.address, self.port = "bare0", "172.30.250.2", "9003"
        tap = f"ifname={self.device},script=no,downscript=no,vhost=off"
        info = json.loads(next(vm_dir.glob("template-*/template.json")).read_text())
        initrd = top / f"{self.device}.cpio.gz"
        initrd.write_bytes(gzip.compress(self.initramfs(Path(info["kernel_path"])), 1))
        place.run("ip", "tuntap", "add", self.device, "mode", "tap")
        place.run("ip", "link", "set", self.device, "master", bridge, "up")
        self.process = subprocess.Popen(
            [*place.enter(), "qemu-system-x86_64", "-M", "microvm,acpi=on,rtc=on", "-accel", info["accelerator"], "-cpu",
             info["cpu"], "-m", str(info["memory_mib"]), "-smp", str(info["cpus"]), "-nodefaults", "-no-user-config", "-display",
             "none", "-no-reboot", "-global", "virtio-mmio.force-legacy=false", "-kernel", info["kernel_path"], "-initrd", initrd,
             "-append", info["append"], "-netdev", f"tap,id=n,{tap}", "-device", "virtio-net-device,netdev=n", "-serial",
             f"file:{top}/{self.device}.log"], pass_fds=[place.namespace], stdin=subprocess.DEVNULL)
        self.groups = []
        for base in (CGROUPS / "cpu/silo", CGROUPS / "silo"):  # as Silo's machines: v1, v2
            if base.is_dir():
                self.groups.append(base / f"bench-{self.device}-{os.getpid()}")
                self.groups[-1].mkdir()
                (self.groups[-1] / "cgroup.procs").write_text(str(self.process.pid), encoding="ascii")

    def initramfs(self, kernel):
        modules = kernel_modules(kernel, MODULES)
        script = "#!/bin/busybox sh\nbusybox mount -t proc proc /proc\nbusybox mount -t sysfs sys /sys\n"
        script += "".join(f"busybox insmod /{m.name}\n" for m in modules)
        script += (f"busybox ip link set lo up\nbusybox ip addr add {self.address}/16 dev eth0\nbusybox ip link set eth0 up\n"
                   f"busybox ip route add default via {GATEWAY}\nexec /net-probe serve {PORT}\n")
        files = [("bin/busybox", Path("/bin/busybox").read_bytes()), ("net-probe", PROBE.read_bytes()), ("init", script.encode())]
        files += [(m.name, m.read_bytes()) for m in modules]
        return archive(files, ("bin", "proc", "sys", "dev"))

    def stop(self):
        self.process.kill()
        self.process.wait()
        for group in self.groups:
            until("the cgroup is empty", lambda g=group: not (g / "cgroup.procs").read_text(encoding="ascii").strip())
            group.rmdir()
        self.groups = []


def client(ask, options):
    """The three figures of a path: ask(command of the probe, its last argument) -> what it said."""
    return {"MB/s": float(ask("send", str(options.seconds))), "round trip": float(ask("round", str(options.count))),
            "connection": float(ask("connect", str(max(20, options.count // 10))))}


def outside_client(place, target, port):
    return lambda what, n: place.run(PROBE, what, target, port, n, where=place.outside)


def host_client(place, target, port):
    return lambda what, n: place.run(PROBE, what, target, port, n)


def container_client(docker, name, target):
    def run(what, n):
        out = docker("exec", name, "net-probe", what, target, PORT, n)
        return out if isinstance(out, str) else out.line

    return run


def silo_paths(engine, place, machine):
    image = layer([*busybox_entries(), entry("bin/net-probe", data=PROBE.read_bytes())])
    engine.docker("import", "-", IMAGE, stdin=image)
    engine.docker("run", "-d", "--name", "client", "--isolation=process", IMAGE, "sleep", "100000")
    paths = {}
    for mode, port in (("process", "9001"), ("hyperv", "9002")):
        engine.docker("run", "-d", "--name", mode, f"--isolation={mode}", "-p", f"{port}:{PORT}", IMAGE, "net-probe", "serve", PORT)
        address = engine.inspect(mode)["NetworkSettings"]["IPAddress"]
        paths["published port", f"silo {mode}"] = outside_client(place, HOST, port)
        paths["localhost", f"silo {mode}"] = host_client(place, "127.0.0.1", port)
        paths["container to container", f"silo {mode}"] = container_client(engine.docker, "client", address)
    place.run("nft", "add table ip bare; add chain ip bare c { type nat hook prerouting priority dstnat; }; "
              f"add rule ip bare c tcp dport {machine.port} dnat to {machine.address}:{PORT}")
    paths["published port", BARE] = outside_client(place, HOST, machine.port)
    paths["container to container", BARE] = container_client(engine.docker, "client", machine.address)
    return paths


def docker_paths(dockerd):
    image = layer([*busybox_entries(), entry("bin/net-probe", data=PROBE.read_bytes())])
    dockerd.docker("import", "-", IMAGE, stdin=image)
    dockerd.docker("run", "-d", "--name", "client", IMAGE, "/bin/sleep", "100000")
    dockerd.docker("run", "-d", "--name", "server", "-p", f"9001:{PORT}", IMAGE, "/bin/net-probe", "serve", PORT)
    address = dockerd.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "server")
    return {("published port", "dockerd"): outside_client(dockerd, HOST, "9001"),
            ("localhost", "dockerd"): host_client(dockerd, "127.0.0.1", "9001"),
            ("container to container", "dockerd"): container_client(dockerd.docker, "client", address)}


def wait_for(paths):
    for (path, who), ask in paths.items():
        def answers(ask=ask):
            try:
                return ask("round", "1")
            except (RuntimeError, AssertionError):
                return None

        until(f"{path} of {who} answers", answers, 120)


def measure(paths, options):
    found = {key: {} for key in paths}
    order = list(paths)
    for i in range(options.rounds):
        for k in range(len(order)):
            key = order[(i + k) % len(order)]
            pause.wait(0.1)
            for figure, value in client(paths[key], options).items():
                found[key].setdefault(figure, []).append(value)
    return {key: {figure: (max if figure == "MB/s" else min)(values) for figure, values in figures.items()}
            for key, figures in found.items()}


def grow(engine, count):
    """Milliseconds that create and start take, by the number of containers that run already; each publishes a port."""
    times, ids = [], []
    for i in range(count):
        body = {"Image": "silo/base", "Cmd": ["sleep", "100000"], "HostConfig": {
            "Isolation": "process", "PortBindings": {"80/tcp": [{"HostPort": str(20000 + i)}]}}}
        start = time.perf_counter()
        answer = engine.http("POST", f"/containers/create?name=grow{i}", body)
        assert answer[0] == 201, answer
        ids.append(answer[2]["Id"])
        answer = engine.http("POST", f"/containers/{ids[-1]}/start")
        assert answer[0] == 204, answer
        times.append((time.perf_counter() - start) * 1000)
        pause.wait(0.02)
    return times


def ratio(figures, path, who, against, figure):
    """Above 1 is better than the other one."""
    mine, other = figures.get((path, who)), figures.get((path, against))
    if not mine or not other:
        return None
    return mine[figure] / other[figure] if figure == "MB/s" else other[figure] / mine[figure]


def report(figures, times, options):
    lines = ["# What networks cost", "",
             f"`script/bench net`: the best of {options.rounds} interleaved rounds, {os.cpu_count()} CPUs. Throughput of one TCP "
             "connection into the container; round trip of one byte; connecting, one round trip and closing. Published port: from "
             "another machine. Container to container: the client is a container with process isolation, or of dockerd's. The bare "
             "QEMU has a tap on the same bridge from its start.", "",
             "| path | | MB/s | round trip us | connection us |", "|---|---|---|---|---|"]
    for (path, who), f in sorted(figures.items()):
        lines.append(f"| {path} | {who} | {f['MB/s']:.0f} | {f['round trip']:.0f} | {f['connection']:.0f} |")
    lines += ["", "Ratios: above 1 is better than the other one.", "",
              "| path | | MB/s | round trip | connection |", "|---|---|---|---|---|"]
    goals = []
    for who, against, least in (("silo process", "dockerd", 0.95), ("silo hyperv", BARE, 0.9)):
        for path in ("published port", "localhost", "container to container"):
            row = {f: ratio(figures, path, who, against, f) for f in ("MB/s", "round trip", "connection")}
            if None in row.values():
                continue
            lines.append(f"| {path} | {who} / {against} | " + " | ".join(f"{v:.2f}" for v in row.values()) + " |")
            goals += [(f"{who}, {path}, {f}: at least {least} of {against}", v >= least) for f, v in row.items()]
    if times:
        n = min(50, len(times) // 4)
        first, last = statistics.median(times[:n]), statistics.median(times[-n:])
        lines += ["", "| create and start a container that publishes a port, process | ms |", "|---|---|",
                  f"| the first {n} | {first:.1f} |", f"| the last {n} of {len(times)} | {last:.1f} |", f"| ratio | {last / first:.2f} |"]
        goals.append((f"the {len(times)}th container with a port costs at most twice the first", last <= 2 * first))
    lines += ["", "| goal | |", "|---|---|"] + [f"| {text} | {'reached' if reached else 'missed'} |" for text, reached in goals]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement of throughput")
    parser.add_argument("--count", type=int, default=500, help="round trips of each measurement")
    parser.add_argument("--containers", type=int, default=500, help="how many are started to see what one more costs")
    parser.add_argument("--output", default=str(TOP / "bench/net.md"))
    options = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="silo-bench-"))
    vm_dir = Path(os.environ.get("SILO_VM_DIR", BUILD / "vm"))
    vm_dir.mkdir(parents=True, exist_ok=True)
    config = top / "daemon.json"
    config.write_text(json.dumps({"bip": f"{GATEWAY}/16", "vm-standby": False}), encoding="utf-8")
    engine = Engine(vm_dir, "--config-file", config)
    place, dockerd, machine, times = Place(engine.namespace), None, None, []
    try:
        engine.start()
        engine.docker("run", "--rm", "--isolation=hyperv", "silo/base", "true")  # makes the template
        engine.docker("run", "-d", "--name", "first", "silo/base", "sleep", "100000")  # and the bridge
        bridge = engine.http("GET", "/networks/bridge")[2]["Options"]["com.docker.network.bridge.name"]
        machine = BareVM(place, vm_dir, bridge, top)
        paths = silo_paths(engine, place, machine)
        if shutil.which("dockerd"):
            dockerd = Dockerd(top)
            if dockerd.works:
                paths |= docker_paths(dockerd)
            else:
                print(f"dockerd is installed but doesn't start here:\n{(top / 'dockerd.log').read_text()[-800:]}", file=sys.stderr)
        wait_for(paths)
        figures = measure(paths, options)
        machine.stop()
        engine.remove_containers()
        if options.containers:
            times = grow(engine, options.containers)
    finally:
        engine.remove_containers()
        engine.stop()
        if machine:
            machine.stop()
        if dockerd:
            dockerd.stop()
        place.close()
        engine.remove()
        subprocess.run(["umount", "-q", top / "dockerd"], check=False)
        shutil.rmtree(top, ignore_errors=True)
    publish(options.output, report(figures, times, options))


main()
