# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is said of networks beyond the everyday: links, options of bridges, macvlan, IPv6, daemon.json, forged frames."""
import json
import os
import socket
import struct
import subprocess

import pytest
from conftest import BASE
from engine import BUILD, in_namespace, new_namespace, program, until
from images import busybox_entries, entry, layer
from test_network import HTTPD, UPLINK, address, fetch, network, outside, serve  # noqa: F401

PROBE = "flow/net-probe"


@pytest.fixture(scope="module")
def probe(session_engine):
    """An image with busybox and tests/net_probe.c."""
    binary = (BUILD / "tests/net-probe").read_bytes()
    session_engine.docker("import", "-", PROBE, stdin=layer([*busybox_entries(), entry("bin/net-probe", data=binary)]))
    yield PROBE
    session_engine.docker("rmi", PROBE)


def get(engine, name, target, port=80):
    """GET / from inside a container by name or address: the whole answer, empty when there is none."""
    command = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w3 {target} {port}"
    return engine.docker("exec", name, "sh", "-c", command, code=None).out


# --- links

def test_link(engine, mode, run, name):
    database = f"{name}d"
    run("-d", "--name", database, "-e", "SECRET=x", "--expose", "80", BASE, "sh", "-c", HTTPD.format("linked"))
    own = address(engine, database)
    run("-d", "--name", name, "--link", f"{database}:my-db", BASE, "sleep", "1000")
    env = engine.docker("exec", name, "env").out.splitlines()
    for line in (f"MY_DB_PORT=tcp://{own}:80", f"MY_DB_PORT_80_TCP_ADDR={own}", f"MY_DB_NAME=/{name}/my-db",
                 "MY_DB_ENV_SECRET=x"):
        assert line in env, env
    assert f"{own}\tmy-db {engine.inspect(database)['Config']['Hostname']} {database}" in \
        engine.docker("exec", name, "cat", "/etc/hosts").out
    assert "linked" in until("the server answers", lambda: get(engine, name, "my-db"))
    assert engine.inspect(name)["HostConfig"]["Links"] == [f"/{database}:/{name}/my-db"]
    # It is followed to its next address.
    engine.docker("restart", "-t", "0", database)
    assert address(engine, database) != own
    until("its new address is known", lambda: f"{address(engine, database)}\tmy-db" in
          engine.docker("exec", name, "cat", "/etc/hosts").out)
    engine.docker("stop", "-t", "0", database, name)
    assert f"Cannot link to a non running container: /{database} AS /{name}/my-db" in \
        engine.docker("start", name, code=1).err
    assert "could not get container for nosuch: No such container: nosuch" in \
        run("--link", "nosuch", BASE, "true", code=125).err


def test_link_in_a_user_defined_network(engine, run, name, network):
    n = network(f"{name}n")
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}d", "--network", n, BASE, "sleep", "1000")
    run("-d", "--name", name, "--network", n, "--link", f"{name}d:other", BASE, "sleep", "1000")
    engine.docker("exec", name, "ping", "-c1", "-W5", "other")
    assert address(engine, f"{name}d", n) not in \
        engine.docker("exec", f"{name}d", "nslookup", "other", code=None).out  # it is the other one's word only


# --- options of bridges

def test_closed_network(engine, run, name, network, outside):
    """enable_icc=false: everything but each other."""
    n = network(f"{name}n", "-o", "com.docker.network.bridge.enable_icc=false")
    serve(run, name, "--network", n, "-p", "8080:80")
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}a", "--network", n, BASE, "sleep", "1000")
    gateway = engine.inspect(name)["NetworkSettings"]["Networks"][n]["Gateway"]
    assert until("the published port answers", lambda: fetch(outside, UPLINK, 8080)) == name
    for target in (name, f"{name}a"):
        engine.docker("exec", target, "ping", "-c1", "-W5", gateway)
    engine.docker("exec", f"{name}a", "ping", "-c1", "-W1", address(engine, name, n), code=1)
    engine.docker("exec", name, "ping", "-c1", "-W1", address(engine, f"{name}a", n), code=1)
    assert get(engine, f"{name}a", address(engine, name, n)) == ""


