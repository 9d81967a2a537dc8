import CDPDK
import CPacket
import Dataplane
import Seeds
import Testing
import Wire

@testable import PacketIO

/// A part of an IP packet on a wire.
private struct Piece {
    var isIPv4 = true
    var number: UInt32 = 1
    var source: UInt8 = 2
    var next = IPProtocol.udp
    var tos: UInt8 = 0
    var offset = 0
    var content: ArraySlice<UInt8>
    var hasMore = true

    private static let ethernet = [UInt8](repeating: 2, count: 14)

    var header: [UInt8] {
        guard isIPv4 else {
            let fragment = IPv6Fragment(
                nextHeader: next,
                offset: UInt16(offset),
                hasMore: hasMore,
                identification: number
            )
            let fixed = IPv6Header(
                source: IPv6Address(value: UInt128(source)),
                destination: IPv6Address(value: 1),
                nextHeader: IPProtocol.fragment,
                payloadLength: IPv6Fragment.length + content.count,
                trafficClass: tos
            )
            return octets(IPv6Header.length, fixed.write) + octets(IPv6Fragment.length, fragment.write)
        }
        let header = IPv4Header(
            source: IPv4Address(value: UInt32(source)),
            destination: IPv4Address(value: 1),
            protocol: next,
            payloadLength: content.count,
            tos: tos,
            identification: UInt16(number),
            fragment: UInt16(offset / 8) | (hasMore ? 0x2000 : 0)
        )
        return octets(IPv4Header.length, header.write)
    }

    /// With padding behind.
    var frame: [UInt8] { Self.ethernet + header + content + [0xee, 0xee] }

    var description: martlet_fragment {
        martlet_fragment(
            endpoint: 0,
            network: UInt16(Self.ethernet.count),
            payload: UInt16(Self.ethernet.count + header.count),
            length: UInt16(content.count),
            tos: tos,
            is_ipv4: isIPv4 ? 1 : 0
        )
    }

    private func octets(_ count: Int, _ write: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { space, written in
            write(UnsafeMutableRawPointer(space.baseAddress!))
            written = count
        }
    }
}

/// The parts of a packet, cut where they are.
private func pieces(of content: [UInt8], cuts: [Int], isIPv4: Bool, number: UInt32 = 1) -> [Piece] {
    zip([0] + cuts, cuts + [content.count]).map { start, end in
        Piece(
            isIPv4: isIPv4,
            number: number,
            offset: start,
            content: content[start..<end],
            hasMore: end < content.count
        )
    }
}

/// A table and its buffers, of which each must be free in the end.
private final class FragmentBench {
    /// What came of a fragment.
    struct Result: Equatable {
        var whole: [UInt8]?
        var segments = 0
        var invalid = 0
        var refused = 0
        var expired = 0

        static let waits = Result()
    }

    private let makers: OpaquePointer
    private let pool: OpaquePointer
    private let table: UnsafeMutablePointer<FragmentTable>
    private(set) var sent = 0
    private(set) var ended = 0

    init() throws {
        _ = try Engine.shared()
        let any = martlet_any_socket
        makers = try #require(rte_pktmbuf_pool_create("fragment_makers", 63, 0, 0, 10_240, any))
        pool = try #require(rte_pktmbuf_pool_create("fragments", 4095, 0, 0, martlet_mbuf_room, any))
        table = .allocate(capacity: 1)
        table.initialize(to: try FragmentTable(pool: pool))
    }

    deinit {
        table.deallocate()
        rte_mempool_free(pool)
        rte_mempool_free(makers)
    }

