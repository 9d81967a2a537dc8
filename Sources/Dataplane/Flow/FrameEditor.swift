import Flows
import Wire

/// Writes a flow key's fields into a frame, and brings its checksums along (RFC 1624, equation 3).
///
/// A field whose header the frame does not have is left alone: `FrameLayout` knows. SCTP's checksum is the
/// caller's to bring along, for it covers all segments (`SCTPChecksum`).
struct FrameEditor {
    private let frame: UnsafeMutableRawPointer
    private let layout: FrameLayout
    /// The checksum of the transport header, 0 when there is none; and whether it covers the addresses too.
    private let transportChecksum: Int
    private let coversAddresses: Bool

    /// - Parameters:
    ///   - frame: whose headers lie in one piece, as far as `layout` names them.
    ///   - number: the IP protocol behind the network header.
    init(_ frame: UnsafeMutableRawPointer, _ layout: FrameLayout, protocol number: UInt8) {
        self.frame = frame
        self.layout = layout
        coversAddresses = number != IPProtocol.icmp
        let place: Int? =
            switch number {
            case IPProtocol.tcp: 16
            case IPProtocol.udp: 6
            case IPProtocol.icmp, IPProtocol.icmpv6: 2
            default: nil
            }
        transportChecksum = layout.transport == 0 ? 0 : place.map { layout.transport + $0 } ?? 0
    }

    /// The bits `mask` of a key's word become those of `value`.
    func rewrite(word: Int, value: UInt64, mask: UInt64) {
        switch word {
        case 0: edit(14, value & 0xffff, mask & 0xffff)
        case 1: edit48(0, value, mask)
        case 2:
            edit48(6, value, mask)
            // ARP's operation has 16 bits, of which a key has the lower eight.
            if layout.kind == .arp && mask & 0xff00 != 0 { edit(layout.network + 6, value >> 8 & 0xff, 0xffff) }
        case 3: rewriteAddresses(value, mask)
        case 4: rewriteTransport(value, mask)
        case 18 where layout.kind == .ipv6:
            edit(layout.network, value >> 16 & 0xf, mask >> 16 & 0xf)
            edit(layout.network + 2, value & 0xffff, mask & 0xffff)
        case 19...20 where layout.kind == .ipv6:
            edit64(layout.network + 8 + 8 * (word - 19), value, mask, transport: coversAddresses)
        case 21...22 where layout.kind == .ipv6:
            // Checksums cover the last destination (RFC 8200 section 8.1).
            let isCovered = coversAddresses && !layout.hasSegmentsLeft
            edit64(layout.network + 8 + 8 * (word - 19), value, mask, transport: isCovered)
        case 23...24 where layout.hasTarget:
            edit64(layout.transport + 8 + 8 * (word - 23), value, mask, transport: true)
        case 25: rewriteLinkAddress(layout.network + 8, option: 1, value, mask)
        case 26: rewriteLinkAddress(layout.network + 18, option: 2, value, mask)
        default: break
        }
    }

    /// That of an ICMP query (RFC 792, RFC 4443 section 4).
    func rewriteIdentifier(_ identifier: UInt16) {
        guard layout.transport != 0, transportChecksum == layout.transport + 2 else { return }
        edit(layout.transport + 4, UInt64(identifier), 0xffff, transport: true)
    }

    private func rewriteAddresses(_ value: UInt64, _ mask: UInt64) {
        switch layout.kind {
        case .ipv4: edit64(layout.network + 12, value, mask, network: true, transport: coversAddresses)
        case .arp:
            edit32(layout.network + 14, value >> 32, mask >> 32)
            edit32(layout.network + 24, value & 0xffff_ffff, mask & 0xffff_ffff)
        case .ipv6 where layout.hasTarget: edit32(layout.transport + 4, value >> 32, mask >> 32, transport: true)
        case .ipv6, .other: break
        }
    }

