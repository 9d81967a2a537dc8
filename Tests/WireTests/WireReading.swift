import Wire

/// The formats of golden packets and of the fuzzer. Those with a checksum over addresses are read from the IP header on.
enum WireFormat: String, CaseIterable, Sendable {
    case ipv4, ipv6, ipv6Fragment, udp, vxlan, gre, geneve, arp, discovery, fragmentationNeeded, packetTooBig
}

/// What one of Wire's parsers makes of some bytes.
enum WireReading: Equatable {
    case refused(HeaderFault)
    /// What was read, as golden rows say it; and what is written of it, nil where something is left out.
    case read(text: String, rewritten: [UInt8]?)

    /// Reads from memory that ends where the bytes end, so that AddressSanitizer sees a step beyond.
    init(_ format: WireFormat, _ bytes: [UInt8]) {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: bytes)
        var fault: HeaderFault?
        let reading = Self.read(format, UnsafeRawBufferPointer(memory), &fault)
        precondition((reading == nil) == (fault != nil), "refused without a reason, or read with one")
        self = reading ?? .refused(fault!)
    }

    private static func read(
        _ format: WireFormat,
        _ bytes: UnsafeRawBufferPointer,
        _ fault: inout HeaderFault?
    ) -> WireReading? {
        switch format {
        case .ipv4: IPv4Header(bytes, length: bytes.count, fault: &fault).map { .ipv4($0, bytes) }
        case .ipv6: IPv6Header(bytes, length: bytes.count, fault: &fault).map { .ipv6($0, bytes) }
        case .ipv6Fragment: IPv6Fragment(bytes, fault: &fault).map(WireReading.ipv6Fragment)
        case .udp: IPPacket(bytes, &fault).flatMap { .udp($0, &fault) }
        case .vxlan: VXLAN(bytes, fault: &fault).map(WireReading.vxlan)
        case .gre: GRE(bytes, fault: &fault).flatMap { .gre($0, bytes, &fault) }
        case .geneve: geneve(bytes, &fault)
        case .arp: ARP(bytes, fault: &fault).map(WireReading.arp)
        case .discovery: IPPacket(bytes, &fault).flatMap { .discovery($0, &fault) }
        case .fragmentationNeeded: IPPacket(bytes, &fault).flatMap { .fragmentationNeeded($0, &fault) }
        case .packetTooBig: IPPacket(bytes, &fault).flatMap { .packetTooBig($0, &fault) }
        }
    }

    // MARK: - IP and UDP

    private static func ipv4(_ header: IPv4Header, _ bytes: UnsafeRawBufferPointer) -> WireReading {
        let fields: Fields = [
            ("tos", UInt128(header.tos)), ("length", UInt128(header.totalLength)),
            ("identification", UInt128(header.identification)), ("fragment", UInt128(header.fragment)),
            ("ttl", UInt128(header.ttl)), ("protocol", UInt128(header.protocolNumber)),
            ("source", UInt128(header.source.value)), ("destination", UInt128(header.destination.value)),
            ("header", UInt128(header.headerLength)),
        ]
        let isWritten = header.headerLength == IPv4Header.length
        let packet = IPPacket(ipv4: header, bytes)
        return .read(text: text(fields), rewritten: isWritten ? packet.header + Array(packet.payload) : nil)
    }

    private static func ipv6(_ header: IPv6Header, _ bytes: UnsafeRawBufferPointer) -> WireReading {
        let fields: Fields = [
            ("tc", UInt128(header.trafficClass)), ("label", UInt128(header.flowLabel)),
            ("length", UInt128(header.payloadLength)), ("next", UInt128(header.nextHeader)),
            ("hop", UInt128(header.hopLimit)), ("source", header.source.value),
            ("destination", header.destination.value),
        ]
        let packet = IPPacket(ipv6: header, bytes)
        return .read(text: text(fields), rewritten: packet.header + Array(packet.payload))
    }

    private static func ipv6Fragment(_ header: IPv6Fragment) -> WireReading {
        let fields: Fields = [
            ("next", UInt128(header.nextHeader)), ("offset", UInt128(header.offset)),
            ("more", UInt128(header.hasMore ? 1 : 0)), ("identification", UInt128(header.identification)),
        ]
        return .read(text: text(fields), rewritten: written(IPv6Fragment.length, header.write))
    }

    private static func udp(_ packet: IPPacket, _ fault: inout HeaderFault?) -> WireReading? {
        guard var udp = UDPHeader(packet.payload, length: packet.payload.count, fault: &fault) else { return nil }
        let length = Int(udp.datagramLength)
        let fields: Fields = [
            ("source", UInt128(udp.sourcePort)), ("destination", UInt128(udp.destinationPort)),
            ("length", UInt128(length)), ("checksum", UInt128(udp.checksum)),
        ]
        let payload = packet.payload[UDPHeader.length..<length]
        if udp.checksum != 0 {
            var received = packet.pseudoHeader(IPProtocol.udp, length: length)
            received.add(UnsafeRawBufferPointer(rebasing: packet.payload[..<length]))
            guard received.isRight else {
                fault = .checksum
                return nil
            }
            udp.checksum = 0
            var sent = packet.pseudoHeader(IPProtocol.udp, length: length)
            written(UDPHeader.length, udp.write).withUnsafeBytes { sent.add($0) }
            sent.add(UnsafeRawBufferPointer(rebasing: payload))
            udp.checksum = sent.udpValue
        }
        let datagram = written(UDPHeader.length, udp.write) + Array(payload)
        return .read(text: text(fields), rewritten: packet.header(payloadLength: datagram.count) + datagram)
    }

    // MARK: - Tunnels

    private static func vxlan(_ header: VXLAN) -> WireReading {
        .read(text: text([("vni", UInt128(header.vni.value))]), rewritten: written(VXLAN.length, header.write))
    }

    private static func gre(
        _ header: GRE,
        _ bytes: UnsafeRawBufferPointer,
        _ fault: inout HeaderFault?
    ) -> WireReading? {
        var fields: Fields = []
        if let key = header.key { fields.append(("key", UInt128(key))) }
        if let sequence = header.sequence { fields.append(("sequence", UInt128(sequence))) }
        var rewritten = written(header.length, header.write)
        if header.hasChecksum {
            var received = InternetChecksum()
            received.add(bytes)
            guard received.isRight else {
                fault = .checksum
                return nil
            }
            fields.append(("payload", UInt128(bytes.count - header.length)))
            rewritten += bytes[header.length...]
            var sent = InternetChecksum()
            rewritten.withUnsafeBytes { sent.add($0) }
            rewritten[GRE.checksumOffset] = UInt8(sent.value >> 8)
            rewritten[GRE.checksumOffset + 1] = UInt8(sent.value & 0xff)
        }
        return .read(text: text(fields), rewritten: rewritten)
    }

    /// Knows one critical option.
    private static func geneve(_ bytes: UnsafeRawBufferPointer, _ fault: inout HeaderFault?) -> WireReading? {
        let known = [GeneveOption.Kind(optionClass: 0x0102, type: 0x80)]
        guard let header = known.withUnsafeBufferPointer({ Geneve(bytes, known: $0, fault: &fault) })
        else { return nil }
        var fields: Fields = [("vni", UInt128(header.vni.value))]
        var rewritten = written(Geneve.baseLength, header.write)
        var options = GeneveOptions(UnsafeRawBufferPointer(rebasing: bytes[Geneve.baseLength..<header.length]))
        while let option = options.next() {
            let kind = UInt32(option.kind.optionClass) << 8 | UInt32(option.kind.type)
            let name = "o" + String(0x100_0000 | kind, radix: 16).dropFirst()
            // As much of the value as is printed.
            fields.append((name, option.value.prefix(8).reduce(0) { $0 << 8 | UInt128($1) }))
            rewritten += written(option.length, option.write)
        }
        return .read(text: text(fields), rewritten: rewritten)
    }

    // MARK: - Neighbours and errors

    private static func arp(_ packet: ARP) -> WireReading {
        let fields: Fields = [
            ("operation", UInt128(packet.operation.rawValue)), ("sha", UInt128(packet.senderMACAddress.value)),
            ("spa", UInt128(packet.senderAddress.value)), ("tha", UInt128(packet.targetMACAddress.value)),
            ("tpa", UInt128(packet.targetAddress.value)),
        ]
        return .read(text: text(fields), rewritten: written(ARP.length, packet.write))
    }

    private static func discovery(_ packet: IPPacket, _ fault: inout HeaderFault?) -> WireReading? {
        guard let header = packet.ipv6(&fault),
            let message = NeighborDiscovery(packet.payload, in: header, fault: &fault)
        else { return nil }
        var fields: Fields = [("kind", UInt128(message.kind.rawValue)), ("target", message.target.value)]
        if let address = message.linkLayerAddress { fields.append(("link", UInt128(address.value))) }
        if message.kind == .advertisement {
            let flags = [("r", message.isRouter), ("s", message.isSolicited), ("o", message.overrides)]
            fields += flags.map { ($0, $1 ? 1 : 0) }
        }
        let rewritten = written(message.length) {
            message.write(to: $0, source: header.source, destination: header.destination)
        }
        return .read(text: text(fields), rewritten: packet.header(payloadLength: rewritten.count) + rewritten)
    }

    private static func fragmentationNeeded(_ packet: IPPacket, _ fault: inout HeaderFault?) -> WireReading? {
        guard let message = FragmentationNeeded(packet.payload, fault: &fault) else { return nil }
        let fields: Fields = [
            ("mtu", UInt128(message.mtu)), ("source", UInt128(message.source.value)),
            ("destination", UInt128(message.destination.value)), ("protocol", UInt128(message.protocolNumber)),
            ("word", UInt128(message.firstWord)),
        ]
        let quoted = UnsafeRawBufferPointer(rebasing: packet.payload[8...])
        var length = 0
        let space = written(min(8 + quoted.count, ICMPError.greatestLength4)) {
            length = FragmentationNeeded.message(mtu: message.mtu).write(quoting: quoted, to: $0)
        }
        precondition(length == space.count)
        return .read(text: text(fields), rewritten: packet.header(payloadLength: length) + space)
    }

    private static func packetTooBig(_ packet: IPPacket, _ fault: inout HeaderFault?) -> WireReading? {
        guard let header = packet.ipv6(&fault), let message = PacketTooBig(packet.payload, in: header, fault: &fault)
        else { return nil }
        let fields: Fields = [
            ("mtu", UInt128(message.mtu)), ("source", message.source.value),
            ("destination", message.destination.value), ("next", UInt128(message.nextHeader)),
            ("word", UInt128(message.firstWord)),
        ]
        let quoted = UnsafeRawBufferPointer(rebasing: packet.payload[8...])
        var length = 0
        let (source, destination) = (header.source, header.destination)
        let space = written(min(8 + quoted.count, ICMPError.greatestLength6)) {
            let error = PacketTooBig.message(mtu: message.mtu)
            length = error.write(quoting: quoted, source: source, destination: destination, to: $0)
        }
        precondition(length == space.count)
        return .read(text: text(fields), rewritten: packet.header(payloadLength: length) + space)
    }

    // MARK: - Text and bytes

    private typealias Fields = [(name: String, value: UInt128)]

    private static func text(_ fields: Fields) -> String {
        fields.map { "\($0.name)=\(String($0.value, radix: 16))" }.joined(separator: " ")
    }
}

