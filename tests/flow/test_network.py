# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks and ports: the engine lives in a network namespace of its own, "outside" is another one beside it."""
import json
import os
import re
import socket
import subprocess

import pytest
from conftest import BASE
from engine import COMMAND_S, in_namespace, new_namespace, until

HTTPD = "mkdir /w; echo {0} >/w/index.html; exec httpd -f -p 80 -h /w"
OUTSIDE, UPLINK = "10.99.0.2", "10.99.0.1"


@pytest.fixture(scope="module")
def outside(session_engine):
    """A machine that the engine's host has a wire to: its network namespace."""
    namespace = new_namespace()
    engine = session_engine

    def outside_ip(*args):
        subprocess.run(["nsenter", f"--net=/proc/self/fd/{namespace}", "--", "ip", *args], pass_fds=[namespace],
                       check=True, timeout=COMMAND_S)

    outside_ip("link", "set", "lo", "up")
    done = subprocess.run(["nsenter", f"--net=/proc/self/fd/{engine.namespace}", "--", "ip", "link", "add", "up0", "type",
                           "veth", "peer", "name", "out0", "netns", f"/proc/self/fd/{namespace}"],
                          pass_fds=[engine.namespace, namespace], check=False, timeout=COMMAND_S)
    assert done.returncode == 0
    engine.ip("addr", "add", f"{UPLINK}/24", "dev", "up0")
    engine.ip("link", "set", "up0", "up")
    outside_ip("addr", "add", f"{OUTSIDE}/24", "dev", "out0")
    outside_ip("link", "set", "out0", "up")
    engine.ip("route", "add", "default", "via", OUTSIDE)
    yield namespace
    engine.ip("link", "delete", "up0")
    os.close(namespace)


@pytest.fixture
def network(engine):
    """Make networks; they are removed after their containers."""
    made = []

    def create(name, *args):
        engine.docker("network", "create", *args, name)
        made.append(name)
        return name

    yield create
    engine.remove_containers()
    for name in made:
        engine.docker("network", "rm", name, code=None)


def fetch(namespace, host, port=80):
    """GET / over a plain socket from a namespace: the body; None when nobody answers."""

    def get():
        try:
            with socket.create_connection((host, port), 3) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                data = b""
                while piece := s.recv(4096):
                    data += piece
                return data.decode().partition("\r\n\r\n")[2].strip() or None
        except OSError:
            return None

    return in_namespace(namespace, get)


def address(engine, name, network="bridge"):
    return engine.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]


def serve(run, name, *args, text=None):
    run("-d", "--name", name, *args, BASE, "sh", "-c", HTTPD.format(text or name))


def test_default_bridge(engine, run, name, outside):
    run("-d", "--name", name, BASE, "sleep", "1000")
    settings = engine.inspect(name)["NetworkSettings"]["Networks"]["bridge"]
    shown = engine.docker("exec", name, "ip", "addr", "show", "eth0").out
    assert f"inet {settings['IPAddress']}/{settings['IPPrefixLen']}" in shown
    assert settings["MacAddress"] in shown
    assert f"default via {settings['Gateway']} dev eth0" in engine.docker("exec", name, "ip", "route").out
    assert f"{settings['IPAddress']}\t{engine.inspect(name)['Config']['Hostname']}" in \
        engine.docker("exec", name, "cat", "/etc/hosts").out
    for target in (settings["Gateway"], UPLINK, OUTSIDE):
        engine.docker("exec", name, "ping", "-c1", "-W5", target)
    found = json.loads(engine.docker("network", "inspect", "bridge").out)[0]["Containers"]
    assert [c["Name"] for c in found.values()] == [name]


