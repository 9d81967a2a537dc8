import Flows
import Wire

/// What came out of tunnels came from: the outer header of a packet as far as flows may ask for it, as one small number.
///
/// The number takes the place of the port in a cache's keys, so that a frame from a tunnel costs the same look-up as one
/// from a port. One for each lane, read and written by its worker alone. A source stays as long as an entry of the cache
/// names it; others make room for new ones.
struct TunnelSources {
    struct Source: Equatable, BitwiseCopyable {
        var remote = IPAddress.unspecified
        var local = IPAddress.unspecified
        /// `TunnelSelector.noKey` without one.
        var key: UInt64 = 0
        /// The rest, in one word: it is hashed and held against others as such.
        fileprivate private(set) var marks: UInt64 = 0

        /// Of the outer header.
        var tos: UInt8 {
            @inline(__always) get { UInt8(truncatingIfNeeded: marks) }
            @inline(__always) set { set(UInt64(newValue), 0xff, at: 0) }
        }
        var ttl: UInt8 {
            @inline(__always) get { UInt8(truncatingIfNeeded: marks &>> 8) }
            @inline(__always) set { set(UInt64(newValue), 0xff, at: 8) }
        }
        /// 0 for a protocol without one.
        var udpPort: UInt16 {
            @inline(__always) get { UInt16(truncatingIfNeeded: marks &>> 16) }
            @inline(__always) set { set(UInt64(newValue), 0xffff, at: 16) }
        }
        /// Its place in the `Underlay`.
        var endpoint: UInt16 {
            @inline(__always) get { UInt16(truncatingIfNeeded: marks &>> 32) }
            @inline(__always) set { set(UInt64(newValue), 0xffff, at: 32) }
        }
        var type: TunnelType {
            @inline(__always) get { TunnelType(number: UInt8(truncatingIfNeeded: marks &>> 48)) }
            @inline(__always) set { set(UInt64(newValue.number), 0xff, at: 48) }
        }

        @inline(__always)
        private mutating func set(_ value: UInt64, _ mask: UInt64, at shift: UInt64) {
            marks = marks & ~(mask &<< shift) | value &<< shift
        }

        var selector: TunnelSelector {
            TunnelSelector(type: type, udpPort: udpPort, endpoint: endpoint, remote: remote, key: key)
        }

        @inline(__always)
        static func == (left: Source, right: Source) -> Bool {
            let difference = (left.remote.value ^ right.remote.value) | (left.local.value ^ right.local.value)
            return difference == 0 && (left.key ^ right.key) | (left.marks ^ right.marks) == 0
        }
    }

    private struct Slot: BitwiseCopyable {
        var source: Source
        /// Entries of the cache that name it.
        var references: UInt32
        /// The configuration that its tunnel is of.
        var generation: UInt32
        /// The port that it comes from.
        var port: UInt16
        var isUsed: Bool
    }

    /// The first number: below are the ports.
    static var first: UInt16 { UInt16(PortIndex.capacity) }
    static var capacity: Int { 32_768 }
    private static var ways: Int { 8 }

    private let slots: UnsafeMutablePointer<Slot>
    private let secret = UInt64.random(in: .min ... .max) | 1

    init() {
        precondition(Int(Self.first) + Self.capacity < Int(UInt16.max))
        slots = LazyMemory.allocate(Slot.self, Self.capacity)
    }

    func free() { LazyMemory.free(slots, Self.capacity) }

    /// The number of a source, a new one if it has none; nil when there is no room.
    /// The port is that of the tunnel that takes it, `PortEntry.noPort` when none does.
    @inline(__always)
    func number(of source: Source, _ underlay: Underlay) -> (number: UInt16, port: UInt16)? {
        let first = place(of: source)
        for way in 0..<Self.ways {
            let place = Self.place(way, from: first)
            let slot = slots + place
            guard slot.pointee.isUsed, slot.pointee.source == source else { continue }
            if slot.pointee.generation != underlay.generation {
                slot.pointee.port = Self.port(of: source, underlay)
                slot.pointee.generation = underlay.generation
            }
            return (Self.first + UInt16(place), slot.pointee.port)
        }
        return add(source, first, underlay)
    }

    @inline(never)
    private func add(_ source: Source, _ first: Int, _ underlay: Underlay) -> (number: UInt16, port: UInt16)? {
        let port = Self.port(of: source, underlay)
        for way in 0..<Self.ways {
            let place = Self.place(way, from: first)
            guard slots[place].references == 0 else { continue }
            slots[place] = Slot(
                source: source,
                references: 0,
                generation: underlay.generation,
                port: port,
                isUsed: true
            )
            return (Self.first + UInt16(place), port)
        }
        return nil
    }

    private static func port(of source: Source, _ underlay: Underlay) -> UInt16 {
        let tunnel = underlay.tunnel(for: source.selector)
        return tunnel == Underlay.none ? PortEntry.noPort : underlay.tunnels[Int(tunnel)].port
    }

    /// Where a search for a source begins: at any of its eight places, lest a few sets of the processor's cache hold them
    /// all.
    @inline(__always)
    private func place(of source: Source) -> Int {
        let hash = secret.mixed(with: source.marks).mixed(with: source.key)
        return Int(truncatingIfNeeded: hash.mixed(with: source.remote.value)) & (Self.capacity - 1)
    }

    @inline(__always)
    private static func place(_ way: Int, from first: Int) -> Int {
        first & ~(ways - 1) | (first &+ way) & (ways - 1)
    }

    /// Where a number's packets come from.
    @inline(__always)
    func source(_ number: UInt16) -> Source { slots[Int(number - Self.first)].source }

    @inline(__always)
    func port(_ number: UInt16) -> UInt16 { slots[Int(number - Self.first)].port }

    // MARK: - Entries of the cache

    /// An entry of the cache names the origin of its packets, be it a port or a source.
    @inline(__always)
    func retain(_ origin: UInt16) {
        if origin >= Self.first { slots[Int(origin - Self.first)].references += 1 }
    }

    @inline(__always)
    func release(_ origin: UInt16) {
        if origin >= Self.first { slots[Int(origin - Self.first)].references -= 1 }
    }
}

extension FlowKey {
    /// Notes what flows can ask for of the tunnel that a frame came out of.
    mutating func note(_ source: TunnelSources.Source) {
        self[6] = source.key < TunnelSelector.noKey ? source.key : 0
        if let remote = source.remote.ipv4, let local = source.local.ipv4 {
            self[7] = UInt64(remote.value) << 32 | UInt64(local.value)
        } else {
            self[35] = UInt64(truncatingIfNeeded: source.remote.value >> 64)
            self[36] = UInt64(truncatingIfNeeded: source.remote.value)
            self[37] = UInt64(truncatingIfNeeded: source.local.value >> 64)
            self[38] = UInt64(truncatingIfNeeded: source.local.value)
        }
        self[25] |= UInt64(source.tos) << 8 | UInt64(source.ttl)
    }
}

extension TunnelType {
    /// To keep it in a few bits.
    @inline(__always)
    fileprivate var number: UInt8 {
        switch self {
        case .vxlan: 0
        case .gre: 1
        case .geneve: 2
        }
    }

    @inline(__always)
    fileprivate init(number: UInt8) {
        switch number {
        case 0: self = .vxlan
        case 1: self = .gre
        default: self = .geneve
        }
    }
}
