import Wire

/// A set of the 4,096 VLAN identifiers as a bitmap.
struct VLANBitmap {
    static let wordCount = 64
    let words: UnsafeMutablePointer<UInt64>

    @inline(__always)
    func contains(_ vid: UInt16) -> Bool {
        words[Int(vid &>> 6)] &>> UInt64(vid) & 1 != 0
    }

    func insert(_ vid: UInt16) { words[Int(vid >> 6)] |= 1 << UInt64(vid & 63) }

    /// The set of `vlans`, or all of them when that is empty.
    func fill(_ vlans: Set<VLANID>) {
        words.update(repeating: vlans.isEmpty ? ~0 : 0, count: Self.wordCount)
        for vlan in vlans { insert(vlan.value) }
    }
}

/// One port, compiled from its `PortConfiguration` to what a packet asks of it.
struct PortEntry {
    static var noBridge: UInt16 { .max }

    var bridge = noBridge
    /// The VLAN of an untagged or priority-tagged frame, with the tag it gets on a port that sends one.
    var untagged = Tag(vlan: 0, type: TPID.customer.rawValue, control: 0, isPresent: false)
    /// Takes untagged frames.
    var takesUntagged = false
    /// The bridge and the tag of frames that leave as they are; see `Plain`.
    var plain = Plain.none
    /// The VLAN that leaves without a tag, beside VLAN 0.
    var untaggedOut: UInt16 = 0
    /// Takes frames with a tag of a VLAN.
    var acceptsTags = false
    /// Wraps every frame into the service VLAN of `untagged` (dot1q-tunnel).
    var tunnels = false
    /// See `PortConfiguration.frameLength`.
    var frameLength: UInt32 = 0
    /// The VLANs it is a member of.
    var carried: VLANBitmap
    /// dot1q-tunnel: the customer VLANs it carries.
    var customers: VLANBitmap
    /// They are not all of them, so that a frame on its way out is to be looked at.
    var limitsCustomers = false

    init(_ port: PortConfiguration, bridge: UInt16, carried: VLANBitmap, customers: VLANBitmap) {
        let tag = port.vlan.tag.value
        self.bridge = bridge
        self.carried = carried
        self.customers = customers
        frameLength = UInt32(port.frameLength)
        acceptsTags = port.vlan.mode != .access
        tunnels = port.vlan.mode == .dot1qTunnel
        switch port.vlan.mode {
        case .access, .dot1qTunnel:
            untaggedOut = tag
            carried.fill([port.vlan.tag])
            customers.fill(port.vlan.trunks)
            limitsCustomers = tunnels && !port.vlan.trunks.isEmpty
        case .trunk:
            carried.fill(port.vlan.trunks)
        case .nativeTagged, .nativeUntagged:
            untaggedOut = port.vlan.mode == .nativeUntagged ? tag : 0
            carried.fill(port.vlan.trunks)
            carried.insert(tag)
        }
        let type = tunnels ? TPID.service : TPID.customer
        untagged = Tag(vlan: tag, type: type.rawValue, control: tag, isPresent: false)
        takesUntagged = carried.contains(tag) && (!tunnels || customers.contains(0))
        if takesUntagged && !limitsCustomers && (tag == 0 || tag == untaggedOut) {
            plain = Plain(untagged, bridge: bridge)
        }
    }

    /// A bridge and the tag of an untagged frame, in one word: where a run's is that of its output port, the frames are
    /// on the same bridge, the port carries their VLAN and nothing is to be edited. One comparison for the usual case.
    struct Plain: Equatable {
        private let word: UInt64

        /// No run's: its low bits name VLAN 4095.
        static var none: Plain { Plain(word: .max) }

        private init(word: UInt64) { self.word = word }

        @inline(__always)
        init(_ tag: Tag, bridge: UInt16) { word = tag.word | UInt64(bridge) &<< 49 }
    }