def test_container_to_container_across_modes(engine, mode, run, name, outside):
    """Also what is longer than a frame: cards of virtual machines leave segments and checksums to the host."""
    serving = "mkdir /w; head -c 3000000 /dev/urandom >/w/f; exec httpd -f -p 80 -h /w"
    other = f"{name}p"
    engine.docker("run", "-d", "--name", other, "--isolation=process", BASE, "sh", "-c", serving)
    run("-d", "--name", name, BASE, "sh", "-c", serving)
    for here, there in ((name, other), (other, name)):
        target = address(engine, there)
        engine.docker("exec", here, "ping", "-c1", "-W5", target)
        until("httpd answers", lambda h=here, t=target: engine.docker("exec", h, "wget", "-qO/f", f"http://{t}/f", code=None).code == 0)
        sums = [engine.docker("exec", c, "sha256sum", f).out.split()[0] for c, f in ((here, "/f"), (there, "/w/f"))]
        assert sums[0] == sums[1]
    if mode == "hyperv":
        features = engine.docker("exec", name, "cat", "/sys/class/net/eth0/device/features").line
        # checksums, segments from the host, segments to the host, buffers that are merged
        assert [features[bit] for bit in (0, 1, 7, 11, 15)] == ["1"] * 5


def test_none(engine, run):
    assert "eth0" not in run("--rm", "--network", "none", BASE, "ip", "route").out


def test_host(engine, mode, run):
    result = run("--rm", "--network", "host", BASE, "ip", "addr", code=None)
    if mode == "hyperv":
        assert result.code == 125 and "a virtual machine has its own network stack" in result.err
    else:
        assert engine.ip("-o", "link").count("\n") == result.out.count("mtu")


def test_unknown_network(run):
    assert "network nosuch not found" in run("--rm", "--network", "nosuch", BASE, "true", code=125).err


def test_published_port(engine, run, name, outside):
    serve(run, name, "-p", "8080:80", "-p", "127.0.0.1:8081:80", "-p", "9000-9001:90-91/udp")
    assert until("the server answers outside", lambda: fetch(outside, UPLINK, 8080)) == name
    assert fetch(engine.namespace, "127.0.0.1", 8080) == name
    assert fetch(engine.namespace, UPLINK, 8080) == name
    assert fetch(engine.namespace, "127.0.0.1", 8081) == name
    assert fetch(outside, UPLINK, 8081) is None
    # What isn't published isn't reached from outside.
    assert fetch(outside, address(engine, name), 80) is None
    # Its own published port, by the host's address.
    assert engine.docker("exec", name, "wget", "-qO-", f"http://{UPLINK}:8080/").out.strip() == name
    assert engine.docker("port", name, "80/tcp").out.split() == ["0.0.0.0:8080", "127.0.0.1:8081", "[::]:8080"]
    assert engine.docker("port", name, "91/udp").out.split() == ["0.0.0.0:9001", "[::]:9001"]
    engine.docker("stop", "-t", "0", name)
    assert fetch(engine.namespace, "127.0.0.1", 8080) is None
    assert "8080" not in engine.command("nft", "list", "ruleset")
    assert engine.docker("port", name).out == ""


def test_udp(engine, run, name, outside):
    run("-d", "--name", name, "-p", "5353:5354/udp", BASE, "sleep", "1000")

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            return s.sendto(b"hello", (UPLINK, 5353))

    def arrived():
        in_namespace(outside, send)
        rows = [r.split() for r in engine.docker("exec", name, "cat", "/proc/net/snmp").out.splitlines() if r.startswith("Udp:")]
        return int(rows[1][rows[0].index("NoPorts")])

    until("a datagram has arrived where nobody listens", arrived)


def test_random_ports(engine, run, name):
    serve(run, name, "-P", "--expose", "80", "--expose", "81/udp")
    ports = engine.inspect(name)["NetworkSettings"]["Ports"]
    port = int(ports["80/tcp"][0]["HostPort"])
    assert port >= 32768 and ports["81/udp"]
    assert until("the server answers", lambda: fetch(engine.namespace, "127.0.0.1", port)) == name


def test_port_conflict(engine, run, name):
    run("-d", "--name", name, "-p", "8080:80", BASE, "sleep", "1000")
    result = run("--name", f"{name}x", "-p", "8080:80", BASE, "true", code=125)
    identity = engine.inspect(f"{name}x")["Id"]
    assert f"driver failed programming external connectivity on endpoint {name}x (" in result.err
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in result.err, identity
    engine.docker("rm", "-f", name)
    engine.docker("start", f"{name}x")


def test_port_of_the_host(engine, run, name):
    def taken():
        s = socket.socket()
        s.bind(("0.0.0.0", 8088))
        s.listen()
        return s

    with in_namespace(engine.namespace, taken):
        assert "address already in use" in run("--name", name, "-p", "8088:80", BASE, "true", code=125).err


