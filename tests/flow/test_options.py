# SPDX-License-Identifier: LGPL-2.1-or-later
"""What users say to the CLI on some days: log drivers and their options, profiles, paths, groups, filters, refusals."""
import json

import pytest

from conftest import BASE

LINES = "i=0; while [ $i -lt 400 ]; do echo line-$i; i=$((i+1)); done"
NO_MKDIR = {"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64"}], "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "excludes": {"caps": ["CAP_SYS_BOOT"]}}]}


def test_log_options(engine, run, name):
    run("--name", name, "--log-opt", "tag={{.Name}}/{{.ID}}", "--log-opt", "labels=role", "--log-opt", "env-regex=^CO",
        "-l", "role=a b", "-l", "other=x", "-e", "COLOUR=red", "-e", "SHAPE=round", BASE, "echo", "hello")
    identity = engine.template(name, "{{.Id}}")
    assert engine.docker("logs", name).out == "hello\n"
    assert engine.docker("logs", "--details", name).out == f"COLOUR=red,role=a+b,tag={name}%2F{identity[:12]} hello\n"
    with open(engine.template(name, "{{.LogPath}}"), encoding="utf-8") as log:
        assert json.loads(log.readline())["attrs"] == {"COLOUR": "red", "role": "a b", "tag": f"{name}/{identity[:12]}"}


def test_local_log(engine, run, name):
    run("--name", name, "--log-driver", "local", "--log-opt", "max-size=2k", "--log-opt", "max-file=3", BASE, "sh", "-c", LINES)
    lines = engine.docker("logs", name).out.splitlines()
    assert lines[-1] == "line-399" and len(lines) < 200
    assert engine.docker("logs", "-n", "2", name).out == "line-398\nline-399\n"
    assert engine.template(name, "{{.HostConfig.LogConfig.Type}}{{.LogPath}}") == "local"


@pytest.mark.parametrize("options,text", [
    (["--log-driver", "syslog"], "logger: no log driver named 'syslog' is registered"),
    (["--log-opt", "colour=red"], "unknown log opt 'colour' for json-file log driver"),
    (["--log-driver", "local", "--log-opt", "tag=x"], "unknown log opt 'tag' for local log driver"),
    (["--log-opt", "max-size=10k", "--log-opt", "compress=true"], "log option compress=true: not supported yet by Silo"),
    (["--log-opt", "mode=non-blocking"], "log option mode=non-blocking: not supported yet by Silo"),
    (["--log-opt", "tag={{if}}"], "invalid value for tag: {{if}} is not supported by Silo"),
    (["--log-opt", "labels-regex=("], "invalid value for labels-regex: ( is no regular expression"),
    (["--group-add", "a:b"], 'invalid group: "a:b"'),
    (["--platform", "linux/arm64"], "image platform (linux/arm64) is not supported by this engine"),
])
def test_refused(engine, mode, options, text):
    assert text in engine.docker("create", f"--isolation={mode}", *options, BASE, "true", code=1).err


def test_refused_requests(engine, run, name, tmp_path):
    """What the CLI lets through, and nobody may ignore."""
    run("-d", "--rm", "--name", name, "--init", BASE, "sleep", "1000")
    assert engine.http("POST", f"/containers/{name}/attach?stream=1&stdout=1&detachKeys=ctrl-xy")[0] == 400
    assert "invalid detach keys (ctrl-xy)" in engine.docker("exec", "--detach-keys", "ctrl-xy", name, "true", code=1).err
    assert "not a swarm manager" in engine.docker("volume", "create", "--limit-bytes", "1g", code=1).err
    assert "IPAM option a is not supported" in engine.docker("network", "create", "--ipam-opt", "a=b", name, code=1).err
    assert "because AutoRemove is enabled" in engine.docker("update", "--restart", "always", name, code=1).err
    status, _, body = engine.http("POST", f"/containers/{name}/update", {"Init": False, "Ulimits": [{"Name": "core", "Soft": 1}]})
    assert status == 200 and body["Warnings"] == ["Ulimits can't be updated, it stays as it was."]
    # A working directory is made for a container, not for an exec.
    refused = engine.docker("exec", "-w", "/nowhere", name, "true", code=126)
    assert 'chdir to cwd ("/nowhere") set in config.json failed: no such file or directory' in refused.out + refused.err
    engine.docker("exec", name, "test", "!", "-e", "/nowhere")
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_SING"}))
    refused = run("--rm", "--security-opt", f"seccomp={profile}", BASE, "true", code=125)
    assert 'unknown action "SCMP_ACT_SING"' in refused.err