    /// An ARP address, or that of a neighbour discovery option of a type: of the type that it has by now, so that an
    /// option whose type was written takes the other address.
    private func rewriteLinkAddress(_ arp: Int, option type: UInt16, _ value: UInt64, _ mask: UInt64) {
        if layout.kind == .arp {
            edit48(arp, value, mask)
        } else if layout.linkOption != 0 && load(layout.linkOption) >> 8 == type {
            edit48(layout.linkOption + 2, value, mask, transport: true)
        }
    }

    /// Ports, or ICMP's type and code and a neighbour discovery option's type; type of service and time to live.
    private func rewriteTransport(_ value: UInt64, _ mask: UInt64) {
        if layout.kind == .ipv4 {
            edit(layout.network, value >> 8 & 0xff, mask >> 8 & 0xff, network: true)
            edit(layout.network + 8, (value & 0xff) << 8, (mask & 0xff) << 8, network: true)
        } else if layout.kind == .ipv6 {
            edit(layout.network, (value >> 8 & 0xff) << 4, (mask >> 8 & 0xff) << 4)
            edit(layout.network + 6, value & 0xff, mask & 0xff)
        }
        guard layout.transport != 0 else { return }
        if transportChecksum == layout.transport + 2 {
            let (type, code) = (value >> 48 & 0xff, value >> 32 & 0xff)
            let bits = (mask >> 48 & 0xff) << 8 | mask >> 32 & 0xff
            edit(layout.transport, type << 8 | code, bits, transport: true)
            guard layout.linkOption != 0 else { return }
            edit(layout.linkOption, (value >> 16 & 0xff) << 8, (mask >> 16 & 0xff) << 8, transport: true)
        } else {
            edit32(layout.transport, value >> 32, mask >> 32, transport: true)
        }
    }

    // MARK: - Words

    private func edit64(_ place: Int, _ value: UInt64, _ mask: UInt64, network: Bool = false, transport: Bool = false) {
        edit32(place, value >> 32, mask >> 32, network: network, transport: transport)
        edit32(place + 4, value & 0xffff_ffff, mask & 0xffff_ffff, network: network, transport: transport)
    }

    /// The upper 48 bits of a word.
    private func edit48(_ place: Int, _ value: UInt64, _ mask: UInt64, transport: Bool = false) {
        edit(place, value >> 48, mask >> 48, transport: transport)
        edit32(place + 2, value >> 16 & 0xffff_ffff, mask >> 16 & 0xffff_ffff, transport: transport)
    }

    private func edit32(_ place: Int, _ value: UInt64, _ mask: UInt64, network: Bool = false, transport: Bool = false) {
        edit(place, value >> 16, mask >> 16, network: network, transport: transport)
        edit(place + 2, value & 0xffff, mask & 0xffff, network: network, transport: transport)
    }

    /// Sixteen bits, at an even distance from the start of their header.
    /// - Parameters:
    ///   - network: the checksum of the IPv4 header covers them.
    ///   - transport: that of the transport header does.
    private func edit(_ place: Int, _ value: UInt64, _ mask: UInt64, network: Bool = false, transport: Bool = false) {
        guard mask != 0 else { return }
        let former = load(place)
        let next = former & ~UInt16(mask) | UInt16(value & mask)
        guard next != former else { return }
        store(next, place)
        if network { adjust(layout.network + 10, former, next) }
        guard transport && transportChecksum != 0 else { return }
        // A UDP checksum of zero is none (RFC 768).
        let isUDP = transportChecksum == layout.transport + 6
        if isUDP && load(transportChecksum) == 0 { return }
        adjust(transportChecksum, former, next)
        if isUDP && load(transportChecksum) == 0 { store(0xffff, transportChecksum) }
    }

    private func adjust(_ place: Int, _ former: UInt16, _ next: UInt16) {
        store(InternetChecksum.adjust(load(place), from: former, to: next), place)
    }

    private func load(_ place: Int) -> UInt16 {
        UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: place, as: UInt16.self))
    }

    private func store(_ value: UInt16, _ place: Int) {
        frame.storeBytes(of: value.bigEndian, toByteOffset: place, as: UInt16.self)
    }
}
