import Synchronization
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
    func remove(_ vid: UInt16) { words[Int(vid >> 6)] &= ~(1 << UInt64(vid & 63)) }

    /// The set of `vlans`, or all of them when that is empty.
    func fill(_ vlans: Set<VLANID>) {
        words.update(repeating: vlans.isEmpty ? ~0 : 0, count: Self.wordCount)
        for vlan in vlans { insert(vlan.value) }
    }
}

/// One port, compiled from its `PortConfiguration` to what a packet asks of it.
struct PortEntry {
    static var noBridge: UInt16 { .max }
    static var noPort: UInt16 { .max }

    /// The slot of its bridge.
    var bridge = noBridge
    /// What flows call it.
    var number: UInt16 = 0
    /// The port at the other end of a patch.
    var peer = noPort
    /// The place of its tunnel or endpoint in the `Underlay`.
    var tunnel = Underlay.none
    var endpoint = Underlay.none
    /// A wire on a bridge with an endpoint: what comes from there may be of a tunnel.
    var facesUnderlay = false
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
        number = port.number.value
        peer = port.peer?.value ?? Self.noPort
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
            // Its untagged frames are of the native VLAN, so those of VLAN 0 must not leave there.
            if tag != 0 { carried.remove(0) }
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

    /// What is sent there leaves through a device as it is.
    var leadsToDevice: Bool { peer == Self.noPort && tunnel == Underlay.none && endpoint == Underlay.none }

    /// The VLAN of a received tagged frame; nil when the port does not take such frames.
    @inline(__always)
    func classify(tagged header: FrameHeader) -> Tag? { classify(type: header.type, control: header.tagControl) }

    /// - Parameters:
    ///   - type: TPID of the outermost tag.
    ///   - control: its control information.
    @inline(__always)
    func classify(type: UInt16, control: UInt16) -> Tag? {
        let vid = control & 0x0fff
        let priority = control & 0xf000
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
        return Tag(vlan: vid, type: type, control: control, isPresent: true)
    }
}

/// One bridge: its stations, its ports and its flows.
struct BridgeEntry {
    let fdb: ForwardingDatabase
    let members: UnsafeMutablePointer<UInt16>
    let memberCount: Int
    let forwardsReserved: Bool
    /// It has ports that the way without flow tables does not know: patches, tunnels, endpoints.
    let needsTables: Bool
    /// One of them is an endpoint.
    let hasEndpoint: Bool
    /// Its flow tables, by number.
    let tables: UnsafeMutablePointer<FlowTable>
    /// See `FlowTables.onlyRule`.
    let onlyRule: UnsafeMutablePointer<Atomic<UInt>>
    /// Ports by their OpenFlow numbers below `numberLimit`.
    fileprivate let numbers: UnsafeMutablePointer<UInt16>
    fileprivate let numberLimit: Int

    /// The port that flows call by a number; `PortEntry.noPort` when there is none.
    @inline(__always)
    func port(numbered number: UInt16) -> UInt16 {
        Int(number) < numberLimit ? numbers[Int(number)] : PortEntry.noPort
    }
}

/// What of a bridge outlives configurations.
struct BridgeParts {
    /// Its place in all arrays of bridges.
    let slot: UInt16
    let fdb: ForwardingDatabase
    let tables: FlowTables
}

/// What the workers forward by: built once, never changed, replaced whole (read-copy-update).
///
/// Trivial memory reached through unsafe pointers, so that a packet costs no reference count. Valid until `free`,
/// which `Dataplane.commit` calls when every worker has passed a quiescent state after the replacement.
struct ForwardingState {
    let ports: UnsafeMutablePointer<PortEntry>
    /// By slot. A slot without a bridge is of no port.
    let bridges: UnsafeMutablePointer<BridgeEntry>
    let liveness: PortLiveness
    private let underlayPart: UnsafeMutablePointer<Underlay>
    private let slots: UnsafeMutablePointer<UInt16>
    private let slotCount: Int
    private let bitmaps: UnsafeMutablePointer<UInt64>

