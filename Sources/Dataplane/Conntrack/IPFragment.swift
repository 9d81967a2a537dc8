import CPacket
import Flows
import Wire

/// A part of an IP datagram, and which datagram it is of (RFC 791 section 3.2, RFC 8200 section 4.5): read and checked here,
/// once, as Open vSwitch checks it before it puts fragments together.
struct IPFragment: BitwiseCopyable {
    /// Of which datagram.
    struct Name: Equatable, BitwiseCopyable {
        /// Addresses and zone; of IPv4 the protocol too, which later fragments of IPv6 do not say.
        let tuple: ConnectionTuple
        let identification: UInt32
        /// Where it came from: nobody adds to what another sends.
        let port: UInt16
    }

    let name: Name
    /// Of the packet.
    let layout: FrameLayout
    /// The part's place in the datagram, in bytes behind the network headers: its first octet, and that behind its last.
    let start: Int
    let end: Int
    /// It is not the last one.
    let hasMore: Bool

    /// Bytes from the network header on. A fragment that is shorter, and not the last, is of nobody who means well (Open
    /// vSwitch's `ipf-set-min-frag`).
    private static var shortestIPv4: Int { 1200 }
    private static var shortestIPv6: Int { 1280 }

    /// Nil for a packet that is no fragment, and for one that is invalid (`ct_state=+inv`): with a wrong checksum, too
    /// short, empty, or of a length that leaves a gap to the next one.
    /// - Parameters:
    ///   - layout: that of the packet's flow key.
    ///   - zone: in which it is tracked.
    ///   - port: where it came from.
    init?(_ packet: Packet, _ layout: FrameLayout, zone: UInt16, from port: UInt16) {
        guard layout.network != 0, layout.fragment != 0 else { return nil }
        let isIPv6 = layout.kind == .ipv6
        // Who read the key saw to it that all headers are in the first segment, and that the packet is as long as they say.
        let network = HeaderBytes(unchecked: packet.frame + layout.network)
        let headersLength = layout.fragment - layout.network
        guard isIPv6 || IPv4Header.isRight(network, headersLength) else { return nil }
        let header = isIPv6 ? HeaderBytes(unchecked: packet.frame + layout.fragment - IPv6Fragment.length) : network
        let totalLength = isIPv6 ? IPv6Header.length + Int(network.number16(at: 4)) : Int(network.number16(at: 2))
        // As IPv6 has it: bytes, with the flag in the lowest bit.
        let place =
            isIPv6 ? header.number16(at: 2) : header.number16(at: 6) &<< 3 | header.number16(at: 6) &>> 13 & 1
        let length = totalLength - headersLength
        hasMore = place & 1 != 0
        start = Int(place & 0xfff8)
        end = start + length
        guard length > 0 else { return nil }
        let shortest = isIPv6 ? Self.shortestIPv6 : Self.shortestIPv4
        guard !hasMore || totalLength >= shortest && length % 8 == 0 else { return nil }
        self.layout = layout
        name = Name(
            tuple: Self.tuple(network, isIPv6: isIPv6, zone: zone),
            identification: isIPv6 ? header.number32(at: 4) : UInt32(network.number16(at: 4)),
            port: port
        )
    }

    private static func tuple(_ network: HeaderBytes, isIPv6: Bool, zone: UInt16) -> ConnectionTuple {
        var tuple =
            isIPv6
            ? ConnectionTuple(
                source: IPv6Address(value: network.number128(at: 8)),
                destination: IPv6Address(value: network.number128(at: 24)),
                protocol: IPProtocol.fragment
            )
            : ConnectionTuple(
                source: IPv4Address(value: network.number32(at: 12)),
                destination: IPv4Address(value: network.number32(at: 16)),
                protocol: network.number8(at: 9)
            )
        tuple.zone = zone
        return tuple
    }
}
