"""Flow syntax against Open vSwitch: what a real ovs-vswitchd dumps of each input is what the golden rows say.

FlowsTests holds Martlet's parser and printer to the same rows, so the two agree where both pass. The rows are made by
    python3 Tests/Interop/test_flow_syntax.py
into Tests/FlowsTests/Golden: flows.tsv, groups.tsv, meters.tsv. A row has an input, a tab, and what is dumped, or `!`
where ovs-ofctl or the daemon refuses. A form that only some versions of OpenFlow carry (`mod_vlan_vid` 1.0, `set_field`
1.3, masked `set_field` 1.5) is sent in the first that keeps it.
"""

import sys
import tempfile
from pathlib import Path

import pytest

from dummy_switch import DummySwitch

GOLDEN = Path(__file__).resolve().parent.parent / "FlowsTests" / "Golden"
HEADER = """# An input, a tab, and what ovs-vswitchd dumps of it, or ! where it is refused. Made by
# python3 Tests/Interop/test_flow_syntax.py
"""

MAC, IPV4, IPV6, HEX, DEC = "mac", "ipv4", "ipv6", "hex", "dec"
SAMPLES = {
    MAC: ["52:54:00:12:34:56", "01:00:00:00:00:00/01:00:00:00:00:00", "1:2:3:4:5:6", "00:00:00:00:00:00", "*"],
    IPV4: ["10.1.2.3", "10.1.2.3/8", "10.1.2.0/255.255.255.0", "10.0.0.3/255.0.0.255", "0.0.0.0", "1.2.3.4/0"],
    IPV6: ["2001:db8::1", "::", "::1", "fe80::/10", "2001:db8::1/ffff::ffff", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4",
           "1:0:0:2:0:0:0:3", "::1.2.3.4", "1::/128", "ff02::1:ff00:0/104"],
    HEX: ["0", "1", "0x10", "0x12/0xff", "7/5", "0x3", "010"],
    DEC: ["0", "1", "53", "65535", "0x10/0xfff0", "80/0xff", "1/0x1"],
}
# Field, what must be matched before it, kind of values.
MATCHES = [
    *[(f"reg{n}", "", HEX) for n in range(16)], *[(f"xreg{n}", "", HEX) for n in range(8)],
    *[(f"xxreg{n}", "", HEX) for n in range(4)], ("metadata", "", HEX), ("pkt_mark", "", HEX), ("tun_id", "", HEX),
    ("tunnel_id", "", HEX), ("tun_src", "", IPV4), ("tun_dst", "", IPV4), ("tun_ipv6_src", "", IPV6),
    ("tun_ipv6_dst", "", IPV6), ("dl_src", "", MAC), ("dl_dst", "", MAC), ("eth_src", "", MAC), ("eth_dst", "", MAC),
    ("nw_src", "ip,", IPV4), ("nw_dst", "ip,", IPV4), ("ip_src", "tcp,", IPV4), ("ip_dst", "udp,", IPV4),
    ("ipv6_src", "ipv6,", IPV6), ("ipv6_dst", "tcp6,", IPV6), ("arp_spa", "arp,", IPV4), ("arp_tpa", "rarp,", IPV4),
    ("arp_sha", "arp,", MAC), ("arp_tha", "arp,", MAC), ("tp_src", "tcp,", DEC), ("tp_dst", "tcp,", DEC),
    ("tcp_src", "tcp6,", DEC), ("udp_dst", "udp,", DEC), ("udp_src", "udp6,", DEC), ("sctp_src", "sctp,", DEC),
    ("sctp_dst", "sctp6,", DEC), ("nd_target", "icmp6,icmp_type=135,", IPV6), ("ct_mark", "ct_state=+trk,ip,", HEX),
    ("nd_sll", "icmp6,icmp_type=135,icmp_code=0,", MAC), ("nd_tll", "icmp6,icmp_type=136,icmp_code=0,", MAC),
    ("ct_label", "ct_state=+trk,ip,", HEX), ("ct_nw_src", "ct_state=+trk+est,ip,", IPV4),
    ("ct_nw_dst", "ct_state=+trk+new,ip,", IPV4), ("ct_ipv6_src", "ct_state=+trk+est,ipv6,", IPV6),
    ("ct_ipv6_dst", "ct_state=+trk-inv,ipv6,", IPV6), ("ct_tp_src", "ct_state=+est,ip,ct_nw_proto=6,", DEC),
    ("ct_tp_dst", "ct_state=+rpl,ip,ct_nw_proto=17,", DEC), ("ipv6_label", "ipv6,", HEX),
]
PLAIN_MATCHES = """
priority=5
priority=0
priority=65535
priority=32768
table=0
table=1
cookie=0x1234
cookie=-1
cookie=18446744073709551615
idle_timeout=10
hard_timeout=65535
idle_timeout=5,hard_timeout=6
send_flow_rem
check_overlap
reset_counts
send_flow_rem,check_overlap,reset_counts
no_packet_counts
no_byte_counts,no_packet_counts
importance=7
duration=1.5s, n_packets=3, n_bytes=180, idle_age=1, hard_age=2
in_port=1
in_port=p3
in_port=65534
in_port=LOCAL
in_port=local
in_port=4294967294
in_port="p4"
dl_vlan=1
dl_vlan=0
dl_vlan=4095
dl_vlan=0xffff
dl_vlan_pcp=3
dl_vlan_pcp=0
dl_vlan=5,dl_vlan_pcp=7
vlan_tci=0
vlan_tci=0x1005
vlan_tci=0x1000/0x1000
vlan_tci=0/0x1000
vlan_tci=0x1005/0x1fff
vlan_tci=0xf123/0xffff
vlan_tci=0x0005/0x0fff
vlan_tci=0xe000/0xe000
vlan_tci=0x3000/0xf000
vlan_vid=0x1005
vlan_vid=0x1005/0x100f
vlan_vid=0x1000/0x1000
dl_vlan=9,vlan_pcp=4
dl_type=0x800
dl_type=0x0806
dl_type=0x86dd
dl_type=0x1234
eth_type=0x88cc
dl_type=0x5ff
dl_type=0x8035
ip
ipv4
ip4
ipv6
ip6
arp
rarp
icmp
icmp6
tcp
tcp6
udp
udp6
sctp
sctp6
dl_type=0x800,nw_proto=6
dl_type=0x800,nw_proto=1
ip,nw_proto=47
ipv6,nw_proto=58
ipv6,ip_proto=44
ip,nw_proto=58
ipv6,nw_proto=1
ip,nw_proto=0
arp,arp_op=1
arp,arp_op=2
arp,arp_op=255
arp,nw_proto=2
arp,nw_src=10.0.0.1,nw_dst=10.0.0.0/8
rarp,arp_op=3
ip,nw_tos=0
ip,nw_tos=0xfc
ipv6,nw_tos=8
ip,ip_dscp=10
ipv6,ip_dscp=63
ip,nw_ecn=3
ip,ip_ecn=0
ip,nw_tos=32,nw_ecn=1
ip,nw_ttl=64
ipv6,nw_ttl=0
ip,nw_frag=no
ip,nw_frag=yes
ip,nw_frag=first
ip,nw_frag=later
ip,nw_frag=not_later
ipv6,ip_frag=LATER
tcp,tcp_flags=+syn
tcp,tcp_flags=+syn-ack
tcp,tcp_flags=-fin-rst+ack
tcp,tcp_flags=syn|ack
tcp,tcp_flags=0x12
tcp,tcp_flags=0x002/0x017
tcp6,tcp_flags=+ns+cwr+ece+urg+psh
tcp,tcp_flags=0
tcp,tcp_flags=+[200]
icmp,icmp_type=8
icmp,icmp_type=8,icmp_code=0
icmp,icmp_code=255
icmp6,icmp_type=136
icmp6,icmpv6_type=134,icmpv6_code=0
icmp6,icmp_type=135,nd_target=fe80::1,nd_sll=1:2:3:4:5:6
icmp6,icmp_type=135,icmp_code=0,nd_options_type=1,nd_reserved=7,nd_sll=1:2:3:4:5:6,nd_target=fe80::1
icmp6,icmp_type=136,nd_reserved=0x60000000,nd_options_type=2
icmp6,icmp_type=136,nd_reserved=0,nd_options_type=0
icmp6,icmp_type=136,nd_reserved=*
icmp6,icmp_type=136,nd_reserved=5/0xffffffff
udp,tcp_src=80
tp_src=80,tcp
nw_src=10.0.0.1,tp_dst=53,udp
icmp,tp_src=3
ct_state=+trk
ct_state=-trk
ct_state=+trk+est-inv
ct_state=+new-est-rel+inv+trk+snat-dnat
ct_state=trk|est
ct_state=0x21/0x21
ct_state=+rpl
ct_zone=5
ct_zone=0
ct_zone=65535
ct_zone=0xff,ct_mark=1,ct_label=0x1/0x1
ct_label=0x123456789abcdef0123456789abcdef0
ct_state=+trk,ct_zone=5,ct_mark=1/1,ip
conj_id=7
conj_id=0
ip,conj_id=4294967295
tun_id=0x694,in_port=2
tun_id=0xffffffffffffffff
tun_id=5,tun_src=1.2.3.4,tun_dst=5.6.7.8
metadata=0x1234567890abcdef/0xff00ff00ff00ff00
reg0=1,reg1=2,reg2=3
reg0[0..3]=5
reg0[4]=1
NXM_NX_REG1[8..15]=0xff
NXM_NX_REG2[]=9
reg3[0..3]=2,reg3[8..11]=4
xreg0=0x100000002
xxreg1=0x11112222333344445555666677778888
reg0=0xffffffff
reg0=4294967295
reg0=0/0xff
reg0=*
ip,nw_src=*
ip,nw_src=10.1.0.0/16,nw_dst=10.2.0.0/255.255.0.0,nw_tos=32,nw_ttl=5
pkt_mark=0x1/0xf
dl_src=52:54:00:12:34:56,dl_dst=ff:ff:ff:ff:ff:ff
dl_dst=FA:16:3E:DB:08:63
priority=4,in_port=2,dl_vlan=1
priority=3,tun_id=0x1,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00
priority=65,ip,reg5=0x5,in_port=3,dl_src=fa:16:3e:cd:d3:be,nw_src=10.2.0.232
priority=95,icmp6,reg5=0x5,in_port=3,dl_src=fa:16:3e:cd:d3:be,ipv6_src=fe80::1,icmp_type=136,nd_target=fe80::1
ct_state=+est-rel-rpl,ip,reg6=0x2
actset_output=1
actset_output=LOCAL
actset_output=unset
actset_output=0xfff7
actset_output=65527
in_port=UNSET
tcp,nw_frag=later,tp_src=80
tcp,tp_dst=80,nw_frag=later
udp6,nw_frag=later,udp_src=80
sctp,nw_frag=later,sctp_dst=80/0xf0
tcp,nw_frag=later,tcp_flags=+syn
tcp,nw_frag=first,tp_src=80
tcp,nw_frag=yes,tp_src=80
tcp,nw_frag=not_later,tcp_flags=+syn
icmp,nw_frag=later,icmp_type=8
icmp6,nw_frag=later,icmp_type=135
""".split("\n")[1:-1]
ACTIONS = """
drop
output:1
output:p2
output:"p2"
1
p3
"p3"
output:65534
LOCAL
local
output:LOCAL
in_port
IN_PORT
output:in_port
NORMAL
normal
output:NORMAL
FLOOD
flood
ALL
all
output:1,output:2,output:3
1,2,3
output:NXM_NX_REG0[]
output:NXM_NX_REG0[0..15]
output:reg1[16..31]
output:NXM_OF_IN_PORT[]
output(port=1,max_len=100)
output(max_len=64,port=p2)
output(port=LOCAL,max_len=14)
enqueue:1:2
enqueue(p3,4)
set_queue:0
set_queue:5,pop_queue
pop_queue
mod_vlan_vid:1024
mod_vlan_vid:0
mod_vlan_pcp:5
strip_vlan
mod_dl_src:52:54:00:12:34:56
mod_dl_dst:1:2:3:4:5:6
mod_dl_src:52:54:00:12:34:56,mod_dl_dst:00:00:00:00:00:01,output:1
push_vlan:0x8100
push_vlan:0x88a8,set_field:4097->vlan_vid,output:1
push_vlan:0x8100,set_field:4098->vlan_vid,set_field:3->vlan_pcp,output:1
push_vlan:0x8100,push_vlan:0x88a8
push_vlan:0x8100,pop_vlan
set_field:0x5->reg5
set_field:0x5->reg5,set_field:0x1->reg6,resubmit(,71)
set_field:0->reg0
set_field:0x5600/0xff00->reg0
set_field:0x1234567890->xreg3
set_field:0x123456789abcdef0123456789abcdef->xxreg2
set_field:0x1/0x1->xxreg0
set_field:0x694->tun_id
set_field:0x1->tun_id,output:1
set_field:1.2.3.4->tun_src
set_field:1.2.3.4->tun_dst
set_field:fe80::1->tun_ipv6_src
set_field:2001:db8::2->tun_ipv6_dst
set_field:52:54:00:12:34:56->eth_src
set_field:52:54:00:12:34:56->eth_dst
set_field:52:54:00:12:34:56->dl_dst
set_field:01:00:00:00:00:00/01:00:00:00:00:00->eth_dst
set_field:0x5->metadata
set_field:0x5/0xf->metadata
set_field:0x7->pkt_mark
set_field:3->in_port
set_field:0x1005->vlan_tci
load:0x2->NXM_NX_REG3[0]
load:0x2->NXM_NX_REG3[]
load:0x5->reg3[4..7]
load:0->NXM_NX_REG1[]
load:0xffffffff->NXM_NX_REG15[]
load:5->NXM_NX_REG0[0..15],load:6->NXM_NX_REG0[16..31]
load:0x1122334455667788->OXM_OF_PKT_REG2[]
load:0x123456789abcdef0->NXM_NX_XXREG0[]
load:0x1->NXM_NX_XXREG1[64..127]
load:0xfa163e734784->NXM_OF_ETH_SRC[]
load:0x5->NXM_OF_ETH_DST[0..7]
load:0x1005->NXM_OF_VLAN_TCI[]
load:0x5->NXM_OF_VLAN_TCI[0..11]
load:0x694->NXM_NX_TUN_ID[]
load:0x694->NXM_NX_TUN_ID[0..31]
load:0x01020304->NXM_NX_TUN_IPV4_DST[]
load:0x5->OXM_OF_METADATA[]
load:7->NXM_NX_PKT_MARK[]
load:0xfffe->NXM_OF_IN_PORT[]
load:0->NXM_OF_IN_PORT[]
move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]
move:NXM_NX_REG0[]->NXM_NX_REG1[]
move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]
move:NXM_NX_REG0[5]->NXM_NX_REG1[6]
move:reg0[0..7]->reg1[8..15]
move:NXM_NX_TUN_ID[0..31]->NXM_NX_REG2[]
move:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[]
move:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15]
move:NXM_NX_XXREG0[]->NXM_NX_XXREG1[]
move:NXM_OF_ETH_TYPE[]->NXM_NX_REG0[0..15]
push:NXM_NX_REG0[]
push:NXM_NX_REG2[0..5],pop:NXM_NX_REG1[0..5]
pop:NXM_NX_REG0[]
push:NXM_OF_IN_PORT[]
push:NXM_OF_ETH_SRC[]
set_tunnel:0x1
set_tunnel:100
set_tunnel:0
set_tunnel64:0x1
set_tunnel64:0x123456789ab
set_tunnel:0x123456789ab
resubmit:1
resubmit:p2
resubmit(,5)
resubmit(1,5)
resubmit(p3,254)
resubmit(in_port,7)
resubmit(LOCAL,1)
resubmit(1,)
resubmit(,72),resubmit(,73)
goto_table:5
set_field:1->reg0,goto_table:254
write_metadata:0x5
write_metadata:0x5/0xf
write_metadata:0xffffffffffffffff,goto_table:3
clear_actions
write_actions(output:1)
write_actions(set_field:1->reg0,output:2)
clear_actions,write_actions(output:1),write_metadata:1,goto_table:9
output:1,clear_actions
write_actions(drop)
write_actions(pop_vlan,output:1)
meter:1
meter:2,output:1
group:1
group:5,output:1
exit
output:1,exit
note:00
note:
note:01.02.03.04.05.06
note:0102030405060708
note:de.ad.be.ef,output:1
clone(output:1)
clone(output:1,output:2),output:3
clone(push_vlan:0x8100,output:1),output:2
clone(clone(output:1))
clone(resubmit(,5))
conjunction(1,1/2)
conjunction(7,64/64)
conjunction(3,2/3),conjunction(4,1/2)
conjunction(0x10,1/2),note:01
ct_clear
ct_clear,resubmit(,71)
check_pkt_larger(1500)->NXM_NX_REG0[0]
check_pkt_larger(100)->reg1[5],resubmit(,3)
learn(table=20,hard_timeout=300,priority=1,cookie=0x4ebfae75f53efda,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[]),output:1
learn(table=1)
learn()
learn(table=3,idle_timeout=5,fin_idle_timeout=1,fin_hard_timeout=2,send_flow_rem,delete_learned,limit=10,result_dst=NXM_NX_REG0[3],NXM_OF_IN_PORT[])
learn(priority=32768,NXM_OF_IN_PORT[])
learn(table=2,eth_type=0x800,NXM_OF_IP_PROTO[]=6)
learn(table=2,eth_type=0x800,nw_proto=6,output:NXM_OF_IN_PORT[])
learn(table=2,dl_type=0x806,arp_op=1)
learn(table=2,eth_type=0x800,ip_src=10.0.0.1)
learn(table=2,eth_type=0x86dd,ipv6_src=fe80::1)
learn(table=2,eth_dst=52:54:00:12:34:56)
learn(table=2,in_port=3)
learn(table=2,NXM_NX_REG0[0..7]=5)
learn(table=2,reg0=5,load:1->NXM_NX_REG1[0])
learn(table=2,NXM_NX_REG1[]=NXM_NX_REG0[])
learn(table=2,NXM_NX_REG1[0..15]=NXM_OF_IN_PORT[])
learn(table=2,load:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15])
learn(table=2,NXM_OF_VLAN_TCI[0..11],output:NXM_NX_REG0[0..15])
learn(table=2,load:0x1234567890->NXM_NX_TUN_ID[])
learn(table=2,vlan_tci=0x1005)
learn(table=2,metadata=0x7)
""".split("\n")[1:-1]
# Match, then actions that need it.
WITH_MATCH = """
ip;mod_nw_src:1.2.3.4
ip;mod_nw_dst:1.2.3.4,output:1
ip;mod_nw_tos:32
ipv6;mod_nw_tos:252
ip;mod_nw_tos:0
ip;mod_nw_ecn:2
ip;mod_nw_ttl:64
tcp;mod_tp_src:80
udp;mod_tp_dst:65535
sctp;mod_tp_dst:1
tcp6;mod_tp_src:443
ip;dec_ttl
ipv6;dec_ttl,output:1
ip;dec_ttl(1,2)
ip;dec_ttl(7)
tcp;fin_timeout(idle_timeout=5,hard_timeout=6)
tcp;fin_timeout(idle_timeout=5)
tcp;fin_timeout()
ip;set_field:1.2.3.4->ip_src
ip;set_field:1.2.3.4->nw_dst
ip;set_field:10->ip_dscp
ip;set_field:2->ip_ecn
ip;set_field:64->nw_ttl
ipv6;set_field:2001:db8::1->ipv6_src
ipv6;set_field:2001:db8::1->ipv6_dst
ipv6;set_field:0x12345->ipv6_label
tcp;set_field:80->tcp_src
tcp;set_field:80->tcp_dst
udp;set_field:53->udp_src
udp;set_field:0x35->udp_dst
sctp;set_field:1->sctp_src
sctp;set_field:2->sctp_dst
icmp;set_field:8->icmp_type
icmp;set_field:0->icmp_code
icmp6;set_field:128->icmpv6_type
icmp6;set_field:0->icmpv6_code
icmp6,icmp_type=135,icmp_code=0;set_field:fe80::1->nd_target
icmp6,icmp_type=135,icmp_code=0;set_field:52:54:00:12:34:56->nd_sll
icmp6,icmp_type=136,icmp_code=0;set_field:52:54:00:12:34:56->nd_tll
icmp6,icmp_type=136,icmp_code=0;set_field:0x60000000->nd_reserved
icmp6,icmp_type=135,icmp_code=0;set_field:136->icmpv6_type,set_field:2->nd_options_type
icmp6,icmp_type=135,icmp_code=0;load:0x3->ERICOXM_OF_ICMPV6_ND_RESERVED[29..31]
icmp6,icmp_type=135,icmp_code=0;load:2->ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE[]
icmp6,icmp_type=135,icmp_code=0;move:nd_reserved[]->NXM_NX_REG0[],push:nd_options_type[]
arp;set_field:2->arp_op
arp;set_field:10.1.0.163->arp_spa
arp;set_field:10.1.0.163->arp_tpa
arp;set_field:52:54:00:12:34:56->arp_sha
arp;set_field:52:54:00:12:34:56->arp_tha
dl_vlan=3;set_field:4293->vlan_vid,NORMAL
dl_vlan=3;set_field:5->vlan_pcp
dl_vlan=3;pop_vlan
dl_vlan=3;pop_vlan,output:1
dl_vlan=3;write_actions(pop_vlan,output:1,pop_vlan)
dl_vlan=3;strip_vlan,set_tunnel:0x66,output:2
arp;load:0x2->NXM_OF_ARP_OP[]
arp;load:0xa011707->NXM_OF_ARP_SPA[]
arp;load:0xfa163e734784->NXM_NX_ARP_SHA[]
arp;move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]
arp;move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:fa:16:3e:73:47:84,load:0x2->NXM_OF_ARP_OP[],IN_PORT
ip;load:0x01020304->NXM_OF_IP_SRC[]
ip;load:0x1->NXM_OF_IP_DST[0..7]
tcp;load:80->NXM_OF_TCP_DST[]
udp;load:80->NXM_OF_UDP_SRC[]
ip;load:5->NXM_NX_IP_TTL[]
ip;load:1->NXM_NX_IP_ECN[]
ip;load:8->NXM_OF_IP_TOS[]
tcp;move:NXM_OF_TCP_SRC[]->NXM_OF_TCP_DST[]
ip;move:NXM_OF_IP_SRC[]->NXM_NX_REG0[]
ip;move:NXM_OF_IP_PROTO[]->NXM_NX_REG0[0..7]
ipv6;move:NXM_NX_IPV6_SRC[]->NXM_NX_XXREG0[]
icmp6,icmp_type=135,icmp_code=0;move:NXM_NX_ND_TARGET[]->NXM_NX_XXREG0[]
ip;ct()
ip;ct(table=1)
ip;ct(commit)
ip;ct(commit,force)
ip;ct(zone=5)
ip;ct(table=72,zone=NXM_NX_REG6[0..15])
ip;ct(commit,zone=NXM_NX_REG6[0..15],exec(set_field:0x1->ct_mark))
ip;ct(commit,exec(set_field:0x1->ct_mark,set_field:0x2->ct_label))
ip;ct(commit,exec(load:0x1->NXM_NX_CT_MARK[]))
ip;ct(commit,exec(load:0x1->NXM_NX_CT_LABEL[0..31]))
ip;ct(commit,exec(move:NXM_NX_REG0[]->NXM_NX_CT_MARK[]))
ip;ct(commit,table=3,zone=7,nat(src=10.0.0.1))
ip;ct(commit,nat(src=10.0.0.1-10.0.0.9))
ip;ct(commit,nat(dst=10.0.0.1:80))
ip;ct(commit,nat(src=10.0.0.1-10.0.0.9:1000-2000,persistent,hash))
ip;ct(commit,nat(src=10.0.0.1,random))
ip;ct(commit,nat(src))
ip;ct(nat)
ip;ct(table=2,nat)
ip;ct(commit,nat(src=10.0.0.1-10.0.0.1))
ip;ct(commit,nat(src=10.0.0.1:80-80))
ip;ct(commit,nat(src=10.0.0.1),exec(set_field:1->ct_mark))
ipv6;ct(commit,nat(src=fe80::1))
ipv6;ct(commit,nat(src=fe80::1-fe80::9))
ipv6;ct(commit,nat(dst=[fe80::1]:80))
ipv6;ct(commit,nat(dst=[fe80::1]-[fe80::9]:80-90))
ipv6;ct(commit,nat(src=::1.2.3.4))
tcp;ct(commit,alg=ftp)
udp;ct(commit,alg=tftp)
ip;ct(table=5),output:1
ipv6;ct(commit,zone=65535,table=0)
ip,ct_state=+trk+est;resubmit(,5,ct)
ip,ct_state=+trk-inv;resubmit(1,5,ct)
tcp;learn(table=2,eth_type=0x800,nw_proto=6,NXM_OF_TCP_DST[]=NXM_OF_TCP_SRC[])
ip;learn(table=2,eth_type=0x800,NXM_OF_IP_DST[]=NXM_OF_IP_SRC[],load:NXM_OF_IP_SRC[]->NXM_NX_REG0[])
ip;learn(table=2,eth_type=0x800,NXM_OF_IP_SRC[])
table=3;goto_table:4
table=10,priority=2,arp,arp_tha=ff:ff:ff:ff:ff:ff;NORMAL
cookie=0x28833650be3110a,reset_counts,priority=200,reg3=0;set_queue:0,load:0x1->NXM_NX_REG3[0],resubmit(,0)
""".split("\n")[1:-1]
REFUSED = """
bogus=1 actions=drop
priority=65536 actions=drop
priority=-1 actions=drop
table=256 actions=drop
table=foo actions=drop
idle_timeout=70000 actions=drop
cookie=0x1/0xff actions=drop
in_port=nosuch actions=drop
in_port=70000 actions=drop
in_port=1/2 actions=drop
dl_type=0x800/0xff actions=drop
dl_vlan=1/1 actions=drop
ip,nw_proto=6/6 actions=drop
ip,nw_proto=256 actions=drop
ip,nw_src=10.0.0 actions=drop
ip,nw_src=10.0.0.1/33 actions=drop
ip,nw_frag=maybe actions=drop
ipv6,ipv6_src=fe80 actions=drop
ipv6,ipv6_src=::1::2 actions=drop
ipv6,ipv6_src=::1/129 actions=drop
ipv6,ipv6_src=1:2:3:4:5:6:7:8:9 actions=drop
dl_src=1:2:3:4:5 actions=drop
dl_src=1:2:3:4:5:6:7 actions=drop
dl_src=g:2:3:4:5:6 actions=drop
reg0=0x1ffffffff actions=drop
reg0=abc actions=drop
reg0=1/zz actions=drop
reg16=1 actions=drop
xreg8=1 actions=drop
reg0[32]=1 actions=drop
reg0[3..1]=1 actions=drop
reg0[0..3]=16 actions=drop
reg0[0..=1 actions=drop
tcp,tp_src=65536 actions=drop
tcp,tcp_flags=+foo actions=drop
tcp,tcp_flags=+syn+syn actions=drop
ct_state=+foo actions=drop
ct_state=0x100/0x100 actions=drop
conj_id=1/1 actions=drop
ip,nw_ttl=1/1 actions=drop
ip,nw_ecn=1/1 actions=drop
priority=1
actions=bogus
actions=output:nosuch
actions=output:70000
actions=output:NXM_NX_REG0[0..32]
actions=output:NXM_NX_BOGUS[]
actions=output(port=1,max_len=13)
actions=output(port=1,max_len=100,foo=1)
actions=drop,output:1
actions=output:1,drop
actions=TABLE,NONE
actions=mod_vlan_vid:4096
actions=mod_vlan_vid:x
actions=mod_vlan_pcp:8
actions=mod_dl_src:1:2:3
ip,actions=mod_nw_src:1.2.3
ip,actions=mod_nw_tos:3
ip,actions=mod_nw_tos:256
ip,actions=mod_nw_ecn:4
ip,actions=mod_nw_ttl:256
actions=push_vlan:0x1234
actions=push_vlan:0x8100,push_vlan:0x8100,push_vlan:0x8100
actions=set_field:1
actions=set_field:1->
actions=set_field:1->bogus
actions=set_field:0x1ffffffff->reg0
actions=set_field:1->eth_type
actions=set_field:1->ct_state
actions=set_field:1->ct_mark
actions=set_field:1.2.3.4->ip_src
actions=set_field:80->tcp_src
udp actions=set_field:80->tcp_src
tcp,nw_frag=later actions=set_field:80->tcp_src
ip actions=set_field:fe80::1->ipv6_src
actions=set_field:2->arp_op
icmp6 actions=set_field:2->nd_options_type
icmp6,icmp_type=133 actions=set_field:2->nd_reserved
icmp6,icmp_type=135,nd_options_type=256 actions=drop
icmp6,icmp_type=135,nd_reserved=0x100000000 actions=drop
icmp6,icmp_type=135,nd_reserved=1/1 actions=drop
actions=set_field:4097->vlan_vid
actions=load:0x10->NXM_NX_REG0[0..3]
actions=load:1->NXM_OF_ETH_TYPE[]
actions=load:1->NXM_OF_IP_SRC[]
actions=load:1
actions=load:x->NXM_NX_REG0[]
actions=load:1->NXM_NX_CT_MARK[]
actions=move:NXM_NX_REG0[]->NXM_NX_REG1[0..15]
actions=move:NXM_NX_REG0[]
actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG0[]
actions=move:NXM_NX_REG0[0..15]->NXM_OF_ETH_TYPE[]
actions=push:NXM_NX_BOGUS[]
actions=pop:NXM_OF_ETH_TYPE[]
actions=push:NXM_OF_IP_SRC[]
actions=set_tunnel:
actions=set_tunnel:x
actions=resubmit()
actions=resubmit(,)
actions=resubmit(,256)
actions=resubmit(nosuch,1)
actions=resubmit(,5,foo)
actions=resubmit(,5,ct)
actions=goto_table:256
table=5 actions=goto_table:5
table=5 actions=goto_table:4
actions=goto_table:1,output:1
actions=goto_table:1,goto_table:2
actions=write_actions(output:1),output:1
actions=write_metadata:1,clear_actions
actions=output:1,meter:1
actions=write_actions(write_actions(output:1))
actions=clone(goto_table:5)
actions=write_metadata:x
actions=note:0
actions=note:zz
actions=conjunction(1,0/2)
actions=conjunction(1,3/2)
actions=conjunction(1,1/65)
actions=conjunction(1,1/1)
actions=conjunction(1)
actions=conjunction(1,1/2),output:1
actions=check_pkt_larger(1500)->NXM_NX_REG0[0..1]
actions=ct()
arp actions=ct(commit)
ip actions=ct(force)
ip actions=ct(zone=70000)
ip actions=ct(table=255)
ip actions=ct(bogus)
ip actions=ct(alg=sip)
udp actions=ct(commit,alg=ftp)
ip actions=ct(commit,exec(output:1))
ip actions=ct(commit,exec(set_field:1->reg0))
ip actions=ct(commit,nat(src=fe80::1))
ipv6 actions=ct(commit,nat(src=1.2.3.4))
ip actions=ct(commit,nat(src=10.0.0.9-10.0.0.1))
ip actions=ct(commit,nat(src=10.0.0.1,dst=10.0.0.2))
ip actions=ct(commit,nat(src=10.0.0.1,hash,random))
ip actions=ct(nat(hash))
ip actions=ct(nat(src=1.2.3.4))
ip actions=ct(table=1,nat(dst))
ip actions=ct(commit,nat(src=10.0.0.1:2-1))
ip actions=ct(commit,nat(foo))
ip,ct_state=+inv+trk actions=ct(commit)
actions=nat
actions=learn(table=255)
actions=learn(table=300)
actions=learn(bogus=1)
actions=learn(table=2,ip_src=10.0.0.1)
actions=learn(table=2,NXM_OF_IP_DST[]=NXM_OF_IP_SRC[])
actions=learn(table=2,load:5)
actions=learn(table=2,load:300->NXM_NX_REG0[0..7])
actions=learn(table=2,NXM_NX_REG0[0..7]=NXM_NX_REG1[])
actions=learn(table=2,result_dst=NXM_NX_REG0[])
actions=enqueue:1
actions=enqueue:nosuch:1
actions=set_queue:x
actions=group:x
actions=meter:x
actions=apply_actions(output:1)
""".split("\n")[1:-1]

