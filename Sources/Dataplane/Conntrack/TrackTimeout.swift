/// What a connection waits for when nothing more comes: the reason of its end (ovs-vswitchd.conf.db(5), 'CT_Timeout_Policy').
enum TrackTimeout: UInt8, CaseIterable {
    case tcpSynSent, tcpSynReceived, tcpEstablished, tcpFinWait, tcpTimeWait, tcpClose
    /// UDP, and all protocols that have no timeouts of their own.
    case udpFirst, udpSingle, udpMultiple
    case icmpFirst, icmpReply

    /// As ovs-vswitchd.conf.db(5) has it.
    var name: String {
        switch self {
        case .tcpSynSent: "tcp_syn_sent"
        case .tcpSynReceived: "tcp_syn_recv"
        case .tcpEstablished: "tcp_established"
        case .tcpFinWait: "tcp_fin_wait"
        case .tcpTimeWait: "tcp_time_wait"
        case .tcpClose: "tcp_close"
        case .udpFirst: "udp_first"
        case .udpSingle: "udp_single"
        case .udpMultiple: "udp_multiple"
        case .icmpFirst: "icmp_first"
        case .icmpReply: "icmp_reply"
        }
    }

    /// Those of Open vSwitch's userspace datapath.
    var defaultSeconds: UInt32 {
        switch self {
        case .tcpSynSent, .tcpSynReceived, .tcpClose: 30
        case .tcpEstablished: 24 * 60 * 60
        case .tcpFinWait: 15 * 60
        case .tcpTimeWait: 45
        case .udpFirst, .udpSingle, .icmpFirst: 60
        case .udpMultiple, .icmpReply: 30
        }
    }
}