def test_user_network_names(engine, run, name, network):
    n, other = network(f"{name}n"), network(f"{name}o")
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}a", "--network", n, "--network-alias", "www",
                  BASE, "sh", "-c", HTTPD.format("first"))
    run("-d", "--name", name, "--network", n, "--network-alias", "here", BASE, "sh", "-c", HTTPD.format("second"))
    run("-d", "--name", f"{name}b", "--network", other, BASE, "sleep", "1000")
    first, second = address(engine, f"{name}a", n), address(engine, name, n)
    assert "nameserver 127.0.0.11" in engine.docker("exec", name, "cat", "/etc/resolv.conf").out
    for known in ("www", f"{name}a", f"{name}a.{n}", engine.inspect(f"{name}a")["Id"][:12]):
        assert first in engine.docker("exec", name, "nslookup", known, code=None).out, known
    for known in ("here", name):
        assert second in engine.docker("exec", f"{name}a", "nslookup", known, code=None).out, known
    assert engine.docker("exec", name, "wget", "-qO-", "http://www/").line == "first"
    assert engine.docker("exec", f"{name}a", "wget", "-qO-", "http://here/").line == "second"
    # The other network: neither by name nor by address.
    assert first not in engine.docker("exec", f"{name}b", "nslookup", "www", code=None).out
    engine.docker("exec", f"{name}b", "ping", "-c1", "-W1", first, code=1)
    assert f"name:\"{name}\"" in engine.docker("network", "rm", n, code=1).err


def test_static_address(engine, run, name, network):
    n = network(f"{name}n", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.9", "--ip-range", "10.77.0.128/25")
    run("-d", "--name", name, "--network", n, "--ip", "10.77.0.5", "--mac-address", "02:00:00:00:00:05", BASE, "sleep", "1000")
    assert (address(engine, name, n), engine.inspect(name)["NetworkSettings"]["Networks"][n]["MacAddress"]) == \
        ("10.77.0.5", "02:00:00:00:00:05")
    shown = engine.docker("exec", name, "ip", "addr", "show", "eth0").out
    assert "10.77.0.5/24" in shown and "02:00:00:00:00:05" in shown
    assert "default via 10.77.0.9" in engine.docker("exec", name, "ip", "route").out
    assert "Address already in use" in run("--network", n, "--ip", "10.77.0.5", BASE, "true", code=125).err
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}a", "--network", n, BASE, "sleep", "1000")
    assert address(engine, f"{name}a", n).rpartition(".")[2] >= "128"
    assert "user specified IP address is supported" in run("--ip", "10.1.1.1", BASE, "true", code=125).err


def test_internal_network(engine, run, name, network, outside):
    n = network(f"{name}n", "--internal")
    run("-d", "--name", name, "--network", n, BASE, "sleep", "1000")
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}a", "--network", n, BASE, "sleep", "1000")
    assert "default" not in engine.docker("exec", name, "ip", "route").out
    engine.docker("exec", name, "ping", "-c1", "-W5", f"{name}a")
    engine.docker("exec", name, "ping", "-c1", "-W1", OUTSIDE, code=1)