GROUPS = """
group_id=1,type=all,bucket=actions=output:1
group_id=2,type=all,bucket=output:1,bucket=output:2
group_id=3,type=select,bucket=weight:10,watch_port=2,actions=output:1,bucket=weight:20,actions=output:2
group_id=4,type=select,selection_method=hash,fields=nw_src,bucket=output:1,bucket=output:2
group_id=5,type=select,selection_method=hash,fields(nw_src,nw_dst,tp_src),bucket=output:1
group_id=6,type=select,selection_method=dp_hash,selection_method_param=5,bucket=output:1
group_id=8,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_port:p2,actions=output:2
group_id=9,type=fast_failover,bucket=watch_group:1,actions=output:1
group_id=10,type=select,bucket=bucket_id:7,weight:0,actions=output:1,bucket=bucket_id:3,actions=set_field:1->reg0,output:2
group_id=11,type=all
group_id=12,type=select,selection_method=hash,fields(eth_dst,ip_dst=255.255.0.0),bucket=actions=drop
group_id=14,type=select,bucket=weight=5,output:1
group_id=4294967040,type=all,bucket=actions=output:1
group_id=15,bucket=output:1
type=all,bucket=output:1
group_id=16,type=foo,bucket=output:1
group_id=17,type=ff,bucket=output:1
group_id=18,type=indirect,bucket=output:1,bucket=output:2
group_id=19,type=all,bucket=weight:5,output:1
group_id=20,type=all,bucket=weight:5
group_id=21,type=all,bogus=1,bucket=output:1
group_id=22,type=select,fields=nw_src,bucket=output:1
group_id=23,type=select,selection_method_param=5,bucket=output:1
group_id=4294967295,type=all,bucket=output:1
group_id=24,type=all,bucket=actions=bogus
group_id=25,type=select,selection_method=hash,fields=bogus,bucket=output:1
group_id=7,type=indirect,bucket=actions=set_field:1->reg0,output:1
group_id=27,type=all,bucket=bucket_id:1,actions=output:1,bucket=bucket_id:1,actions=output:2
group_id=28,type=all,selection_method=hash,bucket=output:1
group_id=29,type=select,selection_method=foo,bucket=output:1
group_id=31,type=select,selection_method=hash,fields(tcp_dst,nw_proto,eth_src,metadata,in_port,tun_id,reg0,vlan_tci,ip_dst,ipv6_src),bucket=output:1
group_id=30,type=all,bucket=actions=resubmit(,5),bucket=actions=ct_clear,p2
group_id=32,type=indirect
""".split("\n")[1:-1]
METERS = """
meter=1 pktps bands=type=drop rate=1000
meter=2 kbps bands=type=drop rate=5
meter=3 kbps burst bands=type=drop rate=10 burst_size=20
meter=4,kbps,burst,stats,bands=type=drop,rate=10,burst_size=20
meter=5 pktps stats bands=type=drop rate=1, type=drop rate=2
meter=6 kbps burst bands=type=drop rate=10 burst_size=20 type=drop rate=30 burst_size=40
meter=7 bands=type=drop rate=1
meter=0 kbps bands=type=drop rate=1
meter=8 kbps bands=rate=1
meter=9 kbps bands=type=drop
meter=10 kbps
meter=11 kbps burst bands=type=drop rate=1
meter=12 kbps bands=type=drop rate=1 burst_size=5
meter=13 kbps bands=type=foo rate=1
meter=14 kbps bands=type=drop rate=1 prec_level=1
meter=15 foo bands=type=drop rate=1
""".split("\n")[1:-1]