def test_bridge_options(engine, mode, run, name, network, outside):
    option = "com.docker.network."
    n = network(f"{name}n", "-o", f"{option}bridge.name=mybr", "-o", f"{option}driver.mtu=1300", "-o",
                f"{option}bridge.host_binding_ipv4=127.0.0.1", "-o", f"{option}bridge.enable_ip_masquerade=false",
                "--subnet", "10.81.0.0/24", "--aux-address", "x=10.81.0.2")
    serve(run, name, "--network", n, "-p", "8080:80")
    shown = engine.docker("exec", name, "ip", "addr", "show", "eth0").out
    assert "mtu 1300" in shown and "10.81.0.3/24" in shown
    assert "mtu 1300" in engine.ip("link", "show", "mybr")
    assert until("the server answers", lambda: fetch(engine.namespace, "127.0.0.1", 8080)) == name
    assert fetch(outside, UPLINK, 8080) is None
    assert engine.docker("port", name).line == "80/tcp -> 127.0.0.1:8080"
    assert json.loads(engine.docker("network", "inspect", n).out)[0]["IPAM"]["Config"][0]["AuxiliaryAddresses"] == \
        {"x": "10.81.0.2"}
    prefixed = network(f"{name}p", "-o", f"{option}container_iface_prefix=lan")
    result = run("--rm", "--network", prefixed, BASE, "ip", "link", code=None)
    assert ("lan0" in result.out) if mode == "process" else ("not supported with hyperv isolation" in result.err)
    # The outside doesn't know the way back to an address that isn't hidden.
    engine.docker("exec", name, "ping", "-c1", "-W1", "10.99.0.2", code=1)


@pytest.mark.parametrize("arguments, text", [
    (["-o", "com.docker.network.bridge.enable_icc=maybe"], "invalid value for com.docker.network.bridge.enable_icc: maybe"),
    (["-o", "com.docker.network.bridge.host_binding_ipv4=x"], "invalid value for"),
    (["-o", "com.docker.network.bridge.gateway_mode_ipv4=routed"], "only nat"),
    (["-o", "nosuch=1"], "network option nosuch is not supported by Silo"),
    (["--subnet", "10.82.0.0/24", "--aux-address", "a=10.83.0.1"], "no matching subnet for aux-address"),
    (["-d", "macvlan"], "-o parent=DEVICE"),
    (["-d", "macvlan", "-o", "parent=nosuch"], "there is no such network device"),
    (["-d", "macvlan", "-o", "parent=up0", "-o", "macvlan_mode=x"], "unknown macvlan mode: x"),
    (["-d", "nosuch"], "plugin not found"),
])
def test_refused_networks(engine, name, outside, arguments, text):
    assert text in engine.docker("network", "create", *arguments, name, code=1).err


# --- macvlan

@pytest.fixture
def wire(session_engine):
    """A device of the engine's host, and a machine at the other end of it (10.98.0.2): its network namespace."""
    namespace = new_namespace()
    engine = session_engine
    done = subprocess.run(["nsenter", f"--net=/proc/self/fd/{engine.namespace}", "--", "ip", "link", "add", "wire0", "type",
                           "veth", "peer", "name", "far0", "netns", f"/proc/self/fd/{namespace}"],
                          pass_fds=[engine.namespace, namespace], check=False)
    assert done.returncode == 0
    engine.ip("link", "set", "wire0", "up")
    for command in (["addr", "add", "10.98.0.2/24", "dev", "far0"], ["link", "set", "far0", "up"]):
        subprocess.run(["nsenter", f"--net=/proc/self/fd/{namespace}", "--", "ip", *command], pass_fds=[namespace], check=True)
    yield namespace
    engine.ip("link", "delete", "wire0")
    os.close(namespace)