def test_spoofed_addresses_are_dropped(engine, run, name, outside):
    run("-d", "--name", name, "--cap-add", "NET_ADMIN", BASE, "sleep", "1000")
    gateway = engine.inspect(name)["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    own = address(engine, name)
    forged = own.rpartition(".")[0] + ".222"
    engine.docker("exec", name, "ping", "-c1", "-W5", gateway)
    engine.docker("exec", name, "ip", "addr", "add", f"{forged}/32", "dev", "eth0")
    engine.docker("exec", name, "ping", "-c1", "-W1", "-I", forged, gateway, code=1)
    engine.docker("exec", name, "ip", "link", "set", "eth0", "down")
    engine.docker("exec", name, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:66")
    engine.docker("exec", name, "ip", "link", "set", "eth0", "up")
    engine.docker("exec", name, "ping", "-c1", "-W1", gateway, code=1)


def test_several_networks(engine, mode, name, network):
    """Created in two, connected to a third, which is internal, before it starts."""
    nets = [network(f"{name}{letter}") for letter in "ab"] + [network(f"{name}c", "--internal")]
    engine.docker("create", f"--isolation={mode}", "--name", name, "--network", nets[0], "--network",
                  f"name={nets[1]},alias=second", BASE, "sleep", "1000")
    engine.docker("network", "connect", nets[2], name)
    engine.docker("start", name)
    shown = engine.docker("exec", name, "ip", "-4", "addr").out
    for n in nets:
        assert address(engine, name, n) in shown
    gateway = engine.inspect(name)["NetworkSettings"]["Networks"][nets[0]]["Gateway"]
    assert f"default via {gateway} dev eth0" in engine.docker("exec", name, "ip", "route").out
    assert not re.search("eth[3-9]", engine.docker("exec", name, "ip", "link").out)
    for letter, n in zip("xyz", nets):
        other = f"{name}{letter}"
        engine.docker("run", "-d", "--isolation=process", "--name", other, "--network", n, BASE, "sleep", "1000")
        engine.docker("exec", name, "ping", "-c1", "-W5", other)
        engine.docker("exec", other, "ping", "-c1", "-W5", "second" if n == nets[1] else name)


def test_connect_and_disconnect(engine, run, name, network):
    n, other = network(f"{name}n"), network(f"{name}o")
    run("-d", "--name", name, "--network", n, BASE, "sleep", "1000")
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}a", "--network", other, BASE, "sleep", "1000")
    engine.docker("exec", name, "ping", "-c1", "-W1", f"{name}a", code=1)
    engine.docker("network", "connect", "--alias", "both", other, name)
    engine.docker("exec", name, "ping", "-c1", "-W5", f"{name}a")
    engine.docker("exec", f"{name}a", "ping", "-c1", "-W5", "both")
    assert f"{address(engine, name, other)}\t" in engine.docker("exec", name, "cat", "/etc/hosts").out
    assert "already exists in network" in engine.docker("network", "connect", other, name, code=1).err
    engine.docker("network", "disconnect", n, name)
    assert list(engine.inspect(name)["NetworkSettings"]["Networks"]) == [other]
    gateway = engine.inspect(name)["NetworkSettings"]["Networks"][other]["Gateway"]
    assert f"default via {gateway}" in engine.docker("exec", name, "ip", "route").out
    engine.docker("exec", name, "ping", "-c1", "-W5", f"{name}a")
    assert "is not connected to network" in engine.docker("network", "disconnect", n, name, code=1).err
    # The name of the device is free again.
    engine.docker("network", "connect", n, name)
    assert address(engine, name, n) in engine.docker("exec", name, "ip", "addr", "show", "eth0").out
    engine.docker("network", "disconnect", n, name)
    engine.docker("network", "disconnect", other, name)
    assert "eth" not in engine.docker("exec", name, "ip", "link").out


def test_more_networks_than_cards(engine, name, network):
    nets = [network(f"{name}n{i}", "--internal") for i in range(9)]
    engine.docker("create", "--isolation=hyperv", "--name", name, "--network", nets[0], BASE, "sleep", "1000")
    for n in nets[1:8]:
        engine.docker("network", "connect", n, name)
    text = "a hyperv container can't be in more than 8 networks"
    assert text in engine.docker("network", "connect", nets[8], name, code=1).err
    engine.docker("start", name)
    shown = engine.docker("exec", name, "ip", "addr").out
    assert all(address(engine, name, n) in shown for n in nets[:8])
    assert text in engine.docker("network", "connect", nets[8], name, code=1).err


def test_network_records(engine, name, network):
    n = network(f"{name}n", "--label", "a=b", "--subnet", "10.78.0.0/24")
    found = json.loads(engine.docker("network", "inspect", n).out)[0]
    assert (found["Driver"], found["Labels"], found["IPAM"]["Config"]) == \
        ("bridge", {"a": "b"}, [{"Subnet": "10.78.0.0/24", "Gateway": "10.78.0.1"}])
    assert engine.docker("network", "ls", "-q", "--filter", "label=a=b").line == found["Id"][:12]
    assert engine.docker("network", "ls", "--filter", "type=builtin", "--format", "{{.Name}}").out.split() == \
        ["bridge", "host", "none"]
    assert f"network with name {n} already exists" in engine.docker("network", "create", n, code=1).err
    assert "Pool overlaps" in engine.docker("network", "create", "--subnet", "10.78.0.0/16", f"{name}x", code=1).err
    assert "pre-defined network and cannot be removed" in engine.docker("network", "rm", "bridge", code=1).err
    assert "not found" in engine.docker("network", "inspect", "nosuch", code=1).err
    assert n in engine.docker("network", "prune", "-f").out
    assert f"br-{found['Id'][:12]}" not in engine.ip("-o", "link")


def test_created_container_holds_nothing(engine, name, network):
    n = network(f"{name}n")
    engine.docker("create", "--isolation=process", "--name", name, "--network", n, "-p", "8080:80", BASE, "true")
    engine.docker("create", "--isolation=process", "--name", f"{name}b", "--network", n, BASE, "true")
    engine.docker("run", "--rm", "--isolation=process", "-p", "8080:80", BASE, "true")
    engine.docker("network", "rm", n)
    assert f"network {n} not found" in engine.docker("start", name, code=1).err


def test_ipv6(engine, run, name, network):
    n = network(f"{name}n", "--ipv6", "--subnet", "fd00:77::/64")
    run("-d", "--name", name, "--network", n, BASE, "sleep", "1000")
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}a", "--network", n, BASE, "sleep", "1000")
    own = engine.inspect(f"{name}a")["NetworkSettings"]["Networks"][n]["GlobalIPv6Address"]
    assert own.startswith("fd00:77::")
    engine.docker("exec", name, "ping", "-6", "-c1", "-W5", own)
    engine.docker("exec", name, "ping", "-6", "-c1", "-W5", "fd00:77::1")


