/// What a connection waits for when nothing more comes: the reason of its end (ovs-vswitchd.conf.db(5), 'CT_Timeout_Policy').
enum TrackTimeout: UInt8, CaseIterable {
    case tcpSynSent, tcpSynReceived, tcpEstablished, tcpFinWait, tcpTimeWait, tcpClose
    /// UDP, and all protocols that have no timeouts of their own.
    case udpFirst, udpSingle, udpMultiple
    case icmpFirst, icmpReply

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
