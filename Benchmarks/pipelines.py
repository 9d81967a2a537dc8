"""Flow tables to measure with: every pipeline sends the traffic of `in` (port 2) to `out` (port 1).

`output` one flow for all; `exact` a flow for each five-tuple; `deep` twelve tables and twenty actions on the way; `acl` a few
rules whose masks differ in every bit of two fields, with headers that make a classifier look at all of them (Csikor et al.,
"Tuple Space Explosion", CoNEXT 2019; CVE-2019-25076): what an attacker who may send anything would send.
"""
PIPELINES = ["output", "exact", "deep", "acl"]
IN, OUT = 2, 1


def flows(pipeline, flow_count):
    return {"output": _output, "exact": _exact, "deep": _deep, "acl": _acl}[pipeline](flow_count)


def _output(_):
    return [f"in_port={IN},actions=output:{OUT}"]


def _exact(flow_count):
    """As traffic.frame numbers them."""
    address = lambda number: f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return [f"priority=1,udp,in_port={IN},nw_src={address(0x800001 + flow)},nw_dst={address(1 + flow)},"
            f"tp_src={1024 + flow % 60000},tp_dst=9,actions=output:{OUT}" for flow in range(flow_count)]


def _deep(_):
    middle = [f"table={table},priority=5,udp,in_port={IN},actions=load:{table}->NXM_NX_REG{table}[],"
              f"{'load:1->NXM_NX_REG12[],' if table < 8 else ''}resubmit(,{table + 1})" for table in range(11)]
    return middle + [f"table=11,udp,actions=output:{OUT}"]


def _acl(_):
    return [f"priority=30,udp,tp_dst=80,actions=output:{OUT}", f"priority=20,udp,nw_src=10.0.0.1,actions=output:{OUT}",
            f"priority=10,udp,tp_src=12345,actions=output:{OUT}", f"priority=5,udp,tp_dst=9,actions=output:{OUT}",
            "priority=1,actions=drop"]
