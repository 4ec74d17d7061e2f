# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker run, one command each: the table runs in both modes."""
import os
import re

import pytest
from conftest import BASE
from engine import ID

START = "failed to create task for container: failed to create shim task: OCI runtime create failed: " \
        "runc create failed: unable to start container process: "

# name, arguments of `docker run --rm`, what it must give: code (default 0), out / err (exact text or regex), in (stdin)
RUN = [
    ("output", [BASE, "echo", "hello"], dict(out="hello\n")),
    ("both-streams", [BASE, "sh", "-c", "echo out; echo err >&2"], dict(out="out\n", err="err\n")),
    ("default-command", [BASE], dict(out="")),
    ("code-0", [BASE, "true"], {}),
    ("code-1", [BASE, "false"], dict(code=1)),
    ("code-7", [BASE, "sh", "-c", "exit 7"], dict(code=7)),
    ("code-255", [BASE, "sh", "-c", "exit 255"], dict(code=255)),
    ("code-signal-term", [BASE, "sh", "-c", "sh -c 'kill -TERM $$'; exit $?"], dict(code=143)),
    ("code-signal-segv", [BASE, "sh", "-c", "sh -c 'kill -SEGV $$'; exit $?"], dict(code=139)),
    ("stdin-pipe", ["-i", BASE, "cat"], {"in": "x\n", "out": "x\n"}),
    ("stdin-half-close", ["-i", BASE, "sh", "-c", "cat >/dev/null; echo end; echo late"],
     {"in": "y" * 100000, "out": "end\nlate\n"}),
    ("stdin-without-i", [BASE, "sh", "-c", "read x || echo closed"], {"in": "z\n", "out": "closed\n"}),
    ("stdin-only", ["-a", "stdin", "-i", BASE, "cat"], {"in": "zz", "out": re.compile("^([0-9a-f]{64}\n)?$")}),
    ("stdin-null-is-dev-null", [BASE, "readlink", "/proc/self/fd/0"], dict(out=re.compile("/dev/null|pipe:"))),
    ("env", ["-e", "A=b c", "-e", "EMPTY=", BASE, "sh", "-c", 'echo "$A,${EMPTY-unset}"'], dict(out="b c,\n")),
    ("env-path", [BASE, "sh", "-c", "echo $PATH"],
     dict(out="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n")),
    ("env-home", [BASE, "sh", "-c", "echo $HOME"], dict(out="/root\n")),
    ("env-hostname", ["-h", "abc", BASE, "sh", "-c", "echo $HOSTNAME"], dict(out="abc\n")),
    ("workdir", ["-w", "/tmp", BASE, "pwd"], dict(out="/tmp\n")),
    ("workdir-made", ["-w", "/new/dir", BASE, "pwd"], dict(out="/new/dir\n")),
    ("workdir-relative-exec", ["-w", "/bin", BASE, "./echo", "here"], dict(out="here\n")),
    ("user-ids", ["-u", "1000:1001", BASE, "sh", "-c", "id -u; id -g"], dict(out="1000\n1001\n")),
    ("user-id", ["-u", "12345", BASE, "sh", "-c", "id -u; id -g"], dict(out="12345\n0\n")),
    ("user-root", [BASE, "id", "-u"], dict(out="0\n")),
    ("user-name", ["-u", "root", BASE, "id", "-u"], dict(out="0\n")),
    ("user-no-caps", ["-u", "1000", BASE, "grep", "CapEff", "/proc/self/status"], dict(out="CapEff:\t0000000000000000\n")),
    ("hostname", ["--hostname", "box.example", BASE, "hostname"], dict(out="box.example\n")),
    ("hostname-file", ["--hostname", "box7", BASE, "cat", "/etc/hostname"], dict(out="box7\n")),
    ("hosts-file", ["--hostname", "box8", BASE, "cat", "/etc/hosts"], dict(out=re.compile(r"127\.0\.0\.1\s+localhost"))),
    ("resolv-conf", [BASE, "test", "-f", "/etc/resolv.conf"], {}),
    ("pid-1", [BASE, "sh", "-c", "echo $$"], dict(out="1\n")),
    ("init", ["--init", BASE, "cat", "/proc/1/comm"], dict(out=re.compile("docker-init|silo-init"))),
    ("init-code", ["--init", BASE, "sh", "-c", "exit 9"], dict(code=9)),
    ("init-reaps", ["--init", BASE, "sh", "-c", "(sleep 0.1 & exec true); sleep 0.5; ps | grep -c '\\[sleep\\]' || true"],
     dict(out="0\n")),
    ("init-no-command", ["--init", BASE, "nosuch"], dict(code=127)),
    ("read-only", ["--read-only", BASE, "touch", "/x"], dict(code=1, err=re.compile("Read-only file system"))),
    ("read-only-dev", ["--read-only", BASE, "sh", "-c", "echo x >/dev/null && echo y >/dev/shm/y && cat /dev/shm/y"],
     dict(out="y\n")),
    ("writable-root", [BASE, "sh", "-c", "echo data >/file && cat /file"], dict(out="data\n")),
    ("entrypoint", ["--entrypoint", "echo", BASE, "a", "b"], dict(out="a b\n")),
    ("entrypoint-path", ["--entrypoint", "/bin/echo", BASE, "a"], dict(out="a\n")),
    ("no-command", [BASE, "nosuch"], dict(code=127, err=re.compile(
        re.escape(START + 'exec: "nosuch": executable file not found in $PATH')))),
    ("no-command-path", [BASE, "/no/such"], dict(code=127, err=re.compile(
        re.escape(START + 'exec: "/no/such": stat /no/such: no such file or directory')))),
    ("not-executable", [BASE, "/etc/passwd"], dict(code=126, err=re.compile(
        re.escape(START + 'exec: "/etc/passwd": permission denied')))),
    ("directory-command", [BASE, "/etc"], dict(code=126, err=re.compile(
        re.escape(START) + 'exec: "/etc": (is a directory|permission denied)'))),
    ("unknown-user", ["-u", "nobody-here", BASE, "true"], dict(code=125, err=re.compile(
        "unable to find user nobody-here: no matching entries in passwd file"))),
    ("unknown-group", ["-u", "0:nogroup-here", BASE, "true"], dict(code=125, err=re.compile(
        "unable to find group nogroup-here: no matching entries in group file"))),
    ("unknown-image", ["flow/unknown", "true"], dict(code=125, err=re.compile(
        r"Unable to find image 'flow/unknown:latest' locally"))),
    ("unknown-image-never", ["--pull=never", "flow/unknown", "true"], dict(code=125, err=re.compile(
        "No such image: flow/unknown:latest"))),
    ("bad-name", ["--name", "no/good", BASE, "true"], dict(code=125, err=re.compile(
        r"Invalid container name \(no/good\), only \[a-zA-Z0-9\]\[a-zA-Z0-9_.-\] are allowed"))),
    ("masked-proc", [BASE, "sh", "-c", "cat /proc/kcore | wc -c"], dict(out="0\n")),
    ("read-only-proc", [BASE, "sh", "-c", "echo 1 >/proc/sys/kernel/panic"], dict(code=1, err=re.compile("Read-only"))),
    ("case-07-core-pattern", [BASE, "sh", "-c", "echo '|/x' >/proc/sys/kernel/core_pattern"],
     dict(code=1, err=re.compile("Read-only|denied"))),
    ("case-13-cgroup", [BASE, "sh", "-c", "for f in $(find /sys/fs/cgroup -name cgroup.procs); do "
                        "echo 1 >$f && echo wrote; done 2>/dev/null; mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; true"],
     dict(out="")),
    ("case-14-mount", [BASE, "sh", "-c", "mount -t tmpfs x /tmp"], dict(code=re.compile("1|255"), err=re.compile(
        "denied|not permitted"))),
    ("case-15-unshare", [BASE, "sh", "-c", "unshare -U true"], dict(code=1, err=re.compile("not permitted"))),
    ("seccomp-on", [BASE, "grep", "^Seccomp:", "/proc/self/status"], dict(out="Seccomp:\t2\n")),
    ("capabilities", [BASE, "grep", "^Cap[PEB]", "/proc/self/status"], dict(out=
        "CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n")),
    ("no-inheritable", [BASE, "grep", "^CapInh", "/proc/self/status"], dict(out="CapInh:\t0000000000000000\n")),
    ("cap-drop", ["--cap-drop", "ALL", BASE, "grep", "^CapEff", "/proc/self/status"],
     dict(out="CapEff:\t0000000000000000\n")),
    ("cap-add", ["--cap-drop", "ALL", "--cap-add", "CHOWN", BASE, "grep", "^CapEff", "/proc/self/status"],
     dict(out="CapEff:\t0000000000000001\n")),
    ("no-new-privileges", ["--security-opt", "no-new-privileges", BASE, "grep", "^NoNewPrivs", "/proc/self/status"],
     dict(out="NoNewPrivs:\t1\n")),
    ("open-fds", [BASE, "sh", "-c", "ls /proc/self/fd | wc -l"], dict(out=re.compile("^[34]\n$"))),
    ("case-02-workdir-fd", ["-w", "/proc/self/fd/7", BASE, "pwd"], dict(code=re.compile("^12[5-7]$"))),
    ("dev", [BASE, "sh", "-c", "ls /dev | tr '\\n' ' '"], dict(out=re.compile(
        "^core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero $"))),
    ("own-network", [BASE, "sh", "-c", "ls /sys/class/net"], dict(out=re.compile(r"^(eth0\n)?lo\n$"))),
    ("ping-localhost", [BASE, "ping", "-c", "1", "localhost"], dict(out=re.compile("1 packets received"))),
    ("ulimit", ["--ulimit", "nofile=100:200", BASE, "sh", "-c", "ulimit -n"], dict(out="100\n")),
    ("group-add", ["--group-add", "1234", BASE, "id", "-G"], dict(out=re.compile(r"\b1234\b"))),
    ("tmpfs", ["--tmpfs", "/scratch", BASE, "sh", "-c", "grep -c ' /scratch tmpfs' /proc/mounts"], dict(out="1\n")),
]


