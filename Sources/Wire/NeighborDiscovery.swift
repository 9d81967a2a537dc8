/// A neighbor solicitation or advertisement, a message of ICMPv6 (RFC 4861 sections 4.3 and 4.4).
///
///      0               1               2               3
///     +---------------+---------------+-------------------------------+
///   0 | type 135, 136 |    code 0     |           checksum            |
///   4 |R|S|O|                     reserved                            |
///   8 |                        target, 16 bytes                       |
///  24 |  option type  | words of 64 b |  link-layer address, 6 bytes  |   or other options, or none
///     +---------------------------------------------------------------+
public struct NeighborDiscovery: Sendable {
    public enum Kind: UInt8, Sendable {
        case solicitation = 135
        case advertisement = 136
    }

    public var kind: Kind
    public var target: IPv6Address
    /// The sender's in a solicitation, the target's in an advertisement.
    public var linkLayerAddress: MACAddress?
    /// Flags of an advertisement: the sender is a router, was asked, and knows better than the receiver's cache.
    public var isRouter = false
    public var isSolicited = false
    public var overrides = false

    /// The hop limit of these messages: one that a router had passed on would have less.
    @inlinable public static var hopLimit: UInt8 { 255 }

    /// In bytes, as it is written.
    @inlinable public var length: Int { linkLayerAddress == nil ? 24 : 32 }

    @inlinable
    public init(_ kind: Kind, target: IPv6Address, linkLayerAddress: MACAddress?) {
        self.kind = kind
        self.target = target
        self.linkLayerAddress = linkLayerAddress
    }

    /// Reads a message, and checks all that RFC 4861 sections 7.1.1 and 7.1.2 ask for. The first link-layer address of the
    /// kind counts; other options are passed over.
    /// - Parameters:
    ///   - bytes: what follows the IPv6 header.
    ///   - header: the IPv6 header, right before the message.
    ///   - fault: set to `type` for another message, else to `hopLimit`, `truncated`, `checksum`, `address` or `option`,
    ///     when there is none.
    public init?(_ bytes: UnsafeRawBufferPointer, in header: IPv6Header, fault: inout HeaderFault?) {
        guard let first = HeaderBytes(bytes, 2, fault: &fault) else { return nil }
        guard header.nextHeader == IPProtocol.icmpv6, let kind = Kind(rawValue: first.number8(at: 0)),
            first.number8(at: 1) == 0
        else {
            fault = .type
            return nil
        }
        let length = Int(header.payloadLength)
        guard let fixed = HeaderBytes(bytes, 24), length >= 24, length <= bytes.count else {
            fault = .truncated
            return nil
        }
        let message = UnsafeRawBufferPointer(rebasing: bytes[..<length])
        let flags = fixed.number8(at: 4)
        self.init(kind, target: IPv6Address(value: fixed.number128(at: 8)), linkLayerAddress: nil)
        if kind == .advertisement {
            (isRouter, isSolicited, overrides) = (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0)
        }
        fault = refusal(message, header)
        if fault != nil { return nil }
    }

    /// Reads the options on the way.
    private mutating func refusal(_ message: UnsafeRawBufferPointer, _ header: IPv6Header) -> HeaderFault? {
        guard header.hopLimit == Self.hopLimit else { return .hopLimit }
        var checksum = InternetChecksum(
            source: header.source,
            destination: header.destination,
            protocol: IPProtocol.icmpv6,
            length: message.count
        )
        checksum.add(message)
        guard checksum.isRight else { return .checksum }
        guard readOptions(UnsafeRawBufferPointer(rebasing: message[24...])) else { return .option }
        return hasRightAddresses(header) ? nil : .address
    }

    /// - Returns: false when an option has no length, or one that it cannot have (RFC 4861 section 4.6.1).
    private mutating func readOptions(_ options: UnsafeRawBufferPointer) -> Bool {
        var rest = options
        while !rest.isEmpty {
            guard let option = HeaderBytes(rest, 8) else { return false }
            let length = Int(option.number8(at: 1)) * 8
            guard length > 0, length <= rest.count else { return false }
            if option.number8(at: 0) == optionType {
                guard length == 8 else { return false }
                linkLayerAddress = linkLayerAddress ?? MACAddress(value: option.number48(at: 2))
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[length...])
        }
        return true
    }

    private func hasRightAddresses(_ header: IPv6Header) -> Bool {
        guard !target.isMulticast else { return false }
        switch kind {
        case .solicitation:
            // Asked by a host that has no address yet, of the group, and without a link-layer address to answer to.
            return !header.source.isUnspecified
                || header.destination == target.solicitedNode && linkLayerAddress == nil
        case .advertisement: return !(isSolicited && header.destination.isMulticast)
        }
    }

    /// Of the link-layer address: source in a solicitation, target in an advertisement.
    private var optionType: UInt8 { kind == .solicitation ? 1 : 2 }

    /// What answers this solicitation, and where to: to all nodes when whoever asks has no address yet (RFC 4861 section
    /// 7.2.4).
    /// - Parameters:
    ///   - source: of the packet with the solicitation.
    ///   - address: that of the target.
    public func answer(
        to source: IPv6Address,
        linkLayerAddress address: MACAddress,
        isRouter: Bool
    ) -> (message: NeighborDiscovery, destination: IPv6Address) {
        var message = NeighborDiscovery(.advertisement, target: target, linkLayerAddress: address)
        message.isRouter = isRouter
        message.isSolicited = !source.isUnspecified
        message.overrides = true
        return (message, source.isUnspecified ? .allNodes : source)
    }

    /// Writes the message, and its checksum.
    /// - Parameters:
    ///   - space: room for `length` bytes.
    ///   - source: of the packet; with the destination it is part of the checksum.
    public func write(to space: UnsafeMutableRawPointer, source: IPv6Address, destination: IPv6Address) {
        let message = HeaderSpace(space)
        message.put32(UInt32(kind.rawValue) << 24, at: 0)
        message.put32((isRouter ? 1 << 31 : 0) | (isSolicited ? 1 << 30 : 0) | (overrides ? 1 << 29 : 0), at: 4)
        message.put128(target.value, at: 8)
        if let linkLayerAddress {
            message.put16(UInt16(optionType) << 8 | 1, at: 24)
            message.put48(linkLayerAddress.value, at: 26)
        }
        var checksum = InternetChecksum(
            source: source,
            destination: destination,
            protocol: IPProtocol.icmpv6,
            length: length
        )
        checksum.add(UnsafeRawBufferPointer(start: space, count: length))
        message.put16(checksum.value, at: 2)
    }
}
