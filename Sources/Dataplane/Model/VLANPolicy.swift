public import Wire

/// How a port takes part in VLANs, as in `ovs-vswitchd.conf.db(5)`, column `vlan_mode` of table Port.
public enum VLANMode: String, Sendable, Codable, CaseIterable {
    /// Carries one VLAN, untagged on the wire; a tagged frame is refused.
    case access
    /// Carries `trunks` (all when empty), tagged; an untagged frame belongs to VLAN 0.
    case trunk
    /// A trunk that takes untagged frames into VLAN `tag`, and sends that VLAN tagged.
    case nativeTagged = "native-tagged"
    /// A trunk that takes untagged frames into VLAN `tag`, and sends that VLAN untagged.
    case nativeUntagged = "native-untagged"
    /// Carries frames of any customer VLAN inside service VLAN `tag`; `trunks` limits the customer VLANs.
    case dot1qTunnel = "dot1q-tunnel"
}

/// The VLAN settings of one port.
public struct VLANPolicy: Hashable, Sendable, Codable {
    public let mode: VLANMode
    /// The access, native or service VLAN; 0 where the mode has none.
    public let tag: VLANID
    /// The VLANs a trunk carries; empty means all of them.
    public let trunks: Set<VLANID>

    public static let allTagged = try! VLANPolicy(mode: nil, tag: nil, trunks: [])

    /// Completes what an operator said with Open vSwitch's defaults: no mode means `access` when there is a tag,
    /// `trunk` otherwise.
    /// - Throws: `Refusal` when the mode needs a tag that is missing or cannot use what was given.
    public init(mode: VLANMode?, tag: VLANID?, trunks: Set<VLANID>) throws(Refusal) {
        let mode = mode ?? (tag == nil ? .trunk : .access)
        switch mode {
        case .access where !trunks.isEmpty:
            throw Refusal("vlan mode access carries one VLAN and takes no trunks: use native-tagged or native-untagged")
        case .trunk where tag != nil:
            throw Refusal("vlan mode trunk takes no tag: use native-tagged or native-untagged for untagged frames")
        case .nativeTagged where tag == nil, .nativeUntagged where tag == nil, .dot1qTunnel where tag == nil:
            throw Refusal("vlan mode \(mode.rawValue) needs a tag: give --tag 0 to 4094")
        case .access, .trunk, .nativeTagged, .nativeUntagged, .dot1qTunnel:
            self.mode = mode
            self.tag = tag ?? .untagged
            self.trunks = trunks
        }
    }
}
