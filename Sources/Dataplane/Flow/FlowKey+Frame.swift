import Flows
import Wire

extension FlowKey {
    /// What a frame is for the flow tables: every field that its headers give, the rest zero.
    ///
    /// Reads what Open vSwitch reads, and stops where it stops: a header that is cut short or that contradicts itself
    /// leaves its fields zero, and the frame is still one of the layers before it. Two VLAN tags are read, also where
    /// Open vSwitch's `vlan-limit` reads one.
    ///
    /// - Parameters:
    ///   - bytes: the frame's first segment.
    ///   - length: the whole frame's length in bytes, at least that of the segment.
    ///   - layout: gets where the headers lie whose fields were read.
    /// - Returns: nil when a header that the frame has does not lie within the first segment.
    init?(frame bytes: UnsafeRawBufferPointer, length: Int, layout: inout FrameLayout) {
        self.init()
        var reader = HeaderReader(bytes, length: length)
        readEthernet(&reader, &layout)
        if reader.isScattered { return nil }
    }

    // MARK: - Ethernet

    private mutating func readEthernet(_ reader: inout HeaderReader, _ layout: inout FrameLayout) {
        guard let header = reader.pull(12) else { return }
        self[1] = header.number48(at: 0) << 16
        self[2] = header.number48(at: 6) << 16
        let outer = Self.readTag(&reader, &layout.tagTypes.outer)
        let inner = outer == 0 ? 0 : Self.readTag(&reader, &layout.tagTypes.inner)
        let type = Self.readType(&reader)
        self[0] = UInt64(type) << 16 | UInt64(outer)
        self[1] |= UInt64(inner)
        switch type {
        case EtherType.ipv4: readIPv4(&reader, &layout)
        case EtherType.ipv6: readIPv6(&reader, &layout)
        case EtherType.arp, EtherType.rarp: readARP(&reader, &layout)
        default: break
        }
    }

    /// The control information of a VLAN tag with `vlanPresent` set; 0 when there is none, or nothing behind it.
    private static func readTag(_ reader: inout HeaderReader, _ tagType: inout UInt16) -> UInt16 {
        guard let tag = reader.peek(6) else { return 0 }
        let type = tag.number16(at: 0)
        guard type == TPID.customer.rawValue || type == TPID.service.rawValue else { return 0 }
        _ = reader.pull(4)
        tagType = type
        return tag.number16(at: 2) | vlanPresent
    }

    /// The frame's type. A length is none, unless a SNAP header with one follows (IEEE Std 802-2014 clause 9.5).
    private static func readType(_ reader: inout HeaderReader) -> UInt16 {
        guard let field = reader.pull(2) else { return 0 }
        let type = field.number16(at: 0)
        if type >= EtherType.least { return type }
        guard let header = reader.peek(8), header.number32(at: 0) == 0xaaaa_0300, header.number16(at: 4) == 0 else {
            return EtherType.none
        }
        _ = reader.pull(8)
        let inner = header.number16(at: 6)
        return inner >= EtherType.least ? inner : EtherType.none
    }

    // MARK: - ARP

    /// RFC 826, for IPv4 over Ethernet only.
    private mutating func readARP(_ reader: inout HeaderReader, _ layout: inout FrameLayout) {
        guard let header = reader.peek(28), header.number32(at: 0) == 0x0001_0800, header.number16(at: 4) == 0x0604
        else { return }
        layout.network = reader.offset
        layout.kind = .arp
        let operation = header.number16(at: 6)
        self[2] |= operation <= 0xff ? UInt64(operation) << 8 : 0
        self[3] = UInt64(header.number32(at: 14)) << 32 | UInt64(header.number32(at: 24))
        self[25] = header.number48(at: 8) << 16
        self[26] = header.number48(at: 18) << 16
    }

    // MARK: - IP

