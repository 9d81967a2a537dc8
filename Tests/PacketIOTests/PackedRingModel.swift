@testable import PacketIO

/// A packed virtqueue in plain memory with the driver and the device that work on it (virtio 1.2 section 2.8).
///
/// The driver makes chains available and takes used ones back; the device marks chains as used. Where the device truly
/// stands is known here, without looking at the ring.
final class PackedRingModel {
    /// How the driver names its chains.
    enum Identifiers {
        /// The one that was given back longest ago comes next.
        case oldestFirst
        /// The one that was given back last comes next, as Linux does it.
        case newestFirst
    }

    struct Chain {
        let start: PackedRing.Position
        let length: UInt16
        let id: UInt16
    }

    let count: UInt16
    let ring: PackedRing
    /// Where the driver puts its next chain.
    private(set) var driver = PackedRing.Position.start
    /// Behind the last chain that the device marked.
    private(set) var device = PackedRing.Position.start
    /// Chains that the device has not consumed, oldest first.
    private(set) var available: [Chain] = []
    /// Chains that are marked and not yet taken back by the driver.
    private var used: [Chain] = []
    private var freeDescriptors: Int
    private var freeIdentifiers: [UInt16]
    private let identifiers: Identifiers
    private let memory: UnsafeMutableRawPointer

    private static let next: UInt16 = 1 << 0
    private static let availableBit: UInt16 = 1 << 7
    private static let usedBit: UInt16 = 1 << 15

    init(count: UInt16, identifiers: Identifiers = .oldestFirst) {
        self.count = count
        self.identifiers = identifiers
        let length = Int(count) * PackedRing.descriptorLength
        memory = .allocate(byteCount: length, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: length)
        ring = PackedRing(descriptors: memory, count: count)
        freeDescriptors = Int(count)
        // Linux and DPDK have as many identifiers as descriptors; they begin above 0, which an empty ring shows.
        freeIdentifiers = (0..<count).map { identifiers == .newestFirst ? $0 : $0 + 1 }
    }

    deinit { memory.deallocate() }

    /// - Returns: false when the ring has no room.
    @discardableResult
    func offer(length: UInt16 = 1) -> Bool {
        guard Int(length) <= freeDescriptors, !freeIdentifiers.isEmpty else { return false }
        freeDescriptors -= Int(length)
        let id = freeIdentifiers.removeFirst()
        let chain = Chain(start: driver, length: length, id: id)
        for part in 0..<length {
            let position = advanced(driver, by: part)
            let wrapFlag = position.wrap ? Self.availableBit : Self.usedBit
            write(position.index, length: 64, id: id, flags: wrapFlag | (part + 1 < length ? Self.next : 0))
        }
        driver = advanced(driver, by: length)
        available.append(chain)
        return true
    }

    /// The driver takes back what the device marked, in order.
    func reclaim() {
        for chain in used {
            freeDescriptors += Int(chain.length)
            switch identifiers {
            case .oldestFirst: freeIdentifiers.append(chain.id)
            case .newestFirst: freeIdentifiers.insert(chain.id, at: 0)
            }
        }
        used = []
    }

    /// The device consumes chains and marks them.
    /// - Parameter firstUnmarked: it dies before it marks the first of them, which it would have done last.
    func consume(_ number: Int, firstUnmarked: Bool = false) {
        for (order, chain) in available.prefix(number).enumerated() {
            if order > 0 || !firstUnmarked { mark(chain) }
            used.append(chain)
            device = advanced(chain.start, by: chain.length)
        }
        available.removeFirst(min(number, available.count))
    }

    private func mark(_ chain: Chain) {
        let flags = chain.start.wrap ? Self.availableBit | Self.usedBit : 0
        write(chain.start.index, length: 0, id: chain.id, flags: flags)
    }

    /// A driver that starts afresh: it clears the ring.
    func restartDriver() {
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: Int(count) * PackedRing.descriptorLength)
        driver = .start
        device = .start
        available = []
        used = []
        freeDescriptors = Int(count)
        freeIdentifiers = (0..<count).map { identifiers == .newestFirst ? $0 : $0 + 1 }
    }

    /// A descriptor as the driver sees it: whether the device has marked it in the lap of a position.
    func isMarked(at position: PackedRing.Position) -> Bool {
        let flags = memory.load(fromByteOffset: Int(position.index) * 16 + 14, as: UInt16.self)
        return (flags & Self.availableBit != 0) == position.wrap && (flags & Self.usedBit != 0) == position.wrap
    }

    func id(at index: UInt16) -> UInt16 { memory.load(fromByteOffset: Int(index) * 16 + 12, as: UInt16.self) }

    func advanced(_ position: PackedRing.Position, by length: UInt16) -> PackedRing.Position {
        let index = position.index + length
        guard index >= count else { return .init(index: index, wrap: position.wrap) }
        return .init(index: index - count, wrap: !position.wrap)
    }

    private func write(_ index: UInt16, length: UInt32, id: UInt16, flags: UInt16) {
        let offset = Int(index) * PackedRing.descriptorLength
        memory.storeBytes(of: 0x1000, toByteOffset: offset, as: UInt64.self)
        memory.storeBytes(of: length, toByteOffset: offset + 8, as: UInt32.self)
        memory.storeBytes(of: id, toByteOffset: offset + 12, as: UInt16.self)
        memory.storeBytes(of: flags, toByteOffset: offset + 14, as: UInt16.self)
    }
}