/// What `write` leaves in memory of `length` bytes; an octet that it does not write shows as 0xa5.
func written(_ length: Int, _ write: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 1)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0xa5)
    write(memory.baseAddress!)
    return Array(memory)
}

/// A packet of either version of IP.
private struct IPPacket {
    private enum Version {
        case ipv4(IPv4Header)
        case ipv6(IPv6Header)
    }

    private let version: Version
    let payload: UnsafeRawBufferPointer

    init(ipv4 header: IPv4Header, _ bytes: UnsafeRawBufferPointer) {
        version = .ipv4(header)
        payload = UnsafeRawBufferPointer(rebasing: bytes[header.headerLength..<Int(header.totalLength)])
    }

    init(ipv6 header: IPv6Header, _ bytes: UnsafeRawBufferPointer) {
        version = .ipv6(header)
        let end = IPv6Header.length + Int(header.payloadLength)
        payload = UnsafeRawBufferPointer(rebasing: bytes[IPv6Header.length..<end])
    }

    init?(_ bytes: UnsafeRawBufferPointer, _ fault: inout HeaderFault?) {
        if bytes.first.map({ $0 >> 4 }) == 6 {
            guard let header = IPv6Header(bytes, length: bytes.count, fault: &fault) else { return nil }
            self.init(ipv6: header, bytes)
        } else {
            guard let header = IPv4Header(bytes, length: bytes.count, fault: &fault) else { return nil }
            self.init(ipv4: header, bytes)
        }
    }

    func ipv6(_ fault: inout HeaderFault?) -> IPv6Header? {
        if case .ipv6(let header) = version { return header }
        fault = .version
        return nil
    }

    /// The header alone, written without options.
    var header: [UInt8] { header(payloadLength: payload.count) }

    func header(payloadLength: Int) -> [UInt8] {
        switch version {
        case .ipv4(var header):
            header.totalLength = UInt16(IPv4Header.length + payloadLength)
            return written(IPv4Header.length, header.write)
        case .ipv6(var header):
            header.payloadLength = UInt16(payloadLength)
            return written(IPv6Header.length, header.write)
        }
    }

    func pseudoHeader(_ number: UInt8, length: Int) -> InternetChecksum {
        switch version {
        case .ipv4(let header):
            InternetChecksum(source: header.source, destination: header.destination, protocol: number, length: length)
        case .ipv6(let header):
            InternetChecksum(source: header.source, destination: header.destination, protocol: number, length: length)
        }
    }
}
