/// The words that start an action; each is a case that `ActionParser.action` must read.
enum ActionWord: String, CaseIterable, Sendable {
    case output, group, meter, enqueue
    case setQueue = "set_queue"
    case popQueue = "pop_queue"
    case drop
    case modVLANID = "mod_vlan_vid"
    case setVLANID = "set_vlan_vid"
    case modVLANPriority = "mod_vlan_pcp"
    case setVLANPriority = "set_vlan_pcp"
    case stripVLAN = "strip_vlan"
    case popVLAN = "pop_vlan"
    case pushVLAN = "push_vlan"
    case modEthernetSource = "mod_dl_src"
    case modEthernetDestination = "mod_dl_dst"
    case modIPSource = "mod_nw_src"
    case modIPDestination = "mod_nw_dst"
    case modTOS = "mod_nw_tos"
    case modECN = "mod_nw_ecn"
    case modTTL = "mod_nw_ttl"
    case setTTL = "set_nw_ttl"
    case modTransportSource = "mod_tp_src"
    case modTransportDestination = "mod_tp_dst"
    case decrementTTL = "dec_ttl"
    case setField = "set_field"
    case load, move, push, pop
    case setTunnel = "set_tunnel"
    case setTunnel64 = "set_tunnel64"
    case checkPacketLarger = "check_pkt_larger"
    case resubmit
    case gotoTable = "goto_table"
    case writeMetadata = "write_metadata"
    case writeActions = "write_actions"
    case clearActions = "clear_actions"
    case clone, exit
    case conntrack = "ct"
    case conntrackClear = "ct_clear"
    case learn, conjunction
    case finTimeout = "fin_timeout"
    case note, reject

    static let keywords = Keywords(allCases.map { ($0.rawValue, $0) }, foldsCase: true)

    /// Actions that Open vSwitch has and Martlet has not, and why.
    static let refused: [(word: String, reason: String)] = [
        ("controller", "there is no OpenFlow controller"),
        ("multipath", "a select group does it"),
        ("bundle", "a select group does it"),
        ("bundle_load", "a select group does it"),
        ("sample", "there is no IPFIX exporter"),
        ("nat", "it is only allowed within ct(...)"),
        ("apply_actions", "it is the default and has no word"),
        ("encap", "packets are Ethernet throughout"),
        ("decap", "packets are Ethernet throughout"),
        ("dec_nsh_ttl", "there is no NSH"),
        ("push_mpls", "there is no MPLS"),
        ("pop_mpls", "there is no MPLS"),
        ("set_mpls_label", "there is no MPLS"),
        ("set_mpls_tc", "there is no MPLS"),
        ("set_mpls_ttl", "there is no MPLS"),
        ("dec_mpls_ttl", "there is no MPLS"),
        ("delete_field", "there are no tunnel options"),
        ("debug_recirc", "it is Open vSwitch's own"),
        ("debug_slow", "it is Open vSwitch's own"),
    ]

    static let refusedKeywords = Keywords(refused.map { ($0.word, $0.reason) }, foldsCase: true)
}
