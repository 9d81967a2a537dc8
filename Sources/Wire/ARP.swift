/// An ARP packet for IPv4 over Ethernet (RFC 826).
///
///      0               1               2               3
///     +-------------------------------+-------------------------------+
///   0 |       hardware type, 1        |     protocol type, 0x0800     |
///   4 | lengths of addresses, 6 and 4 |           operation           |
///   8 | sender: MAC address, 6 bytes, IPv4 address, 4 bytes           |
///  18 | target: MAC address, 6 bytes, IPv4 address, 4 bytes           |
///     +---------------------------------------------------------------+
public struct ARP: Sendable {
    public enum Operation: UInt16, Sendable {
        case request = 1
        case reply = 2
    }

    public var operation: Operation
    public var senderMACAddress: MACAddress
    public var senderAddress: IPv4Address
    /// Means nothing in a request.
    public var targetMACAddress: MACAddress
    public var targetAddress: IPv4Address

    /// In bytes.
    @inlinable public static var length: Int { 28 }

    @inlinable
    public init(
        _ operation: Operation,
        senderMACAddress: MACAddress,
        senderAddress: IPv4Address,
        targetMACAddress: MACAddress = MACAddress(value: 0),
        targetAddress: IPv4Address
    ) {
        self.operation = operation
        self.senderMACAddress = senderMACAddress
        self.senderAddress = senderAddress
        self.targetMACAddress = targetMACAddress
        self.targetAddress = targetAddress
    }

    /// - Parameters:
    ///   - bytes: from the packet's start on; padding may follow it.
    ///   - fault: set to `truncated`, to `protocolType` for other addresses than those of Ethernet and IPv4, or to `type`
    ///     for other operations than request and reply, when there is no packet.
    @inlinable
    public init?(_ bytes: UnsafeRawBufferPointer, fault: inout HeaderFault?) {
        guard let header = HeaderBytes(bytes, Self.length, fault: &fault) else { return nil }
        guard header.number48(at: 0) == 0x0001_0800_0604 else {
            fault = .protocolType
            return nil
        }
        guard let operation = Operation(rawValue: header.number16(at: 6)) else {
            fault = .type
            return nil
        }
        self.operation = operation
        senderMACAddress = MACAddress(value: header.number48(at: 8))
        senderAddress = IPv4Address(value: header.number32(at: 14))
        targetMACAddress = MACAddress(value: header.number48(at: 18))
        targetAddress = IPv4Address(value: header.number32(at: 24))
    }

    /// Asks whether anybody has the target's address, for a sender that has none yet (RFC 5227 section 1.1).
    @inlinable
    public var isProbe: Bool { operation == .request && senderAddress.isUnspecified && !targetAddress.isUnspecified }

    /// Tells everybody the sender's address, as a request (RFC 5227 section 1.1) or as a reply (RFC 5944 section 4.6).
    /// No answer is wanted.
    @inlinable
    public var isAnnouncement: Bool { senderAddress == targetAddress && !senderAddress.isUnspecified }

    /// The reply to this request, from the target; to a probe as well, which then knows that the address is taken.
    @inlinable
    public func reply(from address: MACAddress) -> ARP {
        ARP(
            .reply,
            senderMACAddress: address,
            senderAddress: targetAddress,
            targetMACAddress: senderMACAddress,
            targetAddress: senderAddress
        )
    }

    /// - Parameter space: room for `ARP.length` bytes.
    @inlinable
    public func write(to space: UnsafeMutableRawPointer) {
        let header = HeaderSpace(space)
        header.put64(0x0001_0800_0604_0000 | UInt64(operation.rawValue), at: 0)
        header.put48(senderMACAddress.value, at: 8)
        header.put32(senderAddress.value, at: 14)
        header.put48(targetMACAddress.value, at: 18)
        header.put32(targetAddress.value, at: 24)
    }
}