def test_macvlan(engine, run, name, wire, network):
    n = network(f"{name}n", "-d", "macvlan", "--subnet", "10.98.0.0/24", "--gateway", "10.98.0.2", "-o", "parent=wire0")
    serve(run, name, "--network", n, "--ip", "10.98.0.9", "--mac-address", "02:00:00:00:98:09")
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}a", "--network", n, BASE, "sleep", "1000")
    assert until("the server answers on the wire", lambda: fetch(wire, "10.98.0.9")) == name
    assert "02:00:00:00:98:09" in engine.docker("exec", name, "ip", "link", "show", "eth0").out
    for target in ("10.98.0.2", address(engine, f"{name}a", n)):
        engine.docker("exec", name, "ping", "-c1", "-W5", target)
    assert "default via 10.98.0.2" in engine.docker("exec", name, "ip", "route").out
    engine.docker("exec", f"{name}a", "ping", "-c1", "-W5", name)  # by name
    engine.docker("rm", "-f", name, f"{name}a")
    until("no device is left", lambda: "@wire0" not in engine.ip("-o", "link"))


# --- IPv6, UDP, SCTP

def udp_echo(namespace, host, port, sock=None):
    """One datagram there and back; None when none comes."""

    def ask():
        s = sock or socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            s.settimeout(1)
            s.sendto(b"datagram", (host, port))
            return s.recv(100)
        except OSError:
            return None
        finally:
            if not sock:
                s.close()

    return in_namespace(namespace, ask)


def test_published_on_ipv6(engine, run, name, outside, probe):
    """To a container with IPv4 only, and from ::1 to one of an IPv6 network."""
    engine.ip("-6", "addr", "add", "fd00:99::1/64", "dev", "up0", "nodad")
    subprocess.run(["nsenter", f"--net=/proc/self/fd/{outside}", "--", "ip", "-6", "addr", "replace", "fd00:99::2/64", "dev",
                    "out0", "nodad"], pass_fds=[outside], check=True)
    try:
        serve(run, name, "-p", "8080:80", "-p", "[::1]:8081:80")
        for host, port in (("::1", 8080), ("fd00:99::1", 8080), ("::1", 8081), ("127.0.0.1", 8080)):
            assert until(f"{host} answers", lambda h=host, p=port: fetch(engine.namespace, h, p)) == name
        assert until("it answers outside", lambda: fetch(outside, "fd00:99::1", 8080)) == name
        assert fetch(outside, "fd00:99::1", 8081) is None
        engine.docker("rm", "-f", name)
        assert fetch(engine.namespace, "::1", 8080) is None
        run("-d", "--name", name, "-p", "7:7", "-p", "7:7/udp", probe, "net-probe", "serve", "7")
        assert until("UDP by IPv6", lambda: udp_echo(outside, "fd00:99::1", 7)) == b"datagram"
        assert until("UDP by ::1", lambda: udp_echo(engine.namespace, "::1", 7)) == b"datagram"
        # Much data, both ways.
        big = os.urandom(1 << 20)

        def echo():
            with socket.create_connection(("::1", 7), 60) as s:
                s.sendall(b"e")
                got = b""
                while len(got) < len(big):
                    sent = len(got)
                    s.sendall(big[sent:sent + 50000])
                    while len(got) < min(sent + 50000, len(big)):
                        piece = s.recv(65536)
                        assert piece
                        got += piece
                return got

        assert in_namespace(engine.namespace, echo) == big
    finally:
        engine.ip("-6", "addr", "del", "fd00:99::1/64", "dev", "up0")


def test_published_in_an_ipv6_network(engine, run, name, outside, network, probe):
    n = network(f"{name}n", "--ipv6")
    engine.ip("-6", "addr", "add", "fd00:99::1/64", "dev", "up0", "nodad")
    subprocess.run(["nsenter", f"--net=/proc/self/fd/{outside}", "--", "ip", "-6", "addr", "replace", "fd00:99::2/64", "dev",
                    "out0", "nodad"], pass_fds=[outside], check=True)
    try:
        run("-d", "--name", name, "--network", n, "-p", "7:7/udp", "-p", "7:7", probe, "net-probe", "serve", "7")
        for namespace, host in ((outside, "fd00:99::1"), (engine.namespace, "::1"), (engine.namespace, "fd00:99::1"),
                                (outside, UPLINK)):
            assert until(f"{host} answers", lambda ns=namespace, h=host: udp_echo(ns, h, 7)) == b"datagram"
        assert engine.docker("port", name, "7/udp").out.split() == ["0.0.0.0:7", "[::]:7"]
    finally:
        engine.ip("-6", "addr", "del", "fd00:99::1/64", "dev", "up0")