    func join(_ piece: Piece, at time: UInt64 = 0) throws -> Result {
        let frame = piece.frame
        var packet = martlet_make(makers, frame, UInt16(frame.count))
        defer { martlet_free(&packet, 1) }
        let outcome = table.pointee.join(try #require(packet), piece.description, at: time)
        var whole = outcome.whole
        let segments = Int(whole?.pointee.segment_count ?? 0)
        let bytes = whole.map(Self.bytes)
        if whole != nil { martlet_free(&whole, 1) }
        #expect(buffersInUse == bufferCount)
        sent += 1
        ended += segments + outcome.invalid + outcome.refused + outcome.expired
        return Result(
            whole: bytes,
            segments: segments,
            invalid: outcome.invalid,
            refused: outcome.refused,
            expired: outcome.expired
        )
    }

    func expire(at time: UInt64) -> Int {
        let count = table.pointee.expire(at: time)
        ended += count
        return count
    }

    func end() {
        table.deinitialize(count: 1)
        #expect(buffersInUse == 0)
    }

    var buffersInUse: Int { Int(rte_mempool_in_use_count(pool)) }
    var bufferCount: Int { table.pointee.bufferCount }

    /// What is behind the IP header of a packet that is as if it had come whole.
    static func bytes(_ packet: Packet) -> [UInt8] {
        let length = Int(packet.pointee.packet_length)
        var all = [UInt8](repeating: 0, count: length)
        martlet_copy_bytes(packet, &all, UInt32(length))
        #expect(packet.pointee.ol_flags == 0 && packet.pointee.tx_offload == 0)
        return all.withUnsafeBytes { all in
            let network = UnsafeRawBufferPointer(rebasing: all[14...])
            var fault: HeaderFault?
            if let header = IPv4Header(network, length: network.count, fault: &fault) {
                #expect(!header.isFragment && Int(header.totalLength) == network.count)
                return Array(network[header.headerLength...])
            }
            let header = IPv6Header(network, length: network.count, fault: &fault)
            #expect(header?.nextHeader == IPProtocol.udp)
            #expect(header.map { IPv6Header.length + Int($0.payloadLength) } == network.count)
            return Array(network[IPv6Header.length...])
        }
    }
}

/// librte_ip_frag as the workers use it, without them: time is what a test says. One at a time: they share the buffers.
@Suite(.serialized) struct FragmentTableTests {
    private let content = (0..<4000).map { UInt8(truncatingIfNeeded: $0 * 31 >> 3) }
    private let cuts = [1200, 2400, 3600]
    private let patience = FragmentTable.patience

