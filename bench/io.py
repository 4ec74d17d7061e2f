#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What files cost: binds, volumes and the root file system in both modes, beside dockerd where it is installed and beside
a bare QEMU with the same devices. Called by script/bench.

tests/file_probe.c measures, in containers that run already; its first pass warms up. Rounds are interleaved, each in
another order; quoted are medians, and ratios in bench/io.md, since only those mean something on another machine.
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
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/flow"))

from bare import archive, kernel_modules  # noqa: E402
from engine import BUILD, DOCKER, Engine, new_namespace, until  # noqa: E402
from images import busybox_entries, directory, entry, layer  # noqa: E402
from report import publish  # noqa: E402

PROBE, IMAGE = BUILD / "tests/file-probe", "bench/file-probe"
PATHS = {"root": "/work", "bind": "/bind", "volume": "/volume"}
FIGURES = ("write", "read", "create", "stat", "unlink", "sync")
MODULES = ("virtio_mmio", "virtio_blk", "crc32c_generic", "crc32c_intel", "erofs", "ext4", "overlay", "9pnet_virtio", "9p")
BARE = "bare QEMU"
INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
{modules}
busybox mount -t erofs -o ro,noatime /dev/vda /image
busybox mount -t ext4 -o noatime,discard /dev/vdb /disk
busybox mkdir -p /disk/upper /disk/work
busybox mount -t overlay -o lowerdir=/image,upperdir=/disk/upper,workdir=/disk/work overlay /root
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=mmap,access=client,posixacl share /share
exec 3<>/dev/ttyS0
busybox stty raw -echo <&3
echo ready >&3
while read path <&3; do /file-probe speed "$path" >&3 2>&1 || echo "/file-probe failed" >&3; done
"""


class Dockerd:
    """A private dockerd, without networks."""

    def __init__(self, top):
        self.top, self.log = top, open(top / "dockerd.log", "wb")
        self.environment = dict(os.environ, DOCKER_HOST=f"unix://{top}/dockerd.sock")
        self.namespace = new_namespace()
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/proc/self/fd/{self.namespace}", "--", "dockerd", "--data-root", top / "dockerd", "--exec-root",
             top / "dockerd-run", "-H", f"unix://{top}/dockerd.sock", "--pidfile", top / "dockerd.pid", "--bridge=none",
             "--iptables=false"], stdout=self.log, stderr=self.log, pass_fds=[self.namespace])
        until("dockerd answers", lambda: self.process.poll() is not None or subprocess.run(
            [DOCKER, "version"], env=self.environment, capture_output=True, check=False).returncode == 0, 60)
        self.works = self.process.poll() is None

    def stop(self):
        if self.process.poll() is None:
            ids = docker(self.environment, "ps", "-aq").split()
            if ids:
                docker(self.environment, "rm", "-fv", *ids)
            self.process.terminate()
            self.process.wait(60)
        os.close(self.namespace)


class BareVM:
    """QEMU with the disks and the shared directory of Silo's machines, and with nothing of Silo in it."""

    def __init__(self, engine, vm_dir, top, shared):
        info = json.loads(next(vm_dir.glob("template-*/template.json")).read_text())
        kernel, initrd, self.disk = Path(info["kernel_path"]), top / "bare.cpio.gz", top / "bare.ext4"
        modules = kernel_modules(kernel, MODULES)
        script = INIT.format(modules="\n".join(f"busybox insmod /{m.name}" for m in modules))
        files = [("bin/busybox", Path("/bin/busybox").read_bytes()), ("file-probe", PROBE.read_bytes()), ("init", script.encode())]
        files += [(m.name, m.read_bytes()) for m in modules]
        initrd.write_bytes(gzip.compress(archive(files, ("bin", "proc", "sys", "dev", "image", "disk", "root", "share")), 1))
        image = self.image(engine)
        subprocess.run(["cp", "--sparse=always", next(vm_dir.glob("disk-*.ext4")), self.disk], check=True)
        self.ours, theirs = os.openpty()
        subprocess.run(["stty", "raw", "-echo"], stdin=theirs, check=True)
        self.lines = os.fdopen(os.dup(self.ours), "r", errors="replace")
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "microvm,acpi=on,rtc=on", "-accel", info["accelerator"], "-cpu", info["cpu"], "-m",
             str(info["memory_mib"]), "-smp", str(info["cpus"]), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-global", "virtio-mmio.force-legacy=false", "-kernel", kernel, "-initrd", initrd, "-append", info["append"],
             "-blockdev", f"node-name=image,read-only=on,driver=raw,file.driver=file,file.filename={image}",
             "-device", "virtio-blk-device,drive=image",
             "-blockdev", f"node-name=disk,driver=raw,discard=unmap,file.driver=file,file.filename={self.disk},file.discard=unmap",
             "-device", "virtio-blk-device,drive=disk",
             "-fsdev", f"local,id=share,path={shared},security_model=passthrough,multidevs=remap",
             "-device", "virtio-9p-device,fsdev=share,mount_tag=share",
             "-chardev", f"serial,id=line,path={os.ttyname(theirs)}", "-serial", "chardev:line"], stdin=subprocess.DEVNULL)
        until("QEMU has the line", lambda: self.has_line(os.ttyname(theirs)))
        os.close(theirs)  # so that the end of QEMU is an end of the line
        self.wait_for("ready")

    def has_line(self, path):
        place = Path(f"/proc/{self.process.pid}/fd")
        return self.process.poll() is not None or any(os.readlink(fd) == path for fd in place.iterdir())

    @staticmethod
    def image(engine):
        """The EROFS image of the probe's image; made when the first machine got it."""
        return max(engine.root.glob("layers/*/image.erofs"), key=lambda p: p.stat().st_mtime)

    def wait_for(self, start):
        for line in self.lines:
            if line.startswith(start):
                return line
            if line.startswith("/file-probe"):
                raise RuntimeError(f"in the bare QEMU: {line}")
        raise RuntimeError("the bare QEMU has ended")

    def speed(self, path):
        os.write(self.ours, f"{path}\n".encode())
        return json.loads(self.wait_for("{"))

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.lines.close()
        os.close(self.ours)
        self.disk.unlink()