def test_profile_paths_and_groups(engine, run, name, tmp_path):
    """A seccomp profile of the user's own, no masked paths, groups by name and those of root."""
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(NO_MKDIR))
    result = run("--name", name, "--security-opt", f"seccomp={profile}", "--security-opt", "systempaths=unconfined",
                 "--group-add", "daemon", "--group-add", "77", BASE, "sh", "-c",
                 "id -G; mkdir /x; grep -c ' /proc/' /proc/mounts; grep ^Seccomp: /proc/self/status", code=None)
    assert result.out == "0 1 77\n0\nSeccomp:\t2\n" and "not supported" in result.err, result
    assert engine.template(name, "{{.HostConfig.MaskedPaths}}{{.HostConfig.ReadonlyPaths}}") == "[][]"
    again = run("--rm", "--security-opt", f"seccomp={profile}", "--cap-add", "SYS_BOOT", BASE, "mkdir", "/x", code=0)
    assert again.err == "" or "emulated" in again.err


def test_filters_of_ports(engine, run, name):
    for suffix, port in (("a", "7080"), ("b", "7085/udp")):
        engine.docker("create", "--name", name + suffix, "-p", f"127.0.0.1::{port}", BASE, "true")
    def shown(*filters):
        options = [text for f in filters for text in ("-f", f)]
        return engine.docker("ps", "-a", "--format", "{{.Names}}", *options).out.split()
    assert shown("publish=7080") == shown("publish=7000-7100") == shown("expose=7080/tcp") == [name + "a"]
    assert shown("publish=7085/udp", "publish=7080/tcp") == [name + "b", name + "a"]
    assert shown("publish=7085") == shown("publish=81") == []
    assert "invalid filter 'publish=x'" in engine.docker("ps", "-f", "publish=x", code=1).err


def test_info(engine):
    info = engine.http("GET", "/info")[2]
    assert {"bridge", "host", "macvlan", "null"} <= set(info["Plugins"]["Network"])
    assert {"json-file", "local", "none"} <= set(info["Plugins"]["Log"]) and info["LoggingDriver"] == "json-file"
    assert not [w for w in info["Warnings"] if "not implemented" in w]


def test_log_defaults_of_the_daemon(own_engine, tmp_path):
    config = tmp_path / "daemon.json"
    config.write_text(json.dumps({"log-driver": "local", "log-opts": {"max-size": "3k", "max-file": "2"}, "vm-standby": False}))
    engine = own_engine("--config-file", config)
    engine.docker("create", "--name", "own-a", BASE, "true")
    engine.docker("create", "--name", "own-b", "--log-driver", "json-file", BASE, "true")
    engine.docker("create", "--name", "own-c", "--log-driver", "local", "--log-opt", "max-size=4k", BASE, "true")
    assert [engine.inspect(f"own-{c}")["HostConfig"]["LogConfig"] for c in "abc"] == [
        {"Type": "local", "Config": {"max-size": "3k", "max-file": "2"}}, {"Type": "json-file", "Config": {}},
        {"Type": "local", "Config": {"max-size": "4k", "max-file": "2"}}]
    assert engine.http("GET", "/info")[2]["LoggingDriver"] == "local"