    /// RFC 791 section 3.1.
    private mutating func readIPv4(_ reader: inout HeaderReader, _ layout: inout FrameLayout) {
        let start = reader.offset
        guard let header = reader.peek(20) else { return }
        let headerLength = Int(header.number8(at: 0) & 0xf) * 4
        let totalLength = Int(header.number16(at: 2))
        guard headerLength >= 20, totalLength >= headerLength, reader.limit(to: totalLength),
            reader.pull(headerLength) != nil
        else { return }
        layout.network = start
        layout.kind = .ipv4
        let fragment = header.number16(at: 6) & 0x3fff
        let isLater = fragment & 0x1fff != 0
        let kind = fragment == 0 ? 0 : isLater ? FragmentKind.later : FragmentKind.first
        if kind != 0 { layout.fragment = reader.offset }
        self[3] = UInt64(header.number32(at: 12)) << 32 | UInt64(header.number32(at: 16))
        setNetwork(protocol: header.number8(at: 9), kind, tos: header.number8(at: 1), ttl: header.number8(at: 8))
        if !isLater { readTransport(header.number8(at: 9), &reader, &layout) }
    }

    /// RFC 8200 section 3.
    private mutating func readIPv6(_ reader: inout HeaderReader, _ layout: inout FrameLayout) {
        let start = reader.offset
        guard let header = reader.peek(40) else { return }
        guard reader.limit(to: 40 + Int(header.number16(at: 4))), reader.pull(40) != nil else { return }
        for word in 0..<4 { self[19 + word] = header.number64(at: 8 + 8 * word) }
        var next = header.number8(at: 6)
        var kind: UInt8 = 0
        guard Self.skipExtensions(&reader, next: &next, fragment: &kind, &layout) else { return }
        layout.network = start
        layout.kind = .ipv6
        let first = header.number32(at: 0)
        self[18] = UInt64(first & 0xf_ffff)
        setNetwork(protocol: next, kind, tos: UInt8(truncatingIfNeeded: first >> 20), ttl: header.number8(at: 7))
        if kind != FragmentKind.later { readTransport(next, &reader, &layout) }
    }

    private mutating func setNetwork(protocol number: UInt8, _ fragment: UInt8, tos: UInt8, ttl: UInt8) {
        self[2] |= UInt64(number) << 8 | UInt64(fragment)
        self[4] = UInt64(tos) << 8 | UInt64(ttl)
    }

    /// Goes behind the extension headers that Open vSwitch knows (RFC 8200 section 4, RFC 4302 section 2).
    /// - Returns: false when one of them is cut short.
    static func skipExtensions(
        _ reader: inout HeaderReader,
        next: inout UInt8,
        fragment: inout UInt8,
        _ layout: inout FrameLayout
    ) -> Bool {
        while true {
            switch next {
            case IPProtocol.hopByHop, IPProtocol.routing, IPProtocol.destinationOptions:
                guard let header = reader.peek(8) else { return false }
                if next == IPProtocol.routing && header.number8(at: 3) != 0 { layout.hasSegmentsLeft = true }
                next = header.number8(at: 0)
                guard reader.pull((Int(header.number8(at: 1)) + 1) * 8) != nil else { return false }
            case IPProtocol.authentication:
                guard let header = reader.peek(8) else { return false }
                next = header.number8(at: 0)
                guard reader.pull((Int(header.number8(at: 1)) + 2) * 4) != nil else { return false }
            case IPProtocol.fragment:
                guard let header = reader.pull(8) else { return false }
                next = header.number8(at: 0)
                // Offset and the more-fragments flag; the two bits between are reserved.
                let place = header.number16(at: 2)
                guard place != 0 else { continue }
                layout.fragment = reader.offset
                fragment = FragmentKind.first
                guard place & 0xfff8 != 0 else { continue }
                fragment = FragmentKind.later
                next = IPProtocol.fragment
                return true
            default: return true
            }
        }
    }

    // MARK: - Transport

    private mutating func readTransport(
        _ number: UInt8,
        _ reader: inout HeaderReader,
        _ layout: inout FrameLayout
    ) {
        let start = reader.offset
        switch number {
        case IPProtocol.tcp:
            guard let header = reader.peek(20) else { return }
            let headerLength = Int(header.number8(at: 12) >> 4) * 4
            guard headerLength >= 20, reader.peek(headerLength) != nil else { return }
            setPorts(header.number16(at: 0), header.number16(at: 2))
            self[4] |= UInt64(header.number16(at: 12) & 0x0fff) << 16
        case IPProtocol.udp:
            guard let header = reader.peek(8) else { return }
            setPorts(header.number16(at: 0), header.number16(at: 2))
        case IPProtocol.sctp:
            guard let header = reader.peek(12) else { return }
            setPorts(header.number16(at: 0), header.number16(at: 2))
        case IPProtocol.icmp, IPProtocol.icmpv6:
            guard let header = reader.pull(8) else { return }
            setPorts(UInt16(header.number8(at: 0)), UInt16(header.number8(at: 1)))
            if number == IPProtocol.icmpv6 {
                readNeighbourDiscovery(header, &reader, &layout)
            }
        default: return
        }
        layout.transport = start
    }