def docker(environment, *args, stdin=None):
    done = subprocess.run([DOCKER, *map(str, args)], env=environment, input=stdin, capture_output=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {args}: {done.stderr.decode()[-300:]}")
    return done.stdout.decode().strip()


def container_cases(environment, who, top, *options):
    """Start a container with all kinds of files: {(path, who): function that measures}."""
    name = who.replace(" ", "-")
    shared = top / f"bind-{name}"
    shared.mkdir()
    docker(environment, "run", "-d", "--name", name, "--network", "none", *options, "-v", f"{shared}:/bind", "-v", f"{name}:/volume",
           IMAGE, "/bin/sleep", "100000")
    return {(path, who): lambda place=place: json.loads(docker(environment, "exec", name, "/file-probe", "speed", place))
            for path, place in PATHS.items()}


def measure(cases, rounds):
    found = {case: [] for case in cases}
    order = list(cases)
    for i in range(rounds):
        for k in range(len(order)):
            case = order[(i + k) % len(order)]
            found[case].append(cases[case]())
    return {case: {f: statistics.median(r[f] for r in rows) for f in FIGURES} for case, rows in found.items()}


def report(figures, options):
    lines = ["# What files cost", "",
             f"`script/bench io`: medians of {options.rounds} interleaved rounds, {os.cpu_count()} CPUs. Write and read: 32 MiB in "
             "pieces of 128 KiB, written with fsync and read from outside of the kernel's cache. The others: microseconds of one "
             "operation on a small file; sync is 4 KiB and fdatasync. Root: the writable layer over the image.", "",
             "| | | write MB/s | read MB/s | create us | stat us | unlink us | sync us |", "|---|---|---|---|---|---|---|---|"]
    for (path, who), f in sorted(figures.items()):
        rates = [f"{32 * 1.048576 / f[k] * 1e6:.0f}" for k in ("write", "read")]
        lines.append(f"| {path} | {who} | " + " | ".join(rates + [f"{f[k]:.1f}" for k in FIGURES[2:]]) + " |")
    lines += ["", "Ratios: above 1 is better than the other one.", "",
              "| | | " + " | ".join(FIGURES) + " |", "|---|---|" + "---|" * len(FIGURES)]
    goals = []
    for who, against, least in (("silo process", "dockerd", 0.95), ("silo hyperv", BARE, 0.9)):
        for path in PATHS:
            other = figures.get((path, against)) or (figures.get(("bind", against)) if path == "volume" else None)
            if not other:
                continue
            row = {k: other[k] / figures[path, who][k] for k in FIGURES}
            lines.append(f"| {path} | {who} / {against} | " + " | ".join(f"{v:.2f}" for v in row.values()) + " |")
            middle = statistics.geometric_mean(row.values())
            goals.append((f"{who}, {path}: at least {least} of {against} (geometric mean {middle:.2f})", middle >= least))
    lines += ["", "| goal | |", "|---|---|"] + [f"| {text} | {'reached' if reached else 'missed'} |" for text, reached in goals]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", default=str(TOP / "bench/io.md"))
    options = parser.parse_args()
    tar = layer([*busybox_entries(), directory("work"), entry("file-probe", data=PROBE.read_bytes())])
    top = Path(tempfile.mkdtemp(prefix="silo-bench-"))
    vm_dir = Path(os.environ.get("SILO_VM_DIR", BUILD / "vm"))
    vm_dir.mkdir(parents=True, exist_ok=True)
    engine, dockerd, machine = Engine(vm_dir), None, None
    try:
        engine.start()
        cases = {}
        if shutil.which("dockerd"):
            dockerd = Dockerd(top)
            if dockerd.works:
                docker(dockerd.environment, "import", "-", IMAGE, stdin=tar)
                cases |= container_cases(dockerd.environment, "dockerd", top)
            else:
                print(f"dockerd is installed but doesn't start here:\n{(top / 'dockerd.log').read_text()[-800:]}", file=sys.stderr)
        docker(engine.cli_environment, "import", "-", IMAGE, stdin=tar)
        for mode in ("process", "hyperv"):
            cases |= container_cases(engine.cli_environment, f"silo {mode}", top, f"--isolation={mode}")
        (top / "bare").mkdir()
        machine = BareVM(engine, vm_dir, top, top / "bare")
        cases |= {("root", BARE): lambda: machine.speed("/root"), ("bind", BARE): lambda: machine.speed("/share")}
        figures = measure(cases, options.rounds)
    finally:
        if machine:
            machine.stop()
        if dockerd:
            dockerd.stop()
        engine.remove_containers()
        engine.stop()
        engine.remove()
        subprocess.run(["umount", "-q", top / "dockerd"], check=False)
        shutil.rmtree(top, ignore_errors=True)
    publish(options.output, report(figures, options))


main()
