import Wire

extension SecurityGroupDocument.Rule {
    /// What it allows, in the words of flows: one match, or one for each block of ports.
    ///
    /// None for ports of a protocol whose ports no flow can match (DCCP, UDP-Lite): what cannot be told apart is not allowed.
    var matches: [String] { whats.map { $0 + other } }

    private var whats: [String] {
        guard let ports else { return [word] }
        switch (family, protocolNumber) {
        case (.ipv4, 1), (.ipv6, 58):
            return [word + ports.words("icmp_type", ports.least) + ports.words("icmp_code", ports.greatest)]
        case (_, 6), (_, 17), (_, 132):
            return PortBlock.blocks(of: UInt16(ports.least ?? 0)...UInt16(ports.greatest ?? 0xffff))
                .map { block in word + block.words }
        default: return []
        }
    }

    private var word: String {
        let isIPv4 = family == .ipv4
        return switch protocolNumber {
        case nil: isIPv4 ? "ip" : "ipv6"
        case 1? where isIPv4: "icmp"
        case 58? where !isIPv4: "icmp6"
        case 6?: isIPv4 ? "tcp" : "tcp6"
        case 17?: isIPv4 ? "udp" : "udp6"
        case 132?: isIPv4 ? "sctp" : "sctp6"
        case let number?: (isIPv4 ? "ip" : "ipv6") + ",nw_proto=\(number)"
        }
    }

    /// The other side: the source of what comes in, the destination of what goes out.
    private var other: String {
        let field = (family == .ipv4 ? "nw_" : "ipv6_") + (direction == .ingress ? "src" : "dst")
        switch remote {
        case nil: return ""
        case .prefix(let prefix): return prefix.length == 0 ? "" : ",\(field)=\(prefix.words)"
        case .group(let id): return ",\(field)=$\(NetworkState.addressSet(of: id))"
        }
    }
}

extension SecurityGroupDocument.Ports {
    fileprivate func words(_ field: String, _ value: Int?) -> String { value.map { ",\(field)=\($0)" } ?? "" }
}

/// A power of two of ports, the first of which is a multiple of it.
struct PortBlock: Hashable {
    let first: UInt16
    let mask: UInt16

    /// The fewest that have each port of a range once.
    static func blocks(of ports: ClosedRange<UInt16>) -> [PortBlock] {
        var blocks: [PortBlock] = []
        var next = UInt32(ports.lowerBound)
        let end = UInt32(ports.upperBound) + 1
        while next < end {
            // As large as its place and what is left allow.
            let count = UInt32(1) << min(next.trailingZeroBitCount, 31 - (end - next).leadingZeroBitCount, 16)
            blocks.append(PortBlock(first: UInt16(next), mask: UInt16(truncatingIfNeeded: ~(count - 1))))
            next += count
        }
        return blocks
    }

    fileprivate var words: String {
        switch mask {
        case 0: ""
        case 0xffff: ",tp_dst=\(first)"
        default: ",tp_dst=\(hex(UInt32(first)))/\(hex(UInt32(mask)))"
        }
    }
}