    @Test(arguments: [true, false])
    func fragmentsInEveryOrderMakeThePacket(isIPv4: Bool) throws {
        let bench = try FragmentBench()
        let parts = pieces(of: content, cuts: cuts, isIPv4: isIPv4)
        for order in permutations(Array(parts.indices)) {
            for place in order.dropLast() { #expect(try bench.join(parts[place]) == .waits) }
            let result = try bench.join(parts[order.last!])
            #expect(result == .init(whole: content, segments: 4))
        }
        #expect(bench.bufferCount == 0)
        bench.end()
    }

    private func permutations(_ places: [Int]) -> [[Int]] {
        guard !places.isEmpty else { return [[]] }
        return places.flatMap { first in permutations(places.filter { $0 != first }).map { [first] + $0 } }
    }

    @Test(arguments: [true, false])
    func fragmentsOfSeveralBuffersMakeThePacket(isIPv4: Bool) throws {
        let bench = try FragmentBench()
        let content = (0..<16_500).map { UInt8(truncatingIfNeeded: $0 >> 4) }
        let parts = pieces(of: content, cuts: [8192], isIPv4: isIPv4)
        #expect(try bench.join(parts[1]) == .waits)
        #expect(bench.bufferCount == 5)
        #expect(try bench.join(parts[0]).whole == content)
        bench.end()
    }

    @Test(arguments: [true, false])
    func whatOverlapsOrComesTwiceIsDroppedWhole(isIPv4: Bool) throws {
        let bench = try FragmentBench()
        let parts = pieces(of: content, cuts: cuts, isIPv4: isIPv4)
        var (across, shifted) = (parts[1], parts[1])
        across.offset = 600
        shifted.offset -= 8
        let bad = [
            [parts[0], parts[0]], [parts[3], parts[3]], [parts[0], parts[1], parts[1], parts[2], parts[3]],
            [parts[0], parts[1], across, parts[2], parts[3]], [parts[0], shifted, parts[2], parts[3]],
            [parts[3], shifted, parts[2], parts[0]],
        ]
        for set in bad {
            for piece in set.dropLast() { #expect(try bench.join(piece) == .waits) }
            #expect(try bench.join(set.last!) == .init(invalid: set.count))
            #expect(bench.bufferCount == 0)
        }
        bench.end()
    }

    @Test(arguments: [true, false])
    func moreThanEightFragmentsAreDropped(isIPv4: Bool) throws {
        let bench = try FragmentBench()
        let parts = pieces(of: content, cuts: Array(stride(from: 440, to: 4000, by: 440)), isIPv4: isIPv4)
        for piece in parts.prefix(7) { #expect(try bench.join(piece) == .waits) }
        #expect(try bench.join(parts[7]) == .init(invalid: 8))
        bench.end()
    }

    @Test(arguments: [true, false])
    func whatIsMissingExpires(isIPv4: Bool) throws {
        let bench = try FragmentBench()
        let parts = pieces(of: content, cuts: cuts, isIPv4: isIPv4)
        for piece in parts.dropFirst() { #expect(try bench.join(piece, at: 5) == .waits) }
        #expect(bench.expire(at: patience + 5) == 0)
        #expect(bench.expire(at: patience + 6) == 3)
        #expect(bench.bufferCount == 0)
        // The last one comes too late, and so do those that it waits for.
        for piece in parts.dropFirst() { #expect(try bench.join(piece, at: 2 * patience) == .waits) }
        #expect(try bench.join(parts[0], at: 4 * patience) == .init(expired: 3))
        #expect(bench.bufferCount == 1)
        bench.end()
    }

    @Test(arguments: [true, false])
    func neitherPacketsNorBuffersAreWithoutABound(isIPv4: Bool) throws {
        let bench = try FragmentBench()
        var refused = 0
        for number in 0..<UInt32(3 * FragmentTable.packetLimit) {
            let piece = pieces(of: content, cuts: cuts, isIPv4: isIPv4, number: number)[0]
            refused += try bench.join(piece).refused
        }
        #expect(bench.bufferCount <= FragmentTable.packetLimit && bench.bufferCount > FragmentTable.packetLimit / 2)
        #expect(bench.bufferCount + refused == 3 * FragmentTable.packetLimit)
        #expect(bench.expire(at: .max) == 3 * FragmentTable.packetLimit - refused)
        #expect(bench.bufferCount == 0)
        let long = [UInt8](repeating: 7, count: 16_400)
        for number in 0..<UInt32(600) {
            _ = try bench.join(pieces(of: long, cuts: [8192], isIPv4: isIPv4, number: number)[0])
        }
        #expect((FragmentTable.bufferLimit - 5..<FragmentTable.bufferLimit + 1).contains(bench.bufferCount))
        bench.end()
    }

    @Test(arguments: [true, false])
    func sendersAndNumbersAreToldApart(isIPv4: Bool) throws {
        let bench = try FragmentBench()
        let parts = pieces(of: content, cuts: [2000], isIPv4: isIPv4)
        var (other, another) = (parts[1], parts[1])
        other.source = 3
        another.number = 2
        for piece in [parts[0], other, another] { #expect(try bench.join(piece) == .waits) }
        #expect(try bench.join(parts[1]).whole == content)
        bench.end()
    }

    @Test func protocolsOfIPv4AreToldApart() throws {
        let bench = try FragmentBench()
        let parts = pieces(of: content, cuts: [2000], isIPv4: true)
        var other = parts[1]
        other.next = IPProtocol.gre
        for piece in [parts[0], other] { #expect(try bench.join(piece) == .waits) }
        #expect(try bench.join(parts[1]).whole == content)
        bench.end()
    }

    /// Cut anywhere, in any order, with some missing, twice or elsewhere: the packet or nothing, and all are counted.
    @Test(arguments: [true, false])
    func everyFragmentIsCountedOnce(isIPv4: Bool) throws {
        let bench = try FragmentBench()
        // Each fragment has one buffer.
        let content = Array(content.prefix(1800))
        var random = SeededGenerator(seed: 1)
        var wholes = 0
        for number in 0..<UInt32(2000) {
            let count = Int.random(in: 1...8, using: &random)
            let cuts = Set((0..<count).map { _ in Int.random(in: 1..<225, using: &random) }).sorted().map { $0 * 8 }
            var parts = pieces(of: content, cuts: cuts, isIPv4: isIPv4, number: number).shuffled(using: &random)
            let isIntact = Bool.random(using: &random)
            if !isIntact {
                switch Int.random(in: 0..<3, using: &random) {
                case 0: parts.removeLast()
                case 1: parts.append(parts[0])
                default: parts[0].offset += 8
                }
            }
            var result = FragmentBench.Result.waits
            for piece in parts where result.whole == nil {
                result = try bench.join(piece, at: UInt64(number) * patience / 50)
            }
            if let whole = result.whole { #expect(whole == content) }
            if isIntact && parts.count <= 8 { #expect(result.whole != nil) }
            wholes += result.whole == nil ? 0 : 1
        }
        #expect(wholes > 500)
        _ = bench.expire(at: .max)
        #expect(bench.ended == bench.sent && bench.bufferCount == 0)
        bench.end()
    }
}