    private mutating func setPorts(_ source: UInt16, _ destination: UInt16) {
        self[4] |= UInt64(source) << 48 | UInt64(destination) << 32
    }

    /// Flags, target and link-layer addresses of a solicitation or advertisement (RFC 4861 sections 4.3, 4.4 and 4.6.1).
    /// An option that is cut short is the last one that is read; an address given twice makes all of them void.
    private mutating func readNeighbourDiscovery(
        _ header: HeaderBytes,
        _ reader: inout HeaderReader,
        _ layout: inout FrameLayout
    ) {
        let message = header.number8(at: 0)
        guard message == 135 || message == 136, header.number8(at: 1) == 0 else { return }
        self[3] = UInt64(header.number32(at: 4)) << 32
        guard let target = reader.pull(16) else { return }
        var (source, destination): (UInt64, UInt64) = (0, 0)
        var (first, type) = (0, UInt8(0))
        while let option = reader.peek(8) {
            let place = reader.offset
            let length = Int(option.number8(at: 1)) * 8
            guard length > 0, reader.pull(length) != nil else { break }
            switch (option.number8(at: 0), length) {
            case (1, 8):
                guard source == 0 else { return }
                source = option.number48(at: 2)
            case (2, 8):
                guard destination == 0 else { return }
                destination = option.number48(at: 2)
            default: continue
            }
            // Of one type and address zero there may be several: the last one's address is read.
            guard first == 0 || type == option.number8(at: 0) else { continue }
            (first, type) = (place, option.number8(at: 0))
            self[4] |= UInt64(type) << 16
        }
        self[23] = target.number64(at: 0)
        self[24] = target.number64(at: 8)
        self[25] = source << 16
        self[26] = destination << 16
        layout.hasTarget = true
        layout.linkOption = first
    }
}

/// Where a frame's headers lie, as offsets from its start; 0 where there is none that was read.
struct FrameLayout {
    enum Kind { case other, arp, ipv4, ipv6 }

    var kind = Kind.other
    /// TPIDs of the two tags that were read; what an action pushes without one where there is none.
    var tagTypes = (outer: TPID.customer.rawValue, inner: TPID.customer.rawValue)
    var network = 0
    var transport = 0
    /// Of a fragment, the part of the datagram: behind IPv4's header, or IPv6's fragment header.
    var fragment = 0
    /// An IPv6 routing header that names further nodes: the packet's destination is the last of them (RFC 8200 section 4.4).
    var hasSegmentsLeft = false
    /// A neighbour discovery message with a target, and its first option that has a link-layer address.
    var hasTarget = false
    var linkOption = 0

    /// Which of the two tags are service tags: the outer one in the highest bit, the inner one in the next.
    var tagTypeBits: UInt64 {
        (tagTypes.outer == TPID.service.rawValue ? 1 << 63 : 0)
            | (tagTypes.inner == TPID.service.rawValue ? 1 << 62 : 0)
    }

    /// As a mask of word 18: no flow key has it, but a cache's does.
    static var tagTypeMask: UInt64 { 3 << 62 }

    /// The headers behind the addresses lie elsewhere now.
    mutating func move(by distance: Int) {
        if network != 0 { network += distance }
        if transport != 0 { transport += distance }
        if fragment != 0 { fragment += distance }
        if linkOption != 0 { linkOption += distance }
    }
}

extension EtherType {
    /// What flows call a frame without a type (ovs-fields(7), 'Ethernet Type').
    static var none: UInt16 { 0x05ff }
}

/// Values of ip_frag (ovs-fields(7), 'IP Fragment'): bit 0 any fragment, bit 1 not the first.
enum FragmentKind {
    static let first: UInt8 = 1
    static let later: UInt8 = 3
}
