#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`silo run` of a /bin/true bundle beside crun and runc, eight at a time, and what stays in memory beside an idle container
of podman. Called by script/bench. Rounds are interleaved, with idle time between the runs."""
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

from engine import process_table, program  # noqa: E402
from images import busybox_entries, docker_archive, layer  # noqa: E402
from oci import make_rootfs  # noqa: E402

UNIFIED = "/sys/fs/cgroup/unified"
STARTERS = 8
idle = threading.Event()


def hide_unified():
    """crun refuses a hybrid hierarchy whose v2 part has controllers: it isn't to see that one."""
    if os.path.ismount(UNIFIED) and not os.environ.get("BENCH_NAMESPACE"):
        os.environ["BENCH_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "sh", "-c", f'umount {UNIFIED} && exec "$@"', "sh", sys.executable, *sys.argv])


def private_kb(pid):
    """Pages that it has written."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith(("Private_Dirty", "Swap:")))


def make_bundle(top):
    bundle = top / "bundle"
    make_rootfs(bundle / "rootfs")
    # what runc writes, so that nobody is given what only he likes
    subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"].update(terminal=False, args=["/bin/true"])
    (bundle / "config.json").write_text(json.dumps(spec))
    return bundle


def timed(command, bundle):
    start = time.perf_counter()
    subprocess.run(command, cwd=bundle, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    return (time.perf_counter() - start) * 1000


def one_at_a_time(runtimes, bundle, rounds, gap):
    times = {name: [] for name in runtimes}
    for _ in range(rounds):
        for name, command in runtimes.items():
            idle.wait(gap)
            times[name].append(timed([*command, "run", "one"], bundle))
    return times


def rate(command, bundle, each):
    """Starts a second of eight callers at once."""
    def work(i):
        for k in range(each):
            timed([*command, "run", f"p{i}-{k}"], bundle)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(STARTERS)]
    start = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return STARTERS * each / (time.perf_counter() - start)


def podman_memory(top, runtime):
    """What conmon takes of its own for an idle container."""
    options = ["podman", "--root", top / "pm", "--runroot", top / "pmrun", "--tmpdir", top / "pmtmp", "--storage-driver", "vfs",
               "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", runtime]
    (top / "image.tar").write_bytes(docker_archive(["bench/oci:1"], [layer(busybox_entries())], {"Cmd": ["sh"]}))
    subprocess.run([*options, "load", "-i", top / "image.tar"], check=True, capture_output=True)
    name = f"idle{os.getpid()}"
    subprocess.run([*options, "run", "-d", "--name", name, "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit",
                    "nproc=1024:1024", "bench/oci:1", "sleep", "1000"], check=True, capture_output=True)
    found = [pid for pid, _, comm, line in process_table() if comm == "conmon" and name in line]
    kb = sum(private_kb(pid) for pid in found)
    subprocess.run([*options, "rm", "-f", "-t", "0", name], check=True, capture_output=True)
    return kb


def silo_memory(command, bundle):
    """Everything that isn't the container's own process."""
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"]["args"] = ["/bin/sleep", "1000"]
    place = bundle.parent / "idle"
    place.mkdir()
    spec["root"]["path"] = str(bundle / "rootfs")
    (place / "config.json").write_text(json.dumps(spec))
    subprocess.run([*command, "run", "--detach", "idle"], cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    kb = sum(private_kb(pid) for pid, _, _, line in process_table() if str(bundle.parent) in line and "bench" not in line)
    subprocess.run([*command, "delete", "--force", "idle"], check=True)
    return kb


def report(times, rates, memory, rounds, gap):
    median = {n: statistics.median(t) for n, t in times.items()}
    lines = ["# `silo run` beside crun and runc", "",
             f"`script/bench oci`: {rounds} interleaved rounds with {gap * 1000:.0f} ms of idle time before each run of a /bin/true "
             f"bundle (`runc spec`), {os.cpu_count()} CPUs.", "",
             "| | median ms | min ms | of crun | of runc | starts/s, 8 at once |", "|---|---|---|---|---|---|"]
    for n in times:
        lines.append(f"| {n} | {median[n]:.1f} | {min(times[n]):.1f} | {median[n] / median['crun']:.2f} | "
                     f"{median[n] / median['runc']:.2f} | {rates[n]:.0f} |")
    lines += ["", "| private memory beside an idle container | KB |", "|---|---|",
              *(f"| {n} | {kb} |" for n, kb in memory.items()), "", "| goal | |", "|---|---|"]
    goals = {
        "at most 0.45 of crun's median": median["silo"] <= 0.45 * median["crun"],
        "at most 0.2 of runc's median": median["silo"] <= 0.2 * median["runc"],
        "8 starters: at least 1.9 of crun's rate": rates["silo"] >= 1.9 * rates["crun"],
        "memory: at most half of conmon and crun": memory["silo"] <= 0.5 * memory["conmon and crun"],
    }
    lines += [f"| {goal} | {'reached' if good else 'missed'} |" for goal, good in goals.items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--gap", type=float, default=0.1)
    options = parser.parse_args()
    hide_unified()
    top = Path(tempfile.mkdtemp(prefix="silo-bench-oci-"))
    try:
        bundle = make_bundle(top)
        runtimes = {"silo": [program("silo"), "--root", str(top / "silo")], "crun": ["crun", "--root", str(top / "crun")],
                    "runc": ["runc", "--root", str(top / "runc")]}
        times = one_at_a_time(runtimes, bundle, options.rounds, options.gap)
        rates = {n: rate(c, bundle, 5) for n, c in runtimes.items()}
        memory = {"silo": silo_memory(runtimes["silo"], bundle), "conmon and crun": podman_memory(top, "crun")}
        text = report(times, rates, memory, options.rounds, options.gap)
        (TOP / "bench/oci.md").write_text(text)
        print(text)
    finally:
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
