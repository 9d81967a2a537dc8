"""Flow tables to measure with: every pipeline sends the traffic of `in` (port 2) to `out` (port 1).

`output` one flow for all; `exact` a flow for each five-tuple; `deep` twelve tables and twenty actions on the way; `acl` a few
rules whose masks differ in every bit of two fields, with headers that make a classifier look at all of them (Csikor et al.,
"Tuple Space Explosion", CoNEXT 2019; CVE-2019-25076): what an attacker who may send anything would send.
"""
PIPELINES = ["output", "exact", "deep", "acl"]
IN, OUT = 2, 1
ACL = {"nw_src": 0x0A000001, "tp_src": 12345, "tp_dst": 9}  # what `attacked` lets pass; traffic.frame sends to port 9


def flows(pipeline, flow_count):
    return {"output": _output, "exact": _exact, "deep": _deep, "acl": _acl}[pipeline](flow_count)


def _output(_):
    return [f"in_port={IN},actions=output:{OUT}"]


def _exact(flow_count):
    return [exact_flow(flow) for flow in range(flow_count)]


def exact_flow(number):
    """Of the five-tuple that traffic.frame gives a number."""
    return (f"priority=1,udp,in_port={IN},nw_src={_address(0x0A800001 + number)},nw_dst={_address(0x0A000001 + number)},"
            f"tp_src={1024 + number % 60000},tp_dst=9,actions=output:{OUT}")


def _deep(_):
    middle = [f"table={table},priority=5,udp,in_port={IN},actions=load:{table}->NXM_NX_REG{table}[],"
              f"{'load:1->NXM_NX_REG12[],' if table < 8 else ''}resubmit(,{table + 1})" for table in range(11)]
    return middle + [f"table=11,udp,actions=output:{OUT}"]


def _acl(_):
    return [f"priority=30,udp,tp_dst=80,actions=output:{OUT}", f"priority=20,udp,nw_src=10.0.0.1,actions=output:{OUT}",
            f"priority=10,udp,tp_src=12345,actions=output:{OUT}", f"priority=5,udp,tp_dst=9,actions=output:{OUT}",
            "priority=1,actions=drop"]


def attacked():
    """An access list as a tenant writes it, whose every header field a stranger can choose."""
    return [f"priority=30,udp,tp_dst={ACL['tp_dst']},actions=output:{OUT}",
            f"priority=20,udp,nw_src={_address(ACL['nw_src'])},actions=output:{OUT}",
            f"priority=10,udp,tp_src={ACL['tp_src']},actions=output:{OUT}", "priority=1,actions=drop"]


def wide(count=10_000):
    """Eight tables of `count` flows, by addresses and by ports in turn, so that no mask makes connections alike."""
    flows = []
    for table in range(8):
        action = f"output:{OUT}" if table == 7 else f"resubmit(,{table + 1})"
        match = (lambda n: f"tp_dst={n}") if table % 2 else (lambda n: f"nw_src={_address(0x0A000000 + (n << 8))}/24")
        flows += [f"table={table},priority=1,udp,{match(number)},actions={action}" for number in range(count)]
        flows.append(f"table={table},priority=0,actions={action}")
    return flows


def _address(number):
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))