def test_host_without_ipv6(own_engine, mode, name):
    engine = own_engine()
    in_namespace(engine.namespace, lambda: [open(f"/proc/sys/net/ipv6/conf/{d}/disable_ipv6", "w", encoding="ascii").write("1")
                                            for d in ("all", "default", "lo")])
    engine.docker("run", "-d", f"--isolation={mode}", "--name", name, "-p", "8080:80", BASE, "sh", "-c", HTTPD.format("four"))
    assert until("the server answers", lambda: fetch(engine.namespace, "127.0.0.1", 8080)) == "four"
    assert engine.docker("port", name).line == "80/tcp -> 0.0.0.0:8080"


def test_udp_client_that_never_pauses(engine, run, name, outside, probe):
    """It talked to the port before the container was there: the kernel must forget that."""
    with in_namespace(outside, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        for i in range(2):
            assert udp_echo(outside, UPLINK, 7777, client) is None
            run("-d", "--name", f"{name}{i}", "-p", "7777:7/udp", probe, "net-probe", "serve", "7")
            assert until("the new container answers", lambda: udp_echo(outside, UPLINK, 7777, client)) == b"datagram"
            engine.docker("rm", "-f", f"{name}{i}")


def test_sctp(engine, name, outside):
    """Few kernels have SCTP sockets; the packets are recognised by what they are."""
    engine.docker("run", "-d", "--isolation=process", "--name", name, "-p", "9899:99/sctp", BASE, "sleep", "1000")
    namespace = os.open(f"/proc/{engine.state(name)['Pid']}/ns/net", os.O_RDONLY)
    try:
        inside = in_namespace(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 132))
        inside.settimeout(1)
        init = struct.pack("!HHII", 5000, 9899, 0, 0) + struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
        checksum = 0xFFFFFFFF  # CRC32c, RFC 9260 appendix A
        for byte in init:
            checksum ^= byte
            for _ in range(8):
                checksum = checksum >> 1 ^ (0x82F63B78 if checksum & 1 else 0)
        init = init[:8] + struct.pack("<I", checksum ^ 0xFFFFFFFF) + init[12:]

        def arrived():
            def send():
                with socket.socket(socket.AF_INET, socket.SOCK_RAW, 132) as s:
                    s.sendto(init, (UPLINK, 0))

            in_namespace(outside, send)
            try:
                return struct.unpack("!HH", inside.recv(2000)[20:24])
            except TimeoutError:
                return None

        assert until("the packet has arrived", arrived) == (5000, 99)
        inside.close()
    finally:
        os.close(namespace)


# --- daemon.json

def test_daemon_json(own_engine, tmp_path, name):
    config = tmp_path / "daemon.json"
    config.write_text(json.dumps({
        "bip": "10.55.0.1/24", "fixed-cidr": "10.55.0.128/25", "mtu": 1400, "icc": False, "ip": "127.0.0.1", "ipv6": True,
        "fixed-cidr-v6": "fd00:55::/64", "default-address-pools": [{"base": "10.56.0.0/16", "size": 26}],
        "dns": ["9.9.9.9"], "dns-search": ["example.org"], "dns-opts": ["ndots:2"], "userland-proxy": False}), encoding="utf-8")
    engine = own_engine("--config-file", config)
    run = ("run", "-d", "--isolation=process")
    engine.docker(*run, "--name", f"{name}d", "--expose", "80", "-p", "8080:80", BASE, "sh", "-c", HTTPD.format("linked"))
    engine.docker(*run, "--name", name, "--link", f"{name}d:db", BASE, "sleep", "1000")
    engine.docker(*run, "--name", f"{name}x", BASE, "sleep", "1000")
    target = address(engine, f"{name}d")
    assert target == "10.55.0.128"
    shown = engine.docker("exec", name, "ip", "addr", "show", "eth0").out
    assert "mtu 1400" in shown and "fd00:55::" in shown
    assert engine.docker("exec", name, "cat", "/etc/resolv.conf").out.split("\n")[:3] == \
        ["nameserver 9.9.9.9", "search example.org", "options ndots:2"]
    assert engine.docker("port", f"{name}d").line == "80/tcp -> 127.0.0.1:8080"
    # icc: false leaves what is linked, and follows it to another address.
    assert "linked" in until("the linked server answers", lambda: get(engine, name, "db"))
    assert get(engine, f"{name}x", target) == ""
    engine.docker(*run, "--name", f"{name}y", BASE, "sleep", "1000")
    engine.docker("restart", "-t", "0", f"{name}d")
    assert "linked" in until("the linked server answers", lambda: get(engine, name, "db"))
    engine.kill9()
    engine.start()
    assert "linked" in until("the linked server answers", lambda: get(engine, name, "db"))
    assert get(engine, f"{name}x", "db") == ""
    engine.docker("network", "create", "n1")
    assert json.loads(engine.docker("network", "inspect", "n1").out)[0]["IPAM"]["Config"][0]["Subnet"] == "10.56.0.0/26"
    assert "userland-proxy is switched off" in \
        engine.docker("run", "--network", "n1", "-p", "[::1]:1:1", BASE, "true", code=125).err


