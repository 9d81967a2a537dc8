"""A router made of flows, between two stacks of Linux: what it says of packets that it does not send on."""

import errno
import socket

import pytest

from netns import Namespace, veth
from processes import eventually

ROUTER, MACS = "02:00:00:00:00:fe", ("02:00:00:00:00:01", "02:00:00:00:00:02")
# Of the client's network and of the server's.
ROUTERS = {4: ("10.88.1.254", "10.88.0.254"), 6: ("fd88:1::fe", "fd88::fe")}
HOSTS = {4: ("10.88.1.1", "10.88.0.2"), 6: ("fd88:1::1", "fd88::2")}
# Nobody's, and of a network that nobody has.
ABSENT, ELSEWHERE = {4: "10.88.0.9", 6: "fd88::9"}, {4: "10.99.0.1", 6: "fd99::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
# A socket hears at once of what may pass, too (ip(7), IP_RECVERR; ipv6(7), IPV6_RECVERR).
RECEIVE_ERRORS = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
# Time exceeded; no route; nobody there (RFC 792; RFC 4443 sections 3.1 and 3.3).
EXPIRED, NO_ROUTE, NOBODY = {4: (11, 0), 6: (3, 0)}, {4: (3, 0), 6: (1, 0)}, {4: (3, 1), 6: (1, 3)}


def reject(version, side, message):
    return "reject(type=%d,code=%d,source=%s)" % (*message[version], ROUTERS[version][side])


def flows():
    for version, kind, field in ((4, "ip", "nw_dst"), (6, "ipv6", "ipv6_dst")):
        for side in (0, 1):
            own = f"table=0,{kind},in_port={side + 1}"
            other = f"mod_dl_src:{ROUTER},mod_dl_dst:{MACS[1 - side]},output:{2 - side}"
            for ttl in (0, 1):
                yield f"{own},priority=9,nw_ttl={ttl} actions={reject(version, side, EXPIRED)}"
            yield f"{own},priority=5,{field}={HOSTS[version][1 - side]} actions=dec_ttl,{other}"
            yield f"{own},priority=4,{field}={ABSENT[version]} actions={reject(version, side, NOBODY)}"
            yield f"{own},priority=1 actions={reject(version, side, NO_ROUTE)}"


class Router:
    def __init__(self, room):
        near = room.keeps(Namespace("near"))
        self.daemon = room.daemon(namespace=near)
        self.daemon.add_bridge()
        self.stacks = [room.keeps(Namespace(label)) for label in ("client", "server")]
        for side, (stack, mac) in enumerate(zip(self.stacks, MACS)):
            veth(near, f"w{side}", stack, "eth0")
            stack.finish_checksums_in_software("eth0")
            stack.ip("link", "set", "dev", "eth0", "address", mac)
            self.daemon.add_port(f"w{side}", "dpdk", "--number", side + 1, devargs=f"net_af_packet{side},iface=w{side}")
            for scope in ("all", "default", "eth0"):
                stack.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
            for version, length in ((4, 24), (6, 64)):
                nodad = ("nodad",) if version == 6 else ()
                stack.ip("addr", "add", f"{HOSTS[version][side]}/{length}", "dev", "eth0", *nodad)
                router = ROUTERS[version][side]
                stack.ip("neigh", "replace", router, "lladdr", ROUTER, "dev", "eth0")
                stack.ip(f"-{version}", "route", "add", "default", "via", router)
        self.client = self.stacks[0]
        for flow in flows():
            self.daemon.ctl("flow", "add", "br0", flow)
        self.daemon.wait_for_link("w0", "w1")

    def error_of(self, version, address):
        """What the client's socket hears of a datagram."""
        with self.client.entered(), socket.socket(FAMILY[version], socket.SOCK_DGRAM) as sender:
            sender.settimeout(10)
            sender.setsockopt(*RECEIVE_ERRORS[version], 1)
            sender.connect((address, 9))
            sender.send(b"to nobody")
            with pytest.raises(OSError) as caught:
                sender.recv(100)
        return caught.value.errno


@pytest.fixture(scope="module")
def router(module_room):
    return Router(module_room)


@pytest.mark.parametrize("version", [4, 6])
def test_traceroute_shows_the_router(router, version):
    # Of IPv6 busybox has a command of its own.
    command = "traceroute" if version == 4 else "traceroute6"
    words = ("busybox", command, "-n", "-q", 1, "-w", 2, "-m", 4, HOSTS[version][1])

    def hops():
        lines = router.client.run(*words, check=False).stdout.splitlines()[1:]
        return [line.split()[1] for line in lines]
    assert eventually(lambda: (found := hops()) == [ROUTERS[version][0], HOSTS[version][1]] and found, 20, "a way of two hops")


@pytest.mark.parametrize("version", [4, 6])
def test_sockets_hear_why_nothing_arrives(router, version):
    assert router.error_of(version, ELSEWHERE[version]) == errno.ENETUNREACH
    assert router.error_of(version, ABSENT[version]) == errno.EHOSTUNREACH


def test_what_is_rejected_is_counted_and_explained(router):
    router.error_of(4, ELSEWHERE[4])
    assert router.daemon.drops("w0")["rejected"] > 0
    trace = router.daemon.ctl("trace", "br0", "in_port=1,ip,nw_src=10.88.1.1,nw_dst=10.88.0.2,nw_ttl=1").stdout
    assert "its sender is told so by 10.88.1.254" in trace and "Verdict: dropped: rejected" in trace


def test_dumped_flows_load_again(router):
    lines = [line.strip() for line in router.daemon.ctl("flow", "dump", "br0", "--no-stats").stdout.splitlines()]
    (line,) = [line for line in lines if "nw_ttl=1" in line and "ipv6" in line and "in_port=1" in line]
    assert line.endswith("actions=reject(type=3,code=0,source=fd88:1::fe)")
    router.daemon.ctl("flow", "add", "br0", line)
