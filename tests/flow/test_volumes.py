# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes, bind mounts, tmpfs: asked for explicitly, the same in both modes."""
import io
import json
import os
import subprocess
import shutil
import signal
import tarfile

import pytest
from conftest import BASE
from engine import until

IMAGE = "flow/volumes"
BUSYBOX = next(p for p in ("/bin/busybox", "/usr/bin/busybox", "/usr/lib/silo/busybox") if os.path.exists(p))


@pytest.fixture(scope="module")
def image(session_engine):
    """An image with VOLUME /data: a directory of 12:34, mode 2750, a file, a symlink out of it."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        def add(name, kind, mode, data=b"", uid=0, gid=0, link=""):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.linkname, info.size = kind, mode, uid, gid, link, len(data)
            t.addfile(info, io.BytesIO(data))

        with open(BUSYBOX, "rb") as f:
            add("bin/busybox", tarfile.REGTYPE, 0o755, f.read())
        for tool in ("sh", "cat", "stat", "ls", "touch", "sleep", "true", "grep"):
            add(f"bin/{tool}", tarfile.SYMTYPE, 0o777, link="busybox")
        add("data", tarfile.DIRTYPE, 0o2750, uid=12, gid=34)
        add("data/file", tarfile.REGTYPE, 0o640, b"of the image\n", uid=56, gid=78)
        add("data/link", tarfile.SYMTYPE, 0o777, link="/etc/passwd")
        add("to-data", tarfile.SYMTYPE, 0o777, link="/data")
    session_engine.docker("import", "--change", "VOLUME /data", "-", IMAGE, stdin=tar.getvalue())
    return IMAGE


@pytest.fixture
def shared(engine, name):
    place = engine.top / f"shared-{name}"
    place.mkdir()
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def volume(engine, name):
    """A name; the volume is removed after the test's containers."""
    yield f"vol-{name}"
    engine.remove_containers()
    engine.docker("volume", "rm", "-f", f"vol-{name}", code=None)


def mounts(engine, ref):
    return {m["Destination"]: m for m in engine.inspect(ref)["Mounts"]}


PROBE = r"""
cd /p && umask 022
echo one > a && mv a b && cat b
exec 3< b && rm b && cat <&3 && exec 3<&- && ls
mkdir d && chmod 2770 d && chown 7:8 d && touch d/f && chmod 4711 d/f && stat -c '%u:%g %a' d d/f
ln d/f hard && stat -c %h hard && ln -s ../../etc/passwd out && readlink out
dd if=/dev/zero of=big bs=1M count=3 conv=fsync 2>/dev/null && stat -c %s big && truncate -s 5 big && stat -c %s big
echo x >> big && tail -c 2 big
mkdir full && touch full/x && rmdir full 2>/dev/null || echo not empty
mv full moved && ls moved
touch -d '2020-01-02 03:04:05' old && stat -c %Y old
for i in 1 2 3 4 5 6 7 8; do (for k in 1 2 3 4 5; do echo $i >> many; done) & done; wait; wc -l < many
su -s /bin/sh nobody -c 'cat d/f; touch x' 2>/dev/null || echo denied
"""
PROBED = """one
one
7:8 2770
0:8 4711
2
../../etc/passwd
3145728
5
x
not empty
x
1577934245
40
denied
"""