@pytest.mark.parametrize("config, text", [
    ({"bip": "10.0.0.1"}, "bip: invalid CIDR address: 10.0.0.1"),
    ({"bip": "10.0.0.0/24"}, "bip: 10.0.0.0/24 is not an address in a network"),
    ({"bip": "10.55.0.1/24", "fixed-cidr": "10.56.0.0/25"}, "fixed-cidr: it is not inside"),
    ({"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}, "the size /8 does not fit"),
    ({"dns": ["nosuch"]}, 'dns: invalid value "nosuch"'),
    ({"mtu": 10}, "mtu: invalid value 10"),
    ({"iptables": False}, "iptables: false is not supported"),
    ({"bridge": "br0"}, 'unknown key "bridge"'),
])
def test_bad_daemon_json(tmp_path, config, text):
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    done = subprocess.run([program("silod"), "--root", tmp_path / "root", "--exec-root", tmp_path / "run", "--host",
                           f"unix://{tmp_path}/s", "--config-file", path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0 and text in done.stderr


# --- case 31

def ethernet(source, kind, payload, to="ff:ff:ff:ff:ff:ff"):
    return bytes.fromhex(to.replace(":", "") + source.replace(":", "")) + struct.pack("!H", kind) + payload


def arp(mac, sender, target):
    return struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) + mac + socket.inet_aton(sender) + b"\xff" * 6 + socket.inet_aton(target)


def sum16(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def udp4(source, target, mark):
    body = struct.pack("!HHHH", 7, 7, 8 + len(mark), 0) + mark
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0, socket.inet_aton(source),
                       socket.inet_aton(target))
    return head[:10] + struct.pack("!H", sum16(head)) + head[12:] + body


def icmp6(source, kind, rest, target="ff02::1"):
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    body = struct.pack("!BBH", kind, 0, 0) + rest
    checksum = sum16(ends + struct.pack("!II", len(body), 58) + body)
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + ends + body[:2] + struct.pack("!H", checksum) + body[4:]


def link_local(mac):
    b = bytearray(mac)
    b[0] ^= 2
    return socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + b"\0" * 6 + bytes(b[:3]) + b"\xff\xfe" + bytes(b[3:]))


def test_case_31_forged_frames(engine, run, name, network, probe):
    """Each kind of forged frame, between two honest ones that must arrive, as its neighbour sees them."""
    n = network(f"{name}n", "--ipv6", "--subnet", "fd00:31::/64")
    run("-d", "--name", name, "--network", n, probe, "sleep", "1000")
    engine.docker("run", "-d", "--isolation=process", "--name", f"{name}v", "--network", n, BASE, "sleep", "1000")
    settings = engine.inspect(name)["NetworkSettings"]["Networks"][n]
    own, own6, mac, gateway = (settings[k] for k in ("IPAddress", "GlobalIPv6Address", "MacAddress", "Gateway"))
    raw, other = bytes.fromhex(mac.replace(":", "")), bytes.fromhex("020000000031")
    forged = own.rpartition(".")[0] + ".222"
    lladdr = b"\x02\x01" + raw + b"\xfd\x01"  # and an option that nobody knows, to be filled with a mark
    mark = iter(range(1, 100))

    def marked():
        return b"MARK%02d" % next(mark)

    honest = [ethernet(mac, 0x800, udp4(own, "255.255.255.255", b"HONEST")),
              ethernet(mac, 0x806, arp(raw, own, own) + b"HONEST"),
              ethernet(mac, 0x86DD, icmp6(link_local(raw), 136, b"\x20\0\0\0" + socket.inet_pton(socket.AF_INET6, own6) + lladdr
                                             + b"HONEST"))]
    bad = {
        "MAC": ethernet("02:00:00:00:00:31", 0x800, udp4(own, "255.255.255.255", marked())),
        "IPv4": ethernet(mac, 0x800, udp4(forged, "255.255.255.255", marked())),
        "the gateway's IPv4": ethernet(mac, 0x800, udp4(gateway, "255.255.255.255", marked())),
        "ARP with another MAC": ethernet(mac, 0x806, arp(other, own, own) + marked()),
        "ARP for another address": ethernet(mac, 0x806, arp(raw, gateway, gateway) + marked()),
        "IPv6": ethernet(mac, 0x86DD, icmp6("fd00:31::dead", 128, b"\0\0\0\0" + marked())),
        "link-local IPv6": ethernet(mac, 0x86DD, icmp6("fe80::dead", 128, b"\0\0\0\0" + marked())),
        "router advertisement": ethernet(mac, 0x86DD, icmp6(
            link_local(raw), 134, struct.pack("!BBHII", 64, 0, 1800, 0, 0) + marked())),
        "redirect": ethernet(mac, 0x86DD, icmp6(link_local(raw), 137, b"\0" * 36 + marked())),
        "neighbour advertisement for another": ethernet(mac, 0x86DD, icmp6(
            link_local(raw), 136, b"\x20\0\0\0" + socket.inet_pton(socket.AF_INET6, "fd00:31::1") + lladdr + marked())),
        "VLAN tag": ethernet(mac, 0x8100, struct.pack("!HH", 5, 0x800) + udp4(own, "255.255.255.255", marked())),
        "an unknown protocol": ethernet(mac, 0x88B5, marked() + b"\0" * 50),
    }
    namespace = os.open(f"/proc/{engine.state(f'{name}v')['Pid']}/ns/net", os.O_RDONLY)
    try:
        ear = in_namespace(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        ear.settimeout(60)
        end = ethernet(mac, 0x800, udp4(own, "255.255.255.255", b"THEEND"))
        engine.docker("exec", name, "net-probe", "frame", "eth0", *(f.hex() for f in [*honest, *bad.values(), end]))
        heard = []
        while not heard or b"THEEND" not in heard[-1]:
            heard.append(ear.recv(2000))
        ear.close()
    finally:
        os.close(namespace)
    assert sum(b"HONEST" in f for f in heard) == len(honest)
    passed = [kind for i, kind in enumerate(bad, 1) if any(b"MARK%02d" % i in f for f in heard)]
    assert not passed


# --- an engine that is gone for good

def test_network_cleanup(own_engine, name):
    engine = own_engine()
    cleanup = ("network-cleanup", "--root", engine.root)
    tool = program("silo-tool")
    engine.docker("network", "create", "n1")
    engine.docker("run", "-d", "--isolation=process", "--name", name, "--network", "n1", "-p", "8080:80", BASE, "sleep", "1000")
    assert engine.command(tool, *cleanup, code=1) == ""  # the engine runs
    engine.kill9()
    assert engine.command(tool, *cleanup, code=1) == ""  # its container does
    assert "br-" in engine.ip("-o", "link")
    engine.start()
    engine.docker("rm", "-f", name)
    engine.kill9()
    assert "removed bridge br-" in engine.command(tool, *cleanup)
    assert engine.command("nft", "list", "tables") == ""
    until("no device is left", lambda: [line.split()[1] for line in engine.ip("-o", "link").splitlines()] == ["lo:"])
    engine.start()
    engine.docker("run", "--rm", "--isolation=process", "--network", "n1", "-p", "8080:80", BASE, "true")
