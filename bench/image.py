#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What loading an image of 10 layers and ~600 MB costs, beside the peers that are installed, a plain untar and the pure
decompression. Also: what one engine saves the other runs. Called by script/bench. Rounds are interleaved."""
import argparse
import gzip
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/flow"))

from engine import BUILD, DOCKER, Engine, until  # noqa: E402
from images import busybox_entries, docker_archive, layer  # noqa: E402

LAYERS, LAYER_BYTES = 10, 62_000_000
IMAGE = "bench/image:1"


class Dockerd:
    """A private dockerd in the engine's network namespace: both have the same network."""

    def __init__(self, top, engine):
        self.socket, self.log = top / "dockerd.sock", open(top / "dockerd.log", "wb")
        self.environment = dict(engine.cli_environment, DOCKER_HOST=f"unix://{self.socket}")
        self.process = subprocess.Popen(
            [*engine.enter(), "dockerd", "--data-root", top / "dockerd", "--exec-root", top / "dockerd-run", "-H",
             f"unix://{self.socket}", "--pidfile", top / "dockerd.pid", "--bridge=none", "--iptables=false"],
            pass_fds=[engine.namespace], stdout=self.log, stderr=self.log)
        until("dockerd answers", lambda: subprocess.run([DOCKER, "version"], env=self.environment, capture_output=True,
                                                        check=False).returncode == 0)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def host_files():
    """Files that are typical of images: those of this host."""
    found = []
    for base in ("/usr/lib", "/usr/share", "/usr/bin"):
        for place, _, names in os.walk(base):
            for name in names:
                path = os.path.join(place, name)
                if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) < 30_000_000:
                    found.append(path)
    found.sort()
    random.Random(1).shuffle(found)
    return iter(found)


def make_layer(number, files):
    out, size = io.BytesIO(), 0
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        if number == 0:
            for info, data in busybox_entries():
                tar.addfile(info, io.BytesIO(data))
        for path in files:
            data = Path(path).read_bytes()
            info = tarfile.TarInfo(f"layer{number}{path}")
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
            size += len(data)
            if size >= LAYER_BYTES:
                break
    return out.getvalue()


def make_archives(top):
    """{"plain": archive, "gzip": archive with compressed layers}, and the layers as files."""
    files = host_files()
    layers = [make_layer(i, files) for i in range(LAYERS)]
    paths = {}
    plain = docker_archive([IMAGE], layers)
    (top / "plain.tar").write_bytes(plain)
    paths["plain"] = top / "plain.tar"
    packed = [gzip.compress(data, 1) for data in layers]
    with tarfile.open(fileobj=io.BytesIO(plain)) as source, tarfile.open(top / "gzip.tar", "w") as target:
        names = json.loads(source.extractfile("manifest.json").read())[0]["Layers"]
        for member in source:
            data = packed[names.index(member.name)] if member.name in names else source.extractfile(member).read()
            info = tarfile.TarInfo(member.name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    paths["gzip"] = top / "gzip.tar"
    for i, data in enumerate(layers):
        (top / f"layer{i}.tar").write_bytes(data)
        (top / f"layer{i}.tar.gz").write_bytes(packed[i])
    return paths


def seconds(command, environment=None, cwd=None):
    start = time.perf_counter()
    subprocess.run(command, env=environment, cwd=cwd, check=True, capture_output=True, timeout=900)
    return time.perf_counter() - start


def untar(top):
    target = top / "untarred"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    return sum(seconds(["tar", "xf", str(top / f"layer{i}.tar"), "-C", str(target)]) for i in range(LAYERS))


def decompress(top):
    return sum(seconds(["gzip", "-t", str(top / f"layer{i}.tar.gz")]) for i in range(LAYERS))


def load(environment, path):
    subprocess.run([DOCKER, "rmi", "-f", IMAGE], env=environment, capture_output=True, check=False)
    return seconds([DOCKER, "load", "-q", "-i", str(path)], environment)


def peak_kb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def exchange(engine, dockerd):
    """An image that one engine has saved runs on the other."""
    small = docker_archive(["bench/small:1"], [layer(busybox_entries())])
    run = [DOCKER, "run", "--rm", "--network", "none", "bench/small:1", "/bin/echo", "runs"]
    for source, target in ((engine.cli_environment, dockerd.environment), (dockerd.environment, engine.cli_environment)):
        subprocess.run([DOCKER, "load"], input=small, env=source, check=True, capture_output=True)
        saved = subprocess.run([DOCKER, "save", "bench/small:1"], env=source, check=True, capture_output=True).stdout
        subprocess.run([DOCKER, "rmi", "bench/small:1"], env=source, check=True, capture_output=True)
        subprocess.run([DOCKER, "rmi", "-f", "bench/small:1"], env=target, check=False, capture_output=True)
        subprocess.run([DOCKER, "load"], input=saved, env=target, check=True, capture_output=True)
        out = subprocess.run(run, env=target, check=True, capture_output=True).stdout
        assert out == b"runs\n", out
        subprocess.run([DOCKER, "rmi", "bench/small:1"], env=target, check=True, capture_output=True)


def measure(top, engine, dockerd, paths, rounds):
    cases = [("plain untar", lambda: untar(top)), ("pure gzip -t", lambda: decompress(top))]
    for form, path in paths.items():
        cases.append((f"silo, {form} layers", lambda path=path: load(engine.cli_environment, path)))
        if dockerd:
            cases.append((f"dockerd, {form} layers", lambda path=path: load(dockerd.environment, path)))
    took = {name: [] for name, _ in cases}
    for _ in range(rounds):
        for name, case in cases:
            took[name].append(case())
    return {name: statistics.median(values) for name, values in took.items()}


def report(median, peak, exchanged):
    floor = {"plain": median["plain untar"], "gzip": max(median["plain untar"], median["pure gzip -t"])}
    lines = [f"`docker load`, {LAYERS} layers, {LAYERS * LAYER_BYTES // 1_000_000} MB; medians.", "",
             "| | seconds | to untar or decompression | to dockerd |", "|---|---|---|---|"]
    for name, value in median.items():
        form = "gzip" if "gzip" in name else "plain"
        peer = median.get(f"dockerd, {form} layers")
        ratio = f"{value / peer:.2f}" if peer and name.startswith("silo") else ""
        lines.append(f"| {name} | {value:.2f} | {value / floor[form]:.2f} | {ratio} |")
    lines += ["", f"Peak memory of silod: {peak / 1024:.1f} MB.",
              "Images saved by either engine run on the other." if exchanged else "dockerd isn't installed here."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    top = Path(tempfile.mkdtemp(prefix="silo-bench-"))
    engine = Engine(Path(os.environ.get("SILO_VM_DIR", BUILD / "vm")), "--isolation", "process").start()
    dockerd = Dockerd(top, engine) if shutil.which("dockerd") else None
    try:
        paths = make_archives(top)
        if dockerd:
            exchange(engine, dockerd)
        median = measure(top, engine, dockerd, paths, rounds)
        text = report(median, peak_kb(engine.process.pid), bool(dockerd))
        print(text)
        results = TOP / "bench/image.md"
        results.write_text(f"# script/bench image\n\n{text}")
    finally:
        if dockerd:
            dockerd.stop()
        engine.stop()
        engine.remove()
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
