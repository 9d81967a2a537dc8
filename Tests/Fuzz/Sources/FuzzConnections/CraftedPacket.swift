import Wire

/// A packet between the ends of conversations, whose checksums are right.
struct CraftedPacket {
    let isIPv6: Bool
    /// Ends: 0 and 1 are behind ports 1 and 2, the others behind whatever port they come from.
    let from: Int
    let to: Int
    let number: UInt8
    /// What follows the network header; its checksum counts as zero.
    var content: [UInt8]

    var frame: Frame { Frame(bytes) }

    var bytes: [UInt8] {
        let ethernet = EthernetHeader(
            destination: Self.station(to),
            source: Self.station(from),
            type: isIPv6 ? EtherType.ipv6 : EtherType.ipv4
        )
        return [UInt8](count: ethernet.length) { ethernet.write(to: $0) } + packet
    }

    /// Without its Ethernet header: what errors quote.
    var packet: [UInt8] { header + checked }

    private var header: [UInt8] {
        if isIPv6 {
            let header = IPv6Header(
                source: Self.address6(from),
                destination: Self.address6(to),
                nextHeader: number,
                payloadLength: content.count
            )
            return [UInt8](count: IPv6Header.length) { header.write(to: $0) }
        }
        let header = IPv4Header(
            source: Self.address(from),
            destination: Self.address(to),
            protocol: number,
            payloadLength: content.count
        )
        return [UInt8](count: IPv4Header.length) { header.write(to: $0) }
    }

    private var checked: [UInt8] {
        guard let place = checksumPlace, content.count >= place + 2 else { return content }
        var sum = pseudoHeader
        content.withUnsafeBytes { sum.add($0) }
        var checked = content
        checked.replaceSubrange(place..<place + 2, with: octets(UInt64(sum.udpValue), count: 2))
        return checked
    }

    private var checksumPlace: Int? {
        switch number {
        case IPProtocol.tcp: 16
        case IPProtocol.udp: 6
        case IPProtocol.icmp, IPProtocol.icmpv6: 2
        default: nil
        }
    }

    private var pseudoHeader: InternetChecksum {
        if number == IPProtocol.icmp { return InternetChecksum() }
        return isIPv6
            ? InternetChecksum(
                source: Self.address6(from),
                destination: Self.address6(to),
                protocol: number,
                length: content.count
            )
            : InternetChecksum(
                source: Self.address(from),
                destination: Self.address(to),
                protocol: number,
                length: content.count
            )
    }

    private static func station(_ end: Int) -> MACAddress { MACAddress(value: 0x02_00_00_00_00_01 + UInt64(end)) }
    private static func address(_ end: Int) -> IPv4Address { IPv4Address(value: 0x0a00_0001 + UInt32(end)) }
    private static func address6(_ end: Int) -> IPv6Address { IPv6Address(value: 0xfd << 120 | 1 + UInt128(end)) }

    // MARK: - Contents

    static func udp(_ source: UInt16, _ destination: UInt16) -> [UInt8] {
        octets(UInt64(source), count: 2) + octets(UInt64(destination), count: 2) + octets(8, count: 2) + [0, 0]
    }

    static func tcp(
        _ source: UInt16,
        _ destination: UInt16,
        flags: UInt8,
        sequence: UInt32,
        acknowledgment: UInt32,
        payload: [UInt8]
    ) -> [UInt8] {
        octets(UInt64(source), count: 2) + octets(UInt64(destination), count: 2) + octets(UInt64(sequence), count: 4)
            + octets(UInt64(acknowledgment), count: 4) + [0x50, flags] + octets(8192, count: 2) + [0, 0, 0, 0]
            + payload
    }
}