def test_posix(run, mode, shared):
    """The same probe gives the same answers in both modes, and the host sees what was done."""
    assert run("--rm", "-v", f"{shared}:/p", BASE, "sh", "-c", PROBE).out == PROBED
    stat = os.lstat(shared / "d")
    assert (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (7, 8, 0o2770)
    assert os.readlink(shared / "out") == "../../etc/passwd"
    assert os.stat(shared / "hard").st_nlink == 2


def test_change_is_seen_on_the_other_side(engine, run, mode, name, shared):
    (shared / "file").write_text("first\n")
    run("-d", "--name", name, "-v", f"{shared}:/p", "-v", f"{shared}/file:/one", BASE, "sleep", "1000")
    assert engine.docker("exec", name, "cat", "/p/file", "/one").out == "first\nfirst\n"
    (shared / "file").write_text("second, and longer\n")
    (shared / "new").write_text("n\n")
    assert engine.docker("exec", name, "cat", "/p/file", "/one", "/p/new").out == "second, and longer\n" * 2 + "n\n"
    engine.docker("exec", name, "sh", "-c", "echo third > /one; rm /p/new")
    assert (shared / "file").read_text() == "third\n"
    assert not (shared / "new").exists()


def test_read_only(run, mode, shared):
    (shared / "below").mkdir()
    for how in (["-v", f"{shared}:/p:ro"], ["--mount", f"type=bind,source={shared},target=/p,readonly"]):
        result = run("--rm", *how, BASE, "sh", "-c", "touch /p/x; touch /p/below/x; mount -o remount,rw /p", code=None)
        assert result.code != 0 and result.err.count("Read-only file system") == 2, result
    assert os.listdir(shared) == ["below"]


def test_missing_source(engine, run, mode, shared):
    run("--rm", "-v", f"{shared}/made/here:/p", BASE, "touch", "/p/x")
    assert (shared / "made/here/x").exists()
    result = run("--rm", "--mount", f"type=bind,source={shared}/none,target=/p", BASE, "true", code=125)
    assert f'invalid mount config for type "bind": bind source path does not exist: {shared}/none' in result.err
    assert not (shared / "none").exists()


def test_copy_up(engine, run, mode, image, volume):
    show = ["sh", "-c", "stat -c '%u:%g %a' /data /data/file; cat /data/file; ls -l /data/link | grep -o '[^ ]* -> .*'"]
    expected = "12:34 2750\n56:78 640\nof the image\n/data/link -> /etc/passwd\n"
    assert run("--rm", "-v", f"{volume}:/data", image, *show).out == expected
    run("--rm", "-v", f"{volume}:/data", image, "sh", "-c", "echo mine > /data/file; ls /data")
    assert run("--rm", "-v", f"{volume}:/v", BASE, "cat", "/v/file").out == "mine\n", "a filled volume stays as it is"
    assert run("--rm", image, *show).out == expected, "an anonymous volume of VOLUME"


def test_nocopy(engine, run, mode, image, volume):
    assert run("--rm", "-v", f"{volume}:/data:nocopy", image, "ls", "-A", "/data").out == ""


def test_between_containers(engine, run, mode, name, volume):
    run("-d", "--name", name, "-v", f"{volume}:/v", BASE, "sleep", "1000")
    run("--rm", "--mount", f"type=volume,source={volume},target=/other", BASE, "sh", "-c", "echo hello > /other/x")
    assert engine.docker("exec", name, "cat", "/v/x").out == "hello\n"
    result = engine.docker("volume", "rm", volume, code=1)
    assert result.err.strip().endswith(f"remove {volume}: volume is in use - [{engine.template(name, '{{.Id}}')}]")
    engine.docker("rm", "-fv", name)
    assert volume in engine.docker("volume", "ls", "-q").out.split(), "rm -v takes anonymous ones only"
    engine.docker("volume", "rm", volume)
    assert engine.docker("volume", "inspect", volume, code=1).err.strip().endswith(f"get {volume}: no such volume")


def test_anonymous_and_volumes_from(engine, run, mode, name, image):
    run("-d", "--name", name, "-v", "/more", image, "sleep", "1000")
    found = mounts(engine, name)
    assert sorted(found) == ["/data", "/more"]
    for mount in found.values():
        assert mount["Type"] == "volume" and mount["Driver"] == "local" and mount["RW"] and len(mount["Name"]) == 64
    result = run("--rm", "--volumes-from", f"{name}:ro", BASE, "sh", "-c", "cat /data/file; touch /more/x", code=1)
    assert result.out == "of the image\n" and "Read-only file system" in result.err
    names = {m["Name"] for m in found.values()}
    assert names <= set(engine.docker("volume", "ls", "-q").out.split())
    engine.docker("rm", "-fv", name)
    assert not names & set(engine.docker("volume", "ls", "-q").out.split())


def test_tmpfs(engine, run, mode, name):
    run("-d", "--name", name, "--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770", BASE, "sleep", "1000")
    out = engine.docker("exec", name, "sh", "-c", "stat -c %a /t; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2").out
    assert out == "1770\n1024\n"
    assert mounts(engine, name)["/t"] == {"Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": True,
                                          "Propagation": ""}


def test_case_36_subpath_stays_inside(engine, run, mode, volume):
    run("--rm", "-v", f"{volume}:/v", BASE, "sh", "-c", "mkdir /v/sub; echo in > /v/sub/x; ln -s /etc /v/out; ln -s ../../.. /v/up")
    inside = f"type=volume,source={volume},target=/m,volume-subpath="
    assert run("--rm", "--mount", inside + "sub", BASE, "cat", "/m/x").out == "in\n"
    for path in ("out", "up", "none"):
        result = run("--rm", "--mount", inside + path, BASE, "ls", "/m", code=None)
        assert result.code != 0 and f"cannot access path {path} of the volume" in result.err, result
    result = run("--rm", "--mount", inside + "../x", BASE, "true", code=125)
    assert "subpath must be a relative path within the volume" in result.err


def test_options_of_the_local_driver(engine, run, mode, name, volume, shared):
    engine.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=5", volume)
    run("-d", "--name", name, "-v", f"{volume}:/v", BASE, "sleep", "1000")
    engine.docker("exec", name, "sh", "-c", "echo shared > /v/x")
    assert run("--rm", "-v", f"{volume}:/v", BASE, "sh", "-c", "cat /v/x; stat -c %u /v").out == "shared\n5\n"
    engine.docker("kill", name)
    engine.docker("wait", name)
    assert run("--rm", "-v", f"{volume}:/v", BASE, "ls", "/v").out == "", "gone with its last user"
    engine.docker("rm", name)
    engine.docker("volume", "rm", volume)
    engine.docker("volume", "create", "-o", "type=none", "-o", f"device={shared}", "-o", "o=bind", volume)
    run("--rm", "-v", f"{volume}:/v", BASE, "touch", "/v/made")
    assert (shared / "made").exists()


def test_private_by_default(engine, shared, name):
    """A VM can't be given propagation; a slave or shared bind needs a source in a peer group."""
    result = engine.docker("run", "--rm", "--isolation=hyperv", "-v", f"{shared}:/p:rslave", BASE, "true", code=125)
    assert "can't reach into a virtual machine" in result.err
    engine.docker("run", "-d", "--name", name, "--isolation=process", "-v", f"{shared}:/p:private", BASE, "sleep", "100")
    assert mounts(engine, name)["/p"]["Propagation"] == "private"
    result = engine.docker("run", "--rm", "--isolation=process", "-v", f"{shared}:/p:rshared", BASE, "true", code=125)
    assert f"path {shared} is mounted on " in result.err and "but it is not a shared mount" in result.err


def test_propagation(engine, shared, name):
    """Mounts of the host and of a container reach each other with rshared, and with rslave the container's stay there."""
    def mount(*args):
        subprocess.run(["mount", *map(str, args)], check=True)
    mount("--bind", shared, shared)
    try:
        mount("--make-shared", shared)
        for place in ("in", "out", "own"):
            (shared / place).mkdir()
        for suffix, mode in (("shared", "rshared"), ("slave", "rslave")):
            engine.docker("run", "-d", "--name", name + suffix, "--isolation=process", "--privileged", "-v", f"{shared}:/p:{mode}",
                          BASE, "sleep", "1000")
        engine.docker("exec", f"{name}shared", "mount", "-t", "tmpfs", "x", "/p/in")
        assert os.path.ismount(shared / "in")
        mount("-t", "tmpfs", "x", shared / "out")
        engine.docker("exec", f"{name}slave", "mount", "-t", "tmpfs", "x", "/p/own")
        assert not os.path.ismount(shared / "own")
        for suffix, own in (("shared", False), ("slave", True)):
            points = engine.docker("exec", name + suffix, "cat", "/proc/mounts").out
            assert " /p/in " in points and " /p/out " in points and (" /p/own " in points) == own
    finally:
        engine.remove_containers()
        subprocess.run(["umount", "-R", str(shared)], check=True)


def test_vmwp_with_shares_is_jailed(engine, shared, name):
    """In command over the files that are shared, and nothing else: four capabilities in a user namespace of its own."""
    engine.docker("run", "-d", "--isolation=hyperv", "--name", name, "-v", f"{shared}:/p:ro", BASE, "sleep", "1000")
    pid = int(engine.template(name, "{{.State.Pid}}"))
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status", encoding="utf-8") if ":\t" in line)
    assert int(status["CapEff"], 16) == 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4, status["CapEff"]
    assert status["CapEff"] == status["CapBnd"] and status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    assert int(status["Uid"].split()[0]) != 0
    assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        points = {line.split()[4]: line.split()[5].split(",")[0] for line in f}
    assert points == {"/": "ro", "/proc": "ro", "/share": "ro", "/share/0": "ro"}


@pytest.mark.parametrize("arguments, text", [
    (["-v", "/a:/b:zz"], "invalid mode: zz"),
    (["-v", "/a:b"], "mount path must be absolute"),
    (["-v", "/a:/"], "destination can't be '/'"),
    (["-v", "a b:/x"], 'includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed'),
    (["-v", "/etc:/x", "--mount", "type=bind,source=/tmp,target=/x"], "Duplicate mount point: /x"),
    (["-v", "/etc:/x", "--tmpfs", "/x"], "Duplicate mount point: /x"),
    (["--volumes-from", "nobody"], "No such container: nobody"),
    (["--mount", "type=bind,source=/etc,target=rel"], "mount path must be absolute"),
    (["--mount", "type=volume,target=/x,readonly"], "must not set ReadOnly mode when using anonymous volumes"),
    (["--volume-driver", "nodriver", "-v", "nn:/x"], 'plugin "nodriver" not found'),
    (["-v", "/etc:/proc/sys"], '"/proc/sys" cannot be mounted because it is inside /proc'),
])
def test_refused(engine, arguments, text):
    result = engine.docker("run", "--rm", "--isolation=process", *arguments, BASE, "true", code=None)
    assert result.code != 0 and text in result.err, result


def test_volume_commands(engine, name):
    assert engine.docker("volume", "create", "--label", "k=v", f"named-{name}").line == f"named-{name}"
    anonymous = engine.docker("volume", "create").line
    shown = json.loads(engine.docker("volume", "inspect", f"named-{name}").out)[0]
    assert shown["Labels"] == {"k": "v"} and shown["Scope"] == "local" and shown["Driver"] == "local"
    assert os.path.isdir(shown["Mountpoint"])
    assert engine.docker("volume", "ls", "-q", "--filter", "label=k=v").line == f"named-{name}"
    assert anonymous in engine.docker("volume", "ls", "-q", "--filter", "dangling=true").out.split()
    df = json.loads(engine.docker("system", "df", "-v", "--format", "json").out)["Volumes"]
    assert {v["Name"] for v in df} >= {anonymous, f"named-{name}"}
    assert anonymous in engine.docker("volume", "prune", "-f").out
    assert f"named-{name}" in engine.docker("volume", "ls", "-q").out.split(), "prune takes anonymous ones"
    assert f"named-{name}" in engine.docker("volume", "prune", "-af").out
    for arguments, text in ((["x"], "volume name is too short"), (["-d", "foo", "xx"], 'plugin "foo" not found'),
                            (["-o", "nonsense=1", "xx"], 'create xx: invalid option: "nonsense"')):
        assert text in engine.docker("volume", "create", *arguments, code=1).err


def test_volumes_survive_a_killed_engine(own_engine):
    engine = own_engine()
    engine.docker("volume", "create", "kept")
    engine.docker("run", "--rm", "--isolation=process", "-v", "kept:/v", BASE, "sh", "-c", "echo x > /v/x")
    (engine.root / "volumes/half-made/_data").mkdir(parents=True)
    engine.process.send_signal(signal.SIGKILL)
    engine.process.wait()
    engine.start()
    assert engine.docker("volume", "ls", "-q").line == "kept"
    assert engine.docker("run", "--rm", "--isolation=process", "-v", "kept:/v", BASE, "cat", "/v/x").out == "x\n"
    until("what has no record is swept", lambda: not (engine.root / "volumes/half-made").exists())


def volume_events(engine, name, seen):
    return [e for e in engine.watch.events[seen:] if e["Type"] == "volume" and e["Actor"]["ID"] == name]


def test_events(engine, run, mode, name, volume):
    seen = len(engine.watch.events)
    identity = run("-d", "--name", name, "--network", "none", "-v", f"{volume}:/v:ro", BASE, "true").line
    engine.docker("wait", name)
    engine.docker("rm", name)
    engine.docker("volume", "rm", volume)
    events = until("it is destroyed", lambda: (volume_events(engine, volume, seen) or [{}])[-1].get("Action") == "destroy"
                   and volume_events(engine, volume, seen))
    assert [e["Action"] for e in events] == ["create", "mount", "unmount", "destroy"]
    assert events[1]["Actor"]["Attributes"] == {"container": identity, "destination": "/v", "driver": "local",
                                                "propagation": "", "read/write": "false"}
    assert events[2]["Actor"]["Attributes"] == {"container": identity, "driver": "local"}
    actions = [(e["Type"], e["Action"]) for e in engine.watch.events[seen:]
               if identity in (e["Actor"]["ID"], e["Actor"]["Attributes"].get("container")) and e["Type"] in ("container", "volume")]
    order = [actions.index(a) for a in (("volume", "mount"), ("container", "start"), ("container", "die"), ("volume", "unmount"))]
    assert order == sorted(order)


def test_filters(engine, name):
    for suffix, labels in (("a", ["--label", "kind=one"]), ("b", ["--label", "kind=two"]), ("c", [])):
        engine.docker("volume", "create", *labels, f"{name}-{suffix}")
    engine.docker("create", "--name", name, "-v", f"{name}-c:/v", BASE, "true")

    def listed(*filters):
        options = [o for f in filters for o in ("--filter", f)]
        return [v[len(name) + 1:] for v in engine.docker("volume", "ls", "-q", *options).out.split() if v.startswith(f"{name}-")]

    assert listed() == ["a", "b", "c"]
    assert listed("label=kind") == ["a", "b"] and listed("label=kind=two") == ["b"]
    assert listed(f"name={name}-[ab]") == ["a", "b"] and listed("driver=local", "dangling=false") == ["c"]
    assert listed("dangling=true") == ["a", "b"] and listed("driver=other") == []
    assert "invalid filter 'nonsense'" in engine.docker("volume", "ls", "--filter", "nonsense=1", code=1).err
    engine.docker("volume", "prune", "-af", "--filter", "label=kind=one")
    assert listed() == ["b", "c"]
    engine.docker("volume", "prune", "-af", "--filter", "label!=kind=two")
    assert listed() == ["b", "c"], "c is in use, b has the label"
    engine.docker("volume", "prune", "-af", "--filter", "label!=kind=other")
    assert listed() == ["c"]
    engine.docker("rm", name)
    engine.docker("volume", "rm", f"{name}-c")


def test_rm_takes_anonymous_volumes(engine, run, mode, image, volume):
    before = set(engine.docker("volume", "ls", "-q").out.split())
    run("--rm", "--network", "none", "-v", "/more", "-v", f"{volume}:/named", image, "touch", "/data/x", "/more/x")
    until("they are gone", lambda: set(engine.docker("volume", "ls", "-q").out.split()) == before | {volume})


@pytest.mark.parametrize("kind, device, options, text", [
    # A file system that this kernel doesn't have, as nfs is one without its module.
    ("nosuchfs", ":/x", "addr=127.0.0.1,ro", "mount :/x:{path}, flags: 0x1, data: addr=127.0.0.1: no such device"),
    ("nosuchfs", "//h/x", "username=u,password=secret,vers=3",
     "mount //h/x:{path}, data: username=u,password=********,vers=3: no such device"),
    ("nfs", ":/x", "addr=no.such.host.invalid,nfsvers=4", "error resolving passed in network volume address: no.such.host.invalid"),
])
def test_volume_that_can_not_be_mounted(engine, run, mode, volume, kind, device, options, text):
    engine.docker("volume", "create", "-o", f"type={kind}", "-o", f"device={device}", "-o", f"o={options}", volume)
    path = json.loads(engine.docker("volume", "inspect", volume).out)[0]["Mountpoint"]
    result = run("--rm", "--network", "none", "-v", f"{volume}:/v", BASE, "true", code=None)
    assert result.code != 0 and f"error while mounting volume '{path}': " in result.err
    assert text.format(path=path) in result.err, result.err


@pytest.mark.parametrize("arguments, text", [
    ("type=bind,source=/etc,target=", "field Target must not be empty"),
    ("type=bind,source=,target=/x", "field Source must not be empty"),
    ("type=bind,source=/etc,target=/", "destination can't be '/'"),
    ("type=volume,source=no/slash,target=/x", "includes invalid characters for a local volume name"),
    ("type=tmpfs,source=/etc,target=/x", "field Source must not be specified"),
    ("type=npipe,source=/etc/passwd,target=/x", "'/etc/passwd' is not a unix socket of this host"),
    ("type=nonsense,target=/x", 'invalid mount config for type "nonsense": mount type unknown'),
])
def test_mount_errors(engine, name, arguments, text):
    """As the API sees them: the CLI has checks of its own."""
    mount = dict(pair.split("=", 1) for pair in arguments.split(","))
    body = {"Image": BASE, "Cmd": ["true"], "HostConfig": {"Mounts": [{k.capitalize(): v for k, v in mount.items()}]}}
    status, _, answer = engine.http("POST", f"/containers/create?name={name}", body)
    assert status == 400 and text in answer["message"], answer


def test_mounted_volumes_survive_restarts(own_engine, mode):
    """What a running container has in a volume of memory, the next one finds, whichever way the engine went."""
    engine = own_engine()
    engine.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "kept")
    engine.docker("run", "-d", "--name", "one", "--network", "none", f"--isolation={mode}", "-v", "kept:/v", BASE, "sleep", "1000")
    engine.docker("exec", "one", "sh", "-c", "echo first > /v/x")
    for end in (engine.kill9, engine.stop):
        end()
        engine.start()
        out = engine.docker("run", "--rm", "--network", "none", "--isolation=process", "-v", "kept:/v", BASE, "sh", "-c",
                            "cat /v/x; echo again >> /v/x").out
        assert out.startswith("first\n")
    assert engine.docker("exec", "one", "cat", "/v/x").out == "first\nagain\nagain\n"
    engine.docker("rm", "-f", "one")
    out = engine.docker("run", "--rm", "--network", "none", "--isolation=process", "-v", "kept:/v", BASE, "ls", "/v").out
    assert out == "", "gone with its last user"
