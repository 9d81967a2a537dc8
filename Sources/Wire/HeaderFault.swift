/// Why a header is refused.
public enum HeaderFault: UInt8, Sendable, CaseIterable {
    /// Fewer bytes than the header takes. Of a packet in several segments, the rest may lie in the next one.
    case truncated
    /// Not the version of the protocol that was asked for.
    case version
    /// A length within the header is less than the header's own, or more than the packet has.
    case length
    case checksum
    /// VXLAN without a valid VNI (RFC 7348 section 5).
    case noVNI
    /// GRE with a route (RFC 1701), which RFC 2784 section 2.3 says to discard.
    case routing
    /// A reserved bit is set that says that the rest cannot be understood.
    case reserved
    /// What is inside is no Ethernet frame; in ARP, the addresses are not those of Ethernet and IPv4.
    case protocolType
    /// A control message between Geneve endpoints: nothing for a guest (RFC 8926 section 3.4).
    case control
    /// An option is longer than what holds it, or has a length that its kind cannot have.
    case option
    /// A Geneve option that must be understood, and is not (RFC 8926 section 3.5).
    case criticalOption
    /// Another message than the ones that were asked for.
    case type
    /// The packet has passed a router, or says that it could have (RFC 4861 section 7.1).
    case hopLimit
    /// Addresses that the message must not have.
    case address
}