    /// The VLAN of a received tagged frame; nil when the port does not take such frames.
    @inline(__always)
    func classify(tagged header: FrameHeader) -> Tag? {
        let vid = header.tagControl & 0x0fff
        let priority = header.tagControl & 0xf000
        let vlan = untagged.vlan
        if tunnels {
            guard customers.contains(vid) else { return nil }
            return Tag(vlan: vlan, type: TPID.service.rawValue, control: priority | vlan, isPresent: false)
        }
        guard vid != 0 else {
            guard takesUntagged else { return nil }
            return Tag(vlan: vlan, type: TPID.customer.rawValue, control: priority | vlan, isPresent: true)
        }
        guard acceptsTags, carried.contains(vid) else { return nil }
        return Tag(vlan: vid, type: header.type, control: header.tagControl, isPresent: true)
    }
}

/// One bridge: its stations and its ports.
struct BridgeEntry {
    let fdb: ForwardingDatabase
    let members: UnsafeMutablePointer<UInt16>
    let memberCount: Int
    let forwardsReserved: Bool
}

/// What the workers forward by: built once, never changed, replaced whole (read-copy-update).
///
/// Trivial memory reached through unsafe pointers, so that a packet costs no reference count. Valid until `free`,
/// which `Dataplane.commit` calls when every worker has passed a quiescent state after the replacement.
struct ForwardingState {
    let ports: UnsafeMutablePointer<PortEntry>
    let bridges: UnsafeMutablePointer<BridgeEntry>
    private let bridgeCount: Int
    private let bitmaps: UnsafeMutablePointer<UInt64>

    /// - Parameter databases: by bridge name, one for every bridge of the configuration.
    init(_ configuration: SwitchConfiguration, databases: [String: ForwardingDatabase]) {
        bridgeCount = configuration.bridges.count
        bridges = .allocate(capacity: bridgeCount)
        ports = .allocate(capacity: PortIndex.capacity)
        // One empty bitmap for the unused ports, then two for every used one.
        bitmaps = .allocate(capacity: VLANBitmap.wordCount * (1 + 2 * configuration.ports.count))
        bitmaps.initialize(repeating: 0, count: VLANBitmap.wordCount * (1 + 2 * configuration.ports.count))
        let empty = VLANBitmap(words: bitmaps)
        ports.initialize(repeating: PortEntry(unused: empty), count: PortIndex.capacity)

        var numbers: [String: UInt16] = [:]
        for (number, bridge) in configuration.bridges.enumerated() {
            numbers[bridge.name] = UInt16(number)
            let members = configuration.ports.filter { $0.bridge == bridge.name }.map(\.index.value)
            (bridges + number).initialize(
                to: BridgeEntry(bridge, fdb: databases[bridge.name]!, members: members)
            )
        }
        for (order, port) in configuration.ports.enumerated() {
            let first = bitmaps + VLANBitmap.wordCount * (1 + 2 * order)
            ports[Int(port.index.value)] = PortEntry(
                port,
                bridge: numbers[port.bridge] ?? PortEntry.noBridge,
                carried: VLANBitmap(words: first),
                customers: VLANBitmap(words: first + VLANBitmap.wordCount)
            )
        }
    }

    func free() {
        for number in 0..<bridgeCount { bridges[number].members.deallocate() }
        bridges.deallocate()
        ports.deallocate()
        bitmaps.deallocate()
    }
}

extension PortEntry {
    fileprivate init(unused bitmap: VLANBitmap) {
        carried = bitmap
        customers = bitmap
    }
}

extension BridgeEntry {
    fileprivate init(_ bridge: BridgeConfiguration, fdb: ForwardingDatabase, members ports: [UInt16]) {
        members = .allocate(capacity: max(ports.count, 1))
        members.initialize(from: ports, count: ports.count)
        memberCount = ports.count
        forwardsReserved = bridge.settings.forwardsReserved
        self.fdb = fdb
    }
}
