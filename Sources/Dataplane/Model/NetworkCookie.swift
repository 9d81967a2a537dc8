/// The cookies of flows that are there for documents: "martlet" in the lower seven octets.
///
/// The highest octet, if it is not 0, says why packets are dropped that end behind the flow, so that a dump of flows shows it
/// and a program has it. To a flow that sends them on it means nothing.
public enum NetworkCookie {
    public static let plain: UInt64 = 0x6d_6172_746c_6574

    /// By the number in the cookie, from 1. A number stays what it is: people look for flows by cookies.
    private static let reasons: [DropReason] = [
        .spoofedMAC, .spoofedIP, .spoofedARP, .spoofedND, .dhcpServer, .routerAdvertisement, .notIP, .guestTag,
        .noEgressRule, .noIngressRule, .invalidState, .endedConnection, .infrastructure,
    ]

    /// That of a flow which says why.
    /// - Precondition: the reason is one that flows have: from `spoofedMAC` to `infrastructure`.
    public static func naming(_ reason: DropReason) -> UInt64 {
        UInt64(reasons.firstIndex(of: reason)! + 1) << 56 | plain
    }

    /// What a flow with a cookie says; nil when it says nothing.
    static func reason(_ cookie: UInt64) -> DropReason? {
        let number = Int(cookie >> 56)
        guard cookie & (1 << 56 - 1) == plain, (1...reasons.count).contains(number) else { return nil }
        return reasons[number - 1]
    }
}