def test_names_and_hosts_options(engine, run, name):
    result = run("--rm", "--add-host", "db:1.2.3.4", "--add-host", "me:host-gateway", "--dns", "9.9.9.9", "--dns-search",
                 "example.org", "--dns-option", "ndots:3", BASE, "cat", "/etc/hosts", "/etc/resolv.conf").out
    for line in ("1.2.3.4\tdb", "nameserver 9.9.9.9", "search example.org", "options ndots:3"):
        assert line in result
    gateway = json.loads(engine.docker("network", "inspect", "bridge").out)[0]["IPAM"]["Config"][0]["Gateway"]
    assert f"{gateway}\tme" in result


def test_after_a_crash_of_the_engine(own_engine, mode, name):
    engine = own_engine()
    engine.docker("network", "create", "n1")
    engine.docker("run", "-d", f"--isolation={mode}", "--name", name, "--network", "n1", "-p", "8080:80", BASE, "sh", "-c",
                  HTTPD.format("still here"))
    until("the server answers", lambda: fetch(engine.namespace, "127.0.0.1", 8080))
    before = engine.inspect(name)["NetworkSettings"]
    engine.kill9()
    assert fetch(engine.namespace, "127.0.0.1", 8080) == "still here"
    engine.start()
    after = engine.inspect(name)["NetworkSettings"]
    assert (after["Ports"], after["Networks"]) == (before["Ports"], before["Networks"])
    assert fetch(engine.namespace, "127.0.0.1", 8080) == "still here"
    assert before["Networks"]["n1"]["IPAddress"] in engine.docker("exec", name, "nslookup", name, code=None).out
    engine.docker("run", "--name", "x", "-p", "8080:80", BASE, "true", code=125)
    engine.docker("rm", "-f", name, "x")
    # In good order and without containers it takes everything with it.
    engine.stop()
    assert engine.command("nft", "list", "tables") == ""
    until("no device is left", lambda: [line.split()[1] for line in engine.ip("-o", "link").splitlines()] == ["lo:"])


def test_other_rules_are_left_alone(own_engine, name):
    engine = own_engine()
    engine.command("nft", "add table inet mine; add chain inet mine c { type filter hook input priority 0; }")
    engine.docker("run", "--rm", "--isolation=process", BASE, "true")
    engine.stop()
    assert engine.command("nft", "list", "tables").strip() == "table inet mine"