def check(text, want):
    if isinstance(want, re.Pattern):
        assert want.search(text), f"{want.pattern!r} not in {text!r}"
    elif want is not None:
        assert text == want


@pytest.mark.parametrize("args,want", [pytest.param(a, w, id=n) for n, a, w in RUN])
def test_run(run, args, want):
    result = run("--rm", *args, stdin=want.get("in"), code=None)
    try:
        check(str(result.code) if isinstance(want.get("code"), re.Pattern) else result.code, want.get("code", 0))
        check(result.out, want.get("out"))
        check(re.sub("(?m)^WARNING: .*emulated.*\n", "", result.err), want.get("err"))
    except AssertionError as e:
        raise AssertionError(f"{e}\n{result}") from None


def test_exit_code_of_a_signal(engine, run, name):
    run("-d", "--name", name, BASE, "sleep", "1000")
    engine.docker("kill", name)
    assert engine.docker("wait", name).line == "137"
    assert engine.state(name)["ExitCode"] == 137


def test_big_stream_both_ways(run):
    data = os.urandom(1 << 20) * 8
    assert run("--rm", "-i", BASE, "cat", stdin=data).raw == data


def test_detached_prints_the_id(engine, run, name):
    result = run("-d", "--name", name, BASE, "sleep", "1000")
    assert ID.fullmatch(result.line)
    assert engine.template(name, "{{.Id}}") == result.line


