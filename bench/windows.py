#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What starting a Windows container costs, beside a Linux container and beside the same Wine in a chroot, and what an idle
one takes of memory. Called by script/bench.

Rounds are interleaved with idle time between the runs; bench/windows.md gets medians and ratios, since only ratios mean
something on another machine.
"""
import argparse
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

from engine import BUILD, DOCKER, Engine, descendants, until  # noqa: E402
from report import publish  # noqa: E402

IMAGE = "mcr.microsoft.com/windows/servercore:ltsc2022"
LINUX = "silo/base"
VER = ["cmd", "/c", "ver"]
idle = threading.Event()


def timed(command, **kwargs):
    start = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=600, **kwargs)
    return (time.perf_counter() - start) * 1000


class Chroot:
    """The image's files as a chroot: Wine without an engine. Its server ends before each run, as with a container."""
    ENVIRONMENT = {"WINEPREFIX": "/wine", "WINESERVER": "/usr/lib/wine/wineserver64", "WINEDEBUG": "-all", "HOME": "/",
                   "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": "/run/user/0", "PATH": os.environ["PATH"]}

    def __init__(self, engine, top):
        self.root = top / "root"
        base = next(engine.root.glob("layers/*/diff/usr/lib/wine/wine64")).parents[3]
        for each in ("upper", "work", "root"):
            (top / each).mkdir()
        for args in (["-t", "overlay", "-o", f"lowerdir={base},upperdir={top}/upper,workdir={top}/work", "overlay", self.root],
                     ["-t", "proc", "proc", self.root / "proc"], ["--bind", "/dev", self.root / "dev"]):
            subprocess.run(["mount", *args], check=True)

    def server(self, *args):
        subprocess.run(["chroot", self.root, "/usr/lib/wine/wineserver64", *args], env=self.ENVIRONMENT, check=False)

    def run(self):
        self.server("-k")
        self.server("-w")
        return timed(["chroot", self.root, "/usr/lib/wine/wine64", *VER], env=self.ENVIRONMENT, stderr=subprocess.DEVNULL)

    def end(self):
        self.server("-k")
        for each in (self.root / "proc", self.root / "dev", self.root):
            subprocess.run(["umount", "-l", each], check=True)


def cases(engine, chroot):
    def container(mode, image, *command):
        words = [DOCKER, "run", "--rm", "--network", "none", f"--isolation={mode}", image, *command]
        return lambda: timed(words, env=engine.cli_environment)

    return {"Linux, process: `silo/base true`": container("process", LINUX, "true"),
            "Windows, process: `cmd /c ver`": container("process", IMAGE, *VER),
            "the same Wine in a chroot": chroot.run,
            "Linux, hyperv: `silo/base true`": container("hyperv", LINUX, "true"),
            "Windows, hyperv: `cmd /c ver`": container("hyperv", IMAGE, *VER)}


def measure(runs, rounds, gap):
    for run in runs.values():
        run()  # warm: caches, templates
    times = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds):
        for k in range(len(names)):
            name = names[(i + k) % len(names)]
            idle.wait(gap)
            times[name].append(runs[name]())
    return times


def pss_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def idle_memory(engine):
    """Of a container that waits for input, without its monitor: KB (PSS) and number of processes."""
    identity = engine.docker("run", "-d", "-i", "--isolation=process", IMAGE, "cmd", timeout=600).line
    init = engine.state(identity)["Pid"]
    until("its first words", lambda: "Microsoft Windows" in engine.docker("logs", identity).out, 60)
    idle.wait(5)
    pids = [init, *(row[0] for row in descendants(init))]
    found = sum(pss_kb(pid) for pid in pids), len(pids)
    engine.remove_containers()
    return found


def report(times, memory, options):
    middle = {name: statistics.median(values) for name, values in times.items()}
    names = list(times)
    linux, windows, bare, linux_vm, windows_vm = (middle[name] for name in names)
    lines = ["# What starting a Windows container costs", "",
             f"`script/bench windows`: medians of {options.rounds} interleaved rounds with {options.gap * 1000:g} ms of idle time "
             f"before each run, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end. One run is `docker run --rm --network "
             "none ...` from the start of the CLI to its end.", "",
             "| | median ms | min ms | ratio to a Linux container | ratio to Wine in a chroot |", "|---|---|---|---|---|"]
    for name, values in times.items():
        lines.append(f"| {name} | {middle[name]:.0f} | {min(values):.0f} | {middle[name] / linux:.2f} | {middle[name] / bare:.2f} |")
    lines += ["", f"An idle container (`cmd` that waits for input, process isolation): {memory[0] / 1024:.1f} MB (PSS) in "
              f"{memory[1]} processes.", "", "| goal | |", "|---|---|"]
    goals = [("`cmd /c ver` under 300 ms, process-isolated", windows < 300),
             ("hyperv within 3 times of process plus the Linux clone", windows_vm <= 3 * windows + linux_vm),
             ("idle below 40 MB, process-isolated", memory[0] < 40 * 1024)]
    lines += [f"| {text} | {'reached' if reached else 'missed'} |" for text, reached in goals]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--gap", type=float, default=0.2, help="idle seconds before each run")
    parser.add_argument("--output", default=str(TOP / "bench/windows.md"))
    options = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="silo-bench-"))
    vm_dir = Path(os.environ.get("SILO_VM_DIR", BUILD / "vm"))
    vm_dir.mkdir(parents=True, exist_ok=True)
    engine = Engine(vm_dir).start()
    chroot = None
    try:
        engine.docker("pull", IMAGE, timeout=900)
        chroot = Chroot(engine, top)
        times = measure(cases(engine, chroot), options.rounds, options.gap)
        memory = idle_memory(engine)
    finally:
        if chroot:
            chroot.end()
        engine.remove_containers()
        engine.stop()
        engine.remove()
        shutil.rmtree(top, ignore_errors=True)
    publish(options.output, report(times, memory, options))


main()
