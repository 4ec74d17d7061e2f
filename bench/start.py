#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What starting a container costs, beside the peers that are installed. Called by script/bench.

Rounds are interleaved (each round runs every case once) with idle time between the runs: a tight loop hides the
kernel's slow paths. Quoted are medians and minima; bench/results.md gets ratios, since only those mean something on
another machine.
"""
import argparse
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

from engine import BUILD, DOCKER, Engine, program, until  # noqa: E402
from images import busybox_entries, layer  # noqa: E402
from report import publish  # noqa: E402

PEER_IMAGE = "bench/base"
HYPERV = "silo hyperv, a clone that waits"
idle = threading.Event()


def timed(command, environment):
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
    took = (time.perf_counter() - start) * 1000
    if done.returncode:
        raise RuntimeError(f"{command}: {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    return took


def private_kb(pid):
    """Private memory of a process: pages that it has written. Clean pages of files (programs, the template's memory) are
    in the page cache for all, however few have them mapped at the moment."""
    total = 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        for line in f:
            if line.startswith(("Private_Dirty", "Private_Hugetlb", "Swap:")):
                total += int(line.split()[1])
    return total


class Dockerd:
    """A private dockerd, where one is installed."""

    def __init__(self, top):
        self.socket, self.process = top / "dockerd.sock", None
        if not shutil.which("dockerd"):
            return
        self.log = open(top / "dockerd.log", "wb")
        self.process = subprocess.Popen(
            ["dockerd", "--data-root", top / "dockerd", "--exec-root", top / "dockerd-run", "-H", f"unix://{self.socket}",
             "--pidfile", top / "dockerd.pid", "--bridge=none", "--iptables=false"], stdout=self.log, stderr=self.log)
        self.environment = dict(os.environ, DOCKER_HOST=f"unix://{self.socket}")
        until("dockerd answers", lambda: self.process.poll() is not None or subprocess.run(
            [DOCKER, "version"], env=self.environment, capture_output=True, check=False).returncode == 0, 60)
        if self.process.poll() is not None:
            print("dockerd is installed but doesn't start here; see its log:", file=sys.stderr)
            print((top / "dockerd.log").read_text()[-800:], file=sys.stderr)
            self.process = None

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)


def silo_cases(engine, demand_engine, cold_engine):
    run = [DOCKER, "run", "--rm", "--network", "none"]
    return [("silo process", [*run, "--isolation=process", "silo/base", "true"], engine.cli_environment),
            (HYPERV, [*run, "--isolation=hyperv", "silo/base", "true"], engine.cli_environment),
            ("silo hyperv, clone on demand", [*run, "--isolation=hyperv", "silo/base", "true"], demand_engine.cli_environment),
            ("silo hyperv, cold boot", [*run, "--isolation=hyperv", "silo/base", "true"], cold_engine.cli_environment)]


def peer_cases(top, dockerd):
    tar = layer(busybox_entries())
    cases = []
    if dockerd.process:
        subprocess.run([DOCKER, "import", "-", PEER_IMAGE], input=tar, env=dockerd.environment, check=True, capture_output=True)
        cases.append(("dockerd", [DOCKER, "run", "--rm", "--network", "none", PEER_IMAGE, "/bin/true"], dockerd.environment))
    if shutil.which("podman"):
        base = ["podman", "--root", str(top / "podman"), "--runroot", str(top / "podman-run"), "--cgroup-manager=cgroupfs"]
        subprocess.run([*base, "import", "-", PEER_IMAGE], input=tar, check=True, capture_output=True)
        cases.append(("podman", [*base, "run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024",
                                 "--ulimit", "nproc=1024:1024", PEER_IMAGE, "/bin/true"], dict(os.environ)))
    return cases


def vm_alone(vm_dir):
    """The virtual machine without container, monitor and engine: the floor of hyperv. Milliseconds."""
    driver = BUILD / "tests/vm-driver"
    floor = {}
    for mode, name in (("clone", "bare virtual machine, clone"), ("cold", "bare virtual machine, boot")):
        done = subprocess.run([driver, vm_dir, Path(program("silod")).resolve().parent, mode, "10"],
                              capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            print(f"vm-driver {mode}: {done.stderr[-500:]}", file=sys.stderr)
            continue
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        floor[name] = statistics.median(row["ms"] for row in rows if row.get("mode") == mode)
    return floor


def measure(cases, rounds, gap):
    def works(case):
        try:
            timed(case[1], case[2])  # warm as well: caches, templates
            return True
        except RuntimeError as e:
            if case[0].startswith("silo"):
                raise
            print(f"{case[0]} is left out: {e}", file=sys.stderr)
            return False

    cases = [case for case in cases if works(case)]
    times = {name: [] for name, _, _ in cases}
    for i in range(rounds):
        for k in range(len(cases)):
            name, command, environment = cases[(i + k) % len(cases)]
            idle.wait(gap)
            times[name].append(timed(command, environment))
    return times


def memory(engine, demand_engine):
    """Private memory of idle containers' monitors and virtual machines, in KB."""
    found = {}
    for each, mode, machine in ((engine, "process", ""), (engine, "hyperv", "a clone that waited"),
                                (demand_engine, "hyperv", "clone on demand")):
        identity = each.docker("run", "-d", f"--isolation={mode}", "silo/base", "sleep", "1000").line
        idle.wait(20)  # let the guest settle, and memory be given back
        found[f"monitor, {mode}{machine and ', '}{machine}"] = private_kb(each.monitor_pid(identity))
        if machine:
            found[f"vmwp, {machine}"] = private_kb(each.vmwp_pid(identity))
        each.remove_containers()
    return found


def report(times, sizes, floor, options):
    middle = {name: statistics.median(values) for name, values in times.items()}
    base = middle.get("dockerd") or middle["silo process"]
    against = "dockerd" if "dockerd" in middle else "silo process"
    lines = ["# What starting a container costs", "",
             f"`script/bench start`: medians of {options.rounds} interleaved rounds with {options.gap * 1000:g} ms of idle time "
             f"before each run, {os.cpu_count()} CPUs. One run is `docker run --rm --network none IMAGE true` from the start of the CLI "
             "to its end.", "",
             f"| | median ms | min ms | ratio to {against} |", "|---|---|---|---|"]
    for name, values in times.items():
        lines.append(f"| {name} | {middle[name]:.1f} | {min(values):.1f} | {middle[name] / base:.2f} |")
    for name, value in floor.items():
        lines.append(f"| {name} | {value:.1f} | | {value / base:.2f} |")
    lines += ["", "| private memory | KB |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in sizes.items()]
    goals = [("process is at most 1/4 of dockerd", "dockerd", lambda: middle["silo process"] / middle["dockerd"] <= 0.25),
             ("hyperv clone is at most dockerd's start", "dockerd", lambda: middle[HYPERV] <= middle["dockerd"]),
             ("hyperv clone is at most 1/4 of the cold boot", "silo hyperv, cold boot",
              lambda: middle[HYPERV] / middle["silo hyperv, cold boot"] <= 0.25),
             ("a monitor takes at most 400 KB", None, lambda: max(v for k, v in sizes.items() if "monitor" in k) <= 400),
             ("an idle VM that was cloned on demand takes at most 40 MB", None, lambda: sizes["vmwp, clone on demand"] <= 40 * 1024),
             ("an idle VM that had waited takes at most 40 MB", None, lambda: sizes["vmwp, a clone that waited"] <= 40 * 1024)]
    lines += ["", "| goal | |", "|---|---|"]
    for text, needs, reached in goals:
        known = needs is None or needs in middle
        lines.append(f"| {text} | {('reached' if reached() else 'missed') if known else 'not measured here'} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--gap", type=float, default=0.1, help="idle seconds before each run")
    parser.add_argument("--output", default=str(TOP / "bench/results.md"))
    options = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="silo-bench-"))
    vm_dir = Path(os.environ.get("SILO_VM_DIR", BUILD / "vm"))
    vm_dir.mkdir(parents=True, exist_ok=True)
    no_standby = top / "daemon.json"
    no_standby.write_text('{"vm-standby": false}', encoding="utf-8")
    engine = Engine(vm_dir).start()
    demand_engine = Engine(vm_dir, "--config-file", no_standby).start()
    # Boots each virtual machine where the others clone it.
    cold_engine = Engine(vm_dir, "--config-file", no_standby, environment={"SILO_VM_COLD": "1"}).start()
    dockerd = Dockerd(top)
    try:
        times = measure(silo_cases(engine, demand_engine, cold_engine) + peer_cases(top, dockerd), options.rounds, options.gap)
        floor = vm_alone(vm_dir)
        sizes = memory(engine, demand_engine)
    finally:
        for each in (engine, demand_engine, cold_engine):
            each.remove_containers()
            each.stop()
            each.remove()
        dockerd.stop()
        subprocess.run(["umount", "-q", top / "podman/overlay"], check=False)  # podman leaves its store mounted
        shutil.rmtree(top, ignore_errors=True)
    publish(options.output, report(times, sizes, floor, options))


main()
