#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `docker pull` of an image of 10 layers and ~600 MB from a docker-registry on loopback costs, beside dockerd, a
plain untar and the pure decompression. Called by script/bench. Rounds are interleaved."""
import argparse
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/flow"))
sys.path.insert(0, str(TOP / "bench"))

from engine import BUILD, DOCKER, Engine  # noqa: E402
from image import Dockerd, LAYERS, LAYER_BYTES, decompress, host_files, make_layer, peak_kb, seconds, untar  # noqa: E402
from images import oci_layout  # noqa: E402
from registries import RealRegistry  # noqa: E402


def seed(top, engine, name):
    """The image, in the registry; its layers as files for the floors."""
    files = host_files()
    layers = [make_layer(i, files) for i in range(LAYERS)]
    for i, data in enumerate(layers):
        (top / f"layer{i}.tar").write_bytes(data)
        (top / f"layer{i}.tar.gz").write_bytes(gzip.compress(data, 1))
    (top / "seed.tar").write_bytes(oci_layout("bench/pull:1", layers, compress=False))
    engine.command("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-compress-format", "gzip",
                   f"oci-archive:{top}/seed.tar", f"docker://{name}")


def pull(environment, name):
    subprocess.run([DOCKER, "rmi", "-f", name], env=environment, capture_output=True, check=False)
    subprocess.run(["sync"], check=True)
    return seconds([DOCKER, "pull", "-q", name], environment)


def measure(top, engine, dockerd, name, rounds):
    cases = [("plain untar", lambda: untar(top)), ("pure gzip -t", lambda: decompress(top)),
             ("silo", lambda: pull(engine.cli_environment, name))]
    if dockerd:
        cases.append(("dockerd", lambda: pull(dockerd.environment, name)))
    took = {case: [] for case, _ in cases}
    for _ in range(rounds):
        for case, run in cases:
            took[case].append(run())
    return {case: statistics.median(values) for case, values in took.items()}


def report(median, peak):
    floor = max(median["plain untar"], median["pure gzip -t"])
    lines = [f"`docker pull`, {LAYERS} layers of gzip, {LAYERS * LAYER_BYTES // 1_000_000} MB, {os.cpu_count()} CPUs; medians.",
             "", "| | seconds | to untar or decompression | to dockerd |", "|---|---|---|---|"]
    for name, value in median.items():
        ratio = f"{value / median['dockerd']:.2f}" if name == "silo" and "dockerd" in median else ""
        lines.append(f"| {name} | {value:.2f} | {value / floor:.2f} | {ratio} |")
    return "\n".join(lines + ["", f"Peak memory of silod: {peak / 1024:.1f} MB."]) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    top = Path(tempfile.mkdtemp(prefix="silo-bench-"))
    engine = Engine(Path(os.environ.get("SILO_VM_DIR", BUILD / "vm")), "--isolation", "process").start()
    registry, dockerd = RealRegistry(engine, top / "registry"), None
    try:
        name = f"{registry.name}/bench/pull:1"
        seed(top, engine, name)
        dockerd = Dockerd(top, engine) if shutil.which("dockerd") else None
        median = measure(top, engine, dockerd, name, rounds)
        text = report(median, peak_kb(engine.process.pid))
        print(text)
        (TOP / "bench/pull.md").write_text(f"# script/bench pull\n\n{text}")
    finally:
        if dockerd:
            dockerd.stop()
        registry.close()
        engine.stop()
        engine.remove()
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