def inputs():
    """Every text that a golden row is made of."""
    for field, before, kind in MATCHES:
        for value in SAMPLES[kind]:
            yield f"{before}{field}={value} actions=drop"
    for match in PLAIN_MATCHES:
        yield f"{match} actions=drop"
    for actions in ACTIONS:
        yield f"actions={actions}"
    for row in WITH_MATCH:
        match, actions = row.split(";", 1)
        yield f"{match} actions={actions}"
    yield from REFUSED


@pytest.fixture(scope="module")
def switch(tmp_path_factory):
    switch = DummySwitch(tmp_path_factory.mktemp("ovs"))
    yield switch
    switch.stop()


# File: its inputs, and how the switch is asked.
FILES = {
    "flows.tsv": (inputs, DummySwitch.dump_of),
    "groups.tsv": (lambda: GROUPS, DummySwitch.group_dump_of),
    "meters.tsv": (lambda: METERS, DummySwitch.meter_dump_of),
}


@pytest.mark.parametrize("name", FILES)
def test_golden_rows_are_what_open_vswitch_dumps(switch, name):
    made, ask = FILES[name]
    rows = [line.split("\t") for line in (GOLDEN / name).read_text().splitlines() if not line.startswith("#")]
    assert [text for text, _ in rows] == list(dict.fromkeys(made()))
    wrong = [(text, expected, dumped) for text, expected in rows if (dumped := ask(switch, text)) != expected]
    assert not wrong


def main():
    with tempfile.TemporaryDirectory() as directory:
        switch = DummySwitch(directory)
        try:
            for name, (made, ask) in FILES.items():
                rows = [f"{text}\t{ask(switch, text)}\n" for text in dict.fromkeys(made())]
                (GOLDEN / name).write_text(HEADER + "".join(rows))
        finally:
            switch.stop()


if __name__ == "__main__":
    sys.exit(main())
