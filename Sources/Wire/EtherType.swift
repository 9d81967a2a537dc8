/// Types of Ethernet frames (IANA, 'IEEE 802 Numbers').
public enum EtherType {
    @inlinable public static var ipv4: UInt16 { 0x0800 }
    @inlinable public static var arp: UInt16 { 0x0806 }
    /// An Ethernet frame inside of another protocol (RFC 1701 section 4, 'Transparent Ethernet Bridging').
    @inlinable public static var ethernet: UInt16 { 0x6558 }
    @inlinable public static var rarp: UInt16 { 0x8035 }
    @inlinable public static var ipv6: UInt16 { 0x86dd }
    /// Below it the field is a length (IEEE Std 802.3-2022 clause 3.2.6).
    @inlinable public static var least: UInt16 { 0x0600 }
}
