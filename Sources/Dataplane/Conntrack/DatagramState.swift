/// A connection of UDP, or of any protocol whose packets say nothing of its state.
enum DatagramState: UInt8 {
    /// One packet.
    case first
    /// Several, none of them an answer.
    case single
    case bidirectional

    /// That of a connection's first packet.
    @inline(__always) var timeout: TrackTimeout {
        switch self {
        case .first: .udpFirst
        case .single: .udpSingle
        case .bidirectional: .udpMultiple
        }
    }

    /// Takes another packet.
    @inline(__always)
    mutating func update(isReply: Bool) -> TrackResult {
        if isReply {
            self = .bidirectional
        } else if self == .first {
            self = .single
        }
        return (self == .bidirectional ? .valid : .validNew, timeout)
    }
}

/// A connection of ICMP: a question, and its answers.
enum ICMPState: UInt8 {
    case first, reply

    @inline(__always) var timeout: TrackTimeout { self == .first ? .icmpFirst : .icmpReply }

    /// That of a first packet; nil for an answer to what nobody asked.
    @inline(__always)
    static func begin(_ tuple: ConnectionTuple) -> ICMPState? {
        ICMPQuery.isQuestion(tuple.destinationPort, isIPv6: tuple.isIPv6) ? .first : nil
    }

    /// Takes another packet.
    @inline(__always)
    mutating func update(isReply: Bool) -> TrackResult {
        if isReply { self = .reply }
        return (self == .reply ? .valid : .validNew, timeout)
    }
}