def test_cidfile(engine, run, tmp_path):
    result = run("-d", "--cidfile", tmp_path / "cid", BASE, "true")
    assert (tmp_path / "cid").read_text() == result.line


def test_name_taken(engine, run, sleeper):
    result = run("-d", "--name", sleeper, BASE, "true", code=125)
    owner = engine.template(sleeper, "{{.Id}}")
    assert f'Conflict. The container name "/{sleeper}" is already in use by container "{owner}". You have to remove ' \
           f'(or rename) that container to be able to reuse that name.' in result.err


def test_label_and_inspect(engine, run, name, mode):
    run("-d", "--name", name, "--label", "a=b", "--label", "c", "-e", "X=1", "-w", "/tmp", BASE, "sleep", "1000")
    info = engine.inspect(name)
    assert info["Config"]["Labels"] == {"a": "b", "c": ""}
    assert info["HostConfig"]["Isolation"] == mode
    assert info["Name"] == "/" + name
    assert info["Path"] == "sleep" and info["Args"] == ["1000"]
    assert "X=1" in info["Config"]["Env"] and info["Config"]["WorkingDir"] == "/tmp"
    assert info["Config"]["Image"] == BASE and info["Image"].startswith("sha256:")
    state = info["State"]
    assert state["Status"] == "running" and state["Running"] and state["Pid"] > 0 and not state["Paused"]
    assert os.path.exists(f"/proc/{state['Pid']}")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", state["StartedAt"])
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"


def test_rm_removes(engine, run, name):
    run("--rm", "--name", name, BASE, "true")
    assert "No such object" in engine.docker("inspect", name, code=1).err or True
    assert engine.http("GET", f"/containers/{name}/json")[0] == 404


def test_bad_command_leaves_created_container(engine, run, name):
    run("-d", "--name", name, BASE, "nosuch", code=127)
    state = engine.state(name)
    assert state["Status"] == "created" and state["ExitCode"] == 127
    assert "executable file not found" in state["Error"]
    # The store is as before: the same name can be used once it is removed.
    engine.docker("rm", name)
    assert run("--rm", "--name", name, BASE, "echo", "again").out == "again\n"


@pytest.mark.parametrize("value", ["windows", "Hyper-V", "vm"])
def test_bad_isolation(engine, value):
    result = engine.docker("run", "--rm", f"--isolation={value}", BASE, "true", code=125)
    assert re.search(rf"[Ii]nvalid isolation.*{value}.*'process'.*'hyperv'", result.err), result
    assert engine.containers() == []


def test_default_isolation(engine):
    """A server or virtual machine, as every machine that runs this suite: process; a client machine: hyperv."""
    engine.docker("create", "--name", "flow-default", BASE, "true")
    assert engine.template("flow-default", "{{.HostConfig.Isolation}}") in ("process", "hyperv")
    engine.docker("create", "--name", "flow-default2", "--isolation=default", BASE, "true")
    assert engine.template("flow-default2", "{{.HostConfig.Isolation}}") == \
        engine.template("flow-default", "{{.HostConfig.Isolation}}")


def test_many_fast_runs(run):
    for i in range(8):
        assert run("--rm", BASE, "sh", "-c", f"echo {i}; exit {i}", code=i).out == f"{i}\n"


def test_parallel(engine, mode):
    jobs = [engine.popen("run", "--rm", "-i", f"--isolation={mode}", BASE, "cat") for _ in range(6)]
    for i, job in enumerate(jobs):
        job.stdin.write(b"%d" % i * 1000)
        job.stdin.close()
    for i, job in enumerate(jobs):
        assert job.stdout.read() == b"%d" % i * 1000
        assert job.wait(60) == 0, job.stderr.read()
        job.stdout.close()
        job.stderr.close()
