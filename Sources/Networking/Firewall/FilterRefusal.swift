/// Why the filter of a port, or of what leaves the host, lets a packet not pass.
public enum FilterRefusal: Hashable, Sendable, CaseIterable {
    /// The station does not have the MAC address.
    case spoofedMAC
    /// It does, but not the address that the packet comes from, or that ARP or neighbor discovery speaks of.
    case spoofedIP, spoofedARP, spoofedND
    /// What networks' own servers and routers say.
    case dhcpServer, routerAdvertisement
    /// Neither IP nor ARP.
    case notIP
    /// A tag of the guest's own.
    case guestTag
    /// No rule of the sender's groups, or of the receiver's, allows it.
    case noEgressRule, noIngressRule
    /// It fits no conversation.
    case invalidState
    /// Its conversation is allowed no more.
    case endedConnection
    /// What switches and routers tell each other.
    case infrastructure
}
