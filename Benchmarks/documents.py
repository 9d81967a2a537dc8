"""What Neutron's documents cost: 100,000 entries of l2population at once, then stations that move one at a time, while packets
of another bridge pass; and how many requests the responder that follows from them answers."""
import json
import socket
import struct
import subprocess
import time

import changes
import machine
import pipelines
import report
import traffic
from contenders import MARTLET_FOLDER, Martlet, Rig

ENTRIES = 100_000  # of two kinds: where a station is, and the answer to requests for it
HOSTS = 500
MOVES = 1000
ASKED = 1000  # addresses
CONNECTIONS = 1000


def run(options, _, records):
    for number in range(options.runs):
        record = _measured(options) | {"run": number}
        records.append(record)
        print(f"run {number + 1}: " + ", ".join(f"{name} {value}" for name, value in record.items()), flush=True)


def _measured(options):
    with machine.Scratch() as scratch:
        switch = Martlet(lambda _: pipelines.flows("exact", CONNECTIONS))
        switch.start(Rig(changes.case(scratch, CONNECTIONS), scratch), options.nice)
        switch.warm()
        path = scratch.folder / "documents"
        path.write_text("\n".join(map(json.dumps, _documents())) + "\n")
        drops, memory, started = switch.drops(), _kilobytes(switch), time.monotonic()
        subprocess.run([MARTLET_FOLDER / "martletctl", "--socket", switch.socket, "network", "apply", "--file", path],
                       check=True, capture_output=True, timeout=120)
        seconds = time.monotonic() - started
        # It gives back what reading took within a second.
        time.sleep(2)
        grown = _kilobytes(switch) - memory
        times = [_moved(switch, number) for number in range(MOVES)]
        lost = changes.lost(switch, drops)
        return {"seconds": seconds, "kilobytes": grown,
                **{name: value * 1e3 for name, value in changes.percentiles(times).items()}, **lost,
                "replies": _replies(switch, scratch.folder / "requests", options.seconds)}


def _kilobytes(switch):
    return switch.child.memory_kilobytes()["RssAnon"]


def _documents():
    """This host with one station, and the others with all the rest of its network."""
    yield {"type": "host", "id": socket.gethostname(), "tunnel_address": "10.255.0.1"}
    for host in range(HOSTS):
        yield {"type": "host", "id": f"host{host}", "tunnel_address": f"10.254.{host // 250}.{host % 250 + 1}"}
    yield {"type": "network", "id": "network", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450}
    yield {"type": "port", "id": "here", "network_id": "network", "mac_address": "fa:16:3e:ff:ff:ff",
           "host": socket.gethostname()}
    for number in range(ENTRIES // 2):
        yield _port(number, number % HOSTS)


def _port(number, host):
    return {"type": "port", "id": f"{number:08x}-0000-4000-8000-{number:012x}", "network_id": "network", "host": f"host{host}",
            "mac_address": "fa:16:3e:%02x:%02x:%02x" % (number >> 16, number >> 8 & 255, number & 255),
            "fixed_ips": [{"ip_address": f"10.{number // 50_000}.{number // 250 % 200}.{number % 250 + 1}", "subnet_id": "subnet"}]}


def _moved(switch, number):
    station = number * 7919 % (ENTRIES // 2)
    document = json.dumps(_port(station, (station + 7) % HOSTS))
    started = time.perf_counter()
    switch.control.call("network.apply", {"documents": document})
    return time.perf_counter() - started


def _replies(switch, path, seconds):
    """Mpps that leave by the port by which only requests come."""
    destinations, sources = traffic.macs(ASKED, 1), traffic.macs(1, 2)
    traffic.write(path, "64", destinations, sources, ASKED, wrap=lambda _, number: _request(sources[0], number))
    call = switch.control.call
    call("bridge.del", {"name": switch.BRIDGE})
    call("port.add", {"bridge": "br-tun", "name": "asker", "type": "dpdk",
                      "options": {"devargs": f"net_pcap9,rx_pcap={path},infinite_rx=1"}})
    call("flow.add", {"bridge": "br-tun", "flows": "in_port=asker actions=goto_table:2"})
    count = lambda: call("stats.ports", {"port": "asker"})["ports"][0]["tx_packets"]
    time.sleep(0.5)
    before, started = count(), time.monotonic()
    time.sleep(seconds)
    return (count() - before) / (time.monotonic() - started) / 1e6


def _request(source, number):
    """For a station's address, in the network's VLAN."""
    address = socket.inet_aton(_port(number, 0)["fixed_ips"][0]["ip_address"])
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + source + bytes([10, 99, 0, 1]) + bytes(6) + address
    return b"\xff" * 6 + source + b"\x81\0\0\1\x08\x06" + arp + bytes(14)


# The results

def write(options, records, description, complete):
    each = lambda name: [record[name] for record in records]
    goals = [report.at_most(f"{ENTRIES:,} entries from documents, s", 3, each("seconds")),
             report.at_most("kB that they take", 150_000, each("kilobytes")),
             report.at_most("one station moved, p99 ms", 2, each("p99")),
             report.at_most("packets lost meanwhile", 0, each("lost")),
             report.at_least("ARP replies, Mpps", 3, each("replies"))]
    report.write_results("documents", options, records, description, complete, goals, _text(records))


def _text(records):
    yield (f"{ENTRIES // 2:,} ports of a VXLAN network on {HOSTS} other hosts, one `martletctl network apply --file`: for each a flow "
           "that leads to its host, one that answers ARP and one for announcements. Then ports move to another host, a call of "
           f"`network.apply` each. martletd's worker has all the packets it can take meanwhile ({CONNECTIONS:,} five-tuples of "
           "another bridge) on core 1. kB is the growth of martletd's anonymous memory. Replies are those to requests for "
           f"{ASKED:,} of the addresses, which come as fast as the worker takes them.")
    yield from ("", "| load s | kB | move p50 ms | p99 | max | lost | replies Mpps |",
                "|--:|--:|--:|--:|--:|--:|--:|")
    for record in records:
        yield "| {seconds:.2f} | {kilobytes:,} | {p50:.3f} | {p99:.3f} | {max:.3f} | {lost:,} {reasons} | {replies:.2f} |".format(**record)
