import Flows

/// Which end of a connection's first packet becomes another one; that of the answers becomes it back (RFC 3022 section 2).
enum Translation: UInt8 {
    case none, source, destination

    /// Which end of a packet it is.
    @inline(__always)
    func end(isReply: Bool) -> Translation {
        switch self {
        case .none: .none
        case .source: isReply ? .destination : .source
        case .destination: isReply ? .source : .destination
        }
    }

    /// What `ct_state` says of a packet whose end it is.
    var bits: UInt8 {
        switch self {
        case .none: 0
        case .source: TrackBits.sourceTranslated
        case .destination: TrackBits.destinationTranslated
        }
    }
}

/// What a connection's addresses and ports may become: the argument of `nat` (ovs-actions(7), 'The ct action').
///
/// In instructions and steps it is words: what it says beside addresses, and those of IPv4; then, of IPv6, the first address
/// and the last.
struct TranslationRange: Equatable, BitwiseCopyable {
    private(set) var translation = Translation.none
    /// The end stays what it is, but for its port.
    private var keepsAddress = true
    private var isIPv6 = false
    /// Conversations of one host get one address.
    private(set) var isPersistent = false
    /// Another choice in each attempt to connect.
    private(set) var isRandom = false
    private var hasPorts = false
    private var (firstPort, lastPort): (UInt16, UInt16) = (0, 0)
    private var (first, last): (UInt128, UInt128) = (0, 0)

    /// `nat` alone: what a connection has applies, and none gets it.
    init() {}

    init(_ nat: NAT) {
        switch nat.direction {
        case .source: translation = .source
        case .destination: translation = .destination
        case nil: break
        }
        switch nat.addresses {
        case .ipv4(let range): (first, last) = (UInt128(range.lowerBound), UInt128(range.upperBound))
        case .ipv6(let range): (isIPv6, first, last) = (true, range.lowerBound, range.upperBound)
        case nil: break
        }
        keepsAddress = nat.addresses == nil
        if let ports = nat.ports { (hasPorts, firstPort, lastPort) = (true, ports.lowerBound, ports.upperBound) }
        (isPersistent, isRandom) = (nat.isPersistent, nat.selection == .random)
    }

    // MARK: - Words

    /// - Parameter words: of which there are `pairCount` pairs.
    init(_ pair: (Int) -> (UInt64, UInt64)) {
        let (word, addresses) = pair(0)
        translation = Translation(rawValue: UInt8(truncatingIfNeeded: word)) ?? .none
        (keepsAddress, isIPv6) = (word & 1 << 8 != 0, word & 1 << 9 != 0)
        (isPersistent, isRandom) = (word & 1 << 10 != 0, word & 1 << 11 != 0)
        hasPorts = word & 1 << 12 != 0
        firstPort = UInt16(truncatingIfNeeded: word >> 32)
        lastPort = UInt16(truncatingIfNeeded: word >> 48)
        if isIPv6 {
            let (one, other) = (pair(1), pair(2))
            first = UInt128(one.0) << 64 | UInt128(one.1)
            last = UInt128(other.0) << 64 | UInt128(other.1)
        } else {
            (first, last) = (UInt128(addresses >> 32), UInt128(addresses & 0xffff_ffff))
        }
    }

    /// How many pairs of words say it.
    var pairCount: Int { translation == .none ? 0 : isIPv6 ? 3 : 1 }

    func pair(_ index: Int) -> (UInt64, UInt64) {
        switch index {
        case 0:
            var word = UInt64(translation.rawValue) | UInt64(firstPort) << 32 | UInt64(lastPort) << 48
            word |= (keepsAddress ? 1 << 8 : 0) | (isIPv6 ? 1 << 9 : 0) | (isPersistent ? 1 << 10 : 0)
            word |= (isRandom ? 1 << 11 : 0) | (hasPorts ? 1 << 12 : 0)
            return (word, isIPv6 ? 0 : UInt64(truncatingIfNeeded: first << 32 | last))
        default:
            let address = index == 1 ? first : last
            return (UInt64(truncatingIfNeeded: address >> 64), UInt64(truncatingIfNeeded: address))
        }
    }

    // MARK: - Choices

    /// How many addresses there are to choose from, as far as it matters.
    var addressCount: UInt64 { keepsAddress ? 1 : UInt64(truncatingIfNeeded: min(last - first, 0xffff_ffff)) + 1 }

    /// - Parameters:
    ///   - reply: the tuple of the answers, whose end that is translated becomes an address of the range.
    ///   - number: below `addressCount`.
    func setAddress(_ number: UInt64, of reply: inout ConnectionTuple) {
        guard !keepsAddress, isIPv6 == reply.isIPv6 else { return }
        let address = first + UInt128(number)
        let (high, low) = (UInt64(truncatingIfNeeded: address >> 64), UInt64(truncatingIfNeeded: address))
        if translation == .source {
            (reply.destinationHigh, reply.destinationLow) = (high, low)
        } else {
            (reply.sourceHigh, reply.sourceLow) = (high, low)
        }
    }

    /// The ports that the destination may get; nil when it keeps its own.
    var destinationPorts: PortRange? {
        hasPorts && translation == .destination ? PortRange(firstPort, lastPort) : nil
    }

    /// The ports that the source may get, if it must have another than its own: of the same kind (RFC 4787 section 4.2.2,
    /// with Open vSwitch's limits).
    func sourcePorts(own: UInt16) -> PortRange {
        if hasPorts && translation == .source { return PortRange(firstPort, lastPort) }
        return switch own {
        case 0..<512: PortRange(1, 511)
        case 512..<1024: PortRange(600, 1023)
        default: PortRange(1024, 65535)
        }
    }

    /// The source may keep its port.
    var keepsSourcePort: Bool { !hasPorts || translation != .source }
}

/// Ports in an order in which each comes once, wherever it begins: neighbors in it are far from each other, so that ranges
/// that fill up do so evenly.
struct PortRange: BitwiseCopyable {
    let first: UInt16
    let count: Int

    init(_ first: UInt16, _ last: UInt16) {
        self.first = first
        count = Int(last) - Int(first) + 1
    }

    /// A prime beyond every count.
    private static var stride: Int { 1_000_003 }

    /// - Parameter start: any number.
    func port(_ index: Int, from start: UInt64) -> UInt16 {
        let begin = Int(truncatingIfNeeded: start % UInt64(count))
        return first &+ UInt16(truncatingIfNeeded: (begin &+ index &* Self.stride) % count)
    }
}
