import Wire

/// A header or message of any bytes, read by the parser that the first octet names. What is read can be written, and reads
/// the same again. `WireReading` lends each parser memory that ends where the bytes end.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzWire(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeBufferPointer(start: bytes, count: count)
    guard let first = input.first else { return 0 }
    let format = WireFormat.allCases[Int(first & 0x7f) % WireFormat.allCases.count]
    var packet = Array(input.dropFirst())
    if first & 0x80 != 0 { mend(&packet, format) }
    guard case .read(let text, let rewritten?) = WireReading(format, packet) else { return 0 }
    precondition(WireReading(format, rewritten) == .read(text: text, rewritten: rewritten), "reads otherwise: \(text)")
    return 0
}

/// Makes right what chance seldom does, so that what lies behind it is read too: lengths and checksums.
private func mend(_ packet: inout [UInt8], _ format: WireFormat) {
    switch format {
    case .ipv4, .udp: mendIPv4(&packet)
    case .fragmentationNeeded:
        guard packet.count >= 28 else { return }
        packet[0] = 0x45
        packet[20...23] = [3, 4, 0, 0]
        put(packet.dropFirst(20).checksum(InternetChecksum()), &packet, at: 22)
        mendIPv4(&packet)
    case .discovery: mendICMPv6(&packet, type: packet.first.map { $0 & 1 == 0 ? 135 : 136 } ?? 0)
    case .packetTooBig: mendICMPv6(&packet, type: 2)
    case .gre:
        guard packet.count >= 8, packet[0] & 0x80 != 0 else { return }
        packet[4...5] = [0, 0]
        put(packet[...].checksum(InternetChecksum()), &packet, at: 4)
    case .ipv6, .ipv6Fragment, .vxlan, .geneve, .arp: break
    }
}

private func mendIPv4(_ packet: inout [UInt8]) {
    guard let first = packet.first else { return }
    let headerLength = Int(first & 0xf) * 4
    guard headerLength >= 20, packet.count >= headerLength else { return }
    packet[0] = 0x40 | first & 0xf
    put(UInt16(truncatingIfNeeded: packet.count), &packet, at: 2)
    packet[10...11] = [0, 0]
    put(packet[..<headerLength].checksum(InternetChecksum()), &packet, at: 10)
}

private func mendICMPv6(_ packet: inout [UInt8], type: UInt8) {
    guard packet.count >= 44 else { return }
    let length = packet.count - 40
    packet[0] = 0x60
    put(UInt16(truncatingIfNeeded: length), &packet, at: 4)
    packet[6...7] = [IPProtocol.icmpv6, NeighborDiscovery.hopLimit]
    packet[40...43] = [type, 0, 0, 0]
    let pseudoHeader = InternetChecksum(
        source: IPv6Address(value: packet[8..<24].number),
        destination: IPv6Address(value: packet[24..<40].number),
        protocol: IPProtocol.icmpv6,
        length: length
    )
    put(packet[40...].checksum(pseudoHeader), &packet, at: 42)
}

private func put(_ value: UInt16, _ packet: inout [UInt8], at place: Int) {
    packet[place...place + 1] = [UInt8(value >> 8), UInt8(value & 0xff)]
}

extension ArraySlice<UInt8> {
    fileprivate var number: UInt128 { reduce(0) { $0 << 8 | UInt128($1) } }

    fileprivate func checksum(_ begun: InternetChecksum) -> UInt16 {
        var checksum = begun
        withUnsafeBytes { checksum.add($0) }
        return checksum.value
    }
}