    /// - Parameters:
    ///   - generation: another one for each configuration.
    ///   - parts: by bridge name, one for every bridge of the configuration.
    ///   - neighbors: by port, one for every endpoint.
    init(
        _ configuration: SwitchConfiguration,
        generation: UInt32 = 0,
        parts: [String: BridgeParts],
        neighbors: [PortIndex: NeighborTable],
        _ liveness: PortLiveness
    ) {
        self.liveness = liveness
        let underlay = Underlay(
            configuration,
            generation: generation,
            slots: parts.mapValues(\.slot),
            neighbors: neighbors
        )
        underlayPart = .allocate(capacity: 1)
        underlayPart.initialize(to: underlay)
        let used = configuration.bridges.map { parts[$0.name]!.slot }
        slotCount = used.count
        slots = .allocate(capacity: max(slotCount, 1))
        slots.initialize(from: used, count: slotCount)
        bridges = .allocate(capacity: Int(used.max() ?? 0) + 1)
        ports = .allocate(capacity: PortIndex.capacity)
        // One empty bitmap for the unused ports, then two for every used one.
        bitmaps = .allocate(capacity: VLANBitmap.wordCount * (1 + 2 * configuration.ports.count))
        bitmaps.initialize(repeating: 0, count: VLANBitmap.wordCount * (1 + 2 * configuration.ports.count))
        let empty = VLANBitmap(words: bitmaps)
        ports.initialize(repeating: PortEntry(unused: empty), count: PortIndex.capacity)

        let members = Dictionary(grouping: configuration.ports, by: \.bridge)
        for bridge in configuration.bridges {
            let parts = parts[bridge.name]!
            (bridges + Int(parts.slot)).initialize(to: BridgeEntry(bridge, parts, ports: members[bridge.name] ?? []))
        }
        for (order, port) in configuration.ports.enumerated() {
            let first = bitmaps + VLANBitmap.wordCount * (1 + 2 * order)
            ports[Int(port.index.value)] = PortEntry(
                port,
                bridge: parts[port.bridge]?.slot ?? PortEntry.noBridge,
                carried: VLANBitmap(words: first),
                customers: VLANBitmap(words: first + VLANBitmap.wordCount)
            )
            ports[Int(port.index.value)].facesUnderlay =
                parts[port.bridge].map { bridges[Int($0.slot)].hasEndpoint } ?? false && port.isWire
        }
        for place in 0..<underlay.endpointCount {
            ports[Int(underlay.endpoints[place].port)].endpoint = UInt16(place)
        }
        for place in 0..<underlay.tunnelCount { ports[Int(underlay.tunnels[place].port)].tunnel = UInt16(place) }
    }

    /// Apart from the rest, which is copied for each burst.
    @inline(__always) var underlay: Underlay { underlayPart.pointee }

    func free() {
        for index in 0..<slotCount {
            bridges[Int(slots[index])].members.deallocate()
            bridges[Int(slots[index])].numbers.deallocate()
        }
        underlay.free()
        underlayPart.deallocate()
        slots.deallocate()
        bridges.deallocate()
        ports.deallocate()
        bitmaps.deallocate()
    }
}

extension PortConfiguration {
    /// A device that is nobody's own.
    fileprivate var isWire: Bool { !isGuest && peer == nil && endpoint == nil && tunnel == nil }
}

extension PortEntry {
    fileprivate init(unused bitmap: VLANBitmap) {
        carried = bitmap
        customers = bitmap
    }
}

extension BridgeEntry {
    fileprivate init(_ bridge: BridgeConfiguration, _ parts: BridgeParts, ports: [PortConfiguration]) {
        members = .allocate(capacity: max(ports.count, 1))
        members.initialize(from: ports.map(\.index.value), count: ports.count)
        memberCount = ports.count
        numberLimit = Int(ports.map(\.number.value).max() ?? 0) + 1
        numbers = .allocate(capacity: numberLimit)
        numbers.initialize(repeating: PortEntry.noPort, count: numberLimit)
        for port in ports { numbers[Int(port.number.value)] = port.index.value }
        forwardsReserved = bridge.settings.forwardsReserved
        fdb = parts.fdb
        tables = parts.tables.tables
        onlyRule = parts.tables.onlyRule
        hasEndpoint = ports.contains { $0.endpoint != nil }
        needsTables = hasEndpoint || ports.contains { $0.peer != nil || $0.tunnel != nil }
    }
}
