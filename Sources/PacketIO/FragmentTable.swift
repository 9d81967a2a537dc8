import CDPDK
import CPacket
import Dataplane
import Wire

/// What one worker keeps for an endpoint of packets that are not whole yet (RFC 791 section 3.2, RFC 8200 section 4.5), in
/// librte_ip_frag. Of a packet whose fragments overlap, come twice or are too many none is trusted (RFC 5722).
///
/// Fragments are copied into buffers reserved for the endpoint, so that whoever sends fragments without end takes none of
/// those that wires need. Written by the worker alone, and by the control plane when no worker uses it any more.
struct FragmentTable: ~Copyable {
    /// Packets whose fragments are kept at a time.
    static var packetLimit: Int { 1024 }
    /// Buffers with fragments: a fragment longer than `room` takes several.
    static var bufferLimit: Int { 2048 }
    /// Nanoseconds that a packet may take to be whole. RFC 791 and RFC 8200 give a host 15 and 60 s; on a wire with a
    /// hostile sender each of them is a second for which the room is taken, and fragments of a packet come together.
    static var patience: UInt64 { 1_000_000_000 }

    /// What became of a fragment, and of those that it was put to.
    struct Outcome {
        var whole: Packet?
        var invalid = 0
        var refused = 0
        var expired = 0
    }

    private let table: OpaquePointer
    /// What the library wants freed.
    private let row: UnsafeMutablePointer<rte_ip_frag_death_row>
    private let pool: OpaquePointer
    private let room: Int
    /// What the library is shown in place of a fragment's headers.
    private let headers: UnsafeMutableRawPointer
    private let secret = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max) | 1)
    private(set) var bufferCount = 0

    /// - Throws: `Refusal` when there is no memory.
    init(pool: OpaquePointer) throws(Refusal) {
        // Each packet has two buckets to be in.
        let bucketSize: UInt32 = 8
        let bucketCount = UInt32(Self.packetLimit) / bucketSize
        let limit = UInt32(Self.packetLimit)
        guard
            let table = rte_ip_frag_table_create(bucketCount, bucketSize, limit, Self.patience, martlet_any_socket)
        else { throw Refusal("no memory for the fragments of an endpoint: raise --socket-memory") }
        self.table = table
        self.pool = pool
        room = Int(rte_pktmbuf_data_room_size(pool)) - Int(RTE_PKTMBUF_HEADROOM)
        row = .allocate(capacity: 1)
        row.initialize(to: rte_ip_frag_death_row())
        headers = .allocate(byteCount: IPv6Header.length + IPv6Fragment.length, alignment: 8)
    }

    /// Frees the fragments that there are.
    deinit {
        rte_ip_frag_table_destroy(table)
        row.deallocate()
        headers.deallocate()
    }

    // MARK: - Fragments

    /// Copies a fragment to the others of its packet.
    /// - Parameters:
    ///   - fragment: of which all headers are in the packet's first segment.
    ///   - time: nanoseconds, never less than before.
    mutating func join(_ packet: Packet, _ fragment: martlet_fragment, at time: UInt64) -> Outcome {
        // What the library drops below is then of this packet alone.
        var outcome = Outcome(expired: expire(at: time))
        let length = Int(fragment.payload) + Int(fragment.length)
        guard bufferCount + (length + room - 1) / room <= Self.bufferLimit,
            let copy = martlet_copy_into(pool, packet, UInt32(length))
        else {
            outcome.refused = 1
            return outcome
        }
        bufferCount += Int(copy.pointee.segment_count)
        Mark.set(copy, tos: fragment.tos)
        copy.pointee.tx_offload = martlet_header_lengths(fragment.network, fragment.payload - fragment.network)
        if let whole = reassemble(copy, fragment, time) {
            outcome.whole = finish(whole, Int(fragment.network), isIPv4: fragment.is_ipv4 != 0)
        } else {
            // One alone found no room; what does not fit together is two at least.
            let isAlone = row.pointee.cnt == 1
            let count = freeRow()
            if isAlone { outcome.refused = count } else { outcome.invalid = count }
        }
        return outcome
    }

    /// Frees the fragments of packets that were not whole in time.
    /// - Returns: how many there were.
    mutating func expire(at time: UInt64) -> Int {
        guard bufferCount != 0 else { return 0 }
        var count = 0
        repeat {
            rte_ip_frag_table_del_expired_entries(table, row, time)
            guard row.pointee.cnt != 0 else { return count }
            count += freeRow()
        } while true
    }

    /// The library tells packets apart by addresses and identification, and finds them by a hash that others know as well.
    /// Every destination here is the endpoint's, so that in its place there is the protocol, which the library leaves out,
    /// and what nobody can foresee.
    private func reassemble(_ copy: Packet, _ fragment: martlet_fragment, _ time: UInt64) -> Packet? {
        let header = copy.pointee.buffer + Int(copy.pointee.data_off) + Int(fragment.network)
        guard fragment.is_ipv4 == 0 else {
            headers.copyMemory(from: header, byteCount: IPv4Header.length)
            let (source, identification) = (word32(at: 12), word32(at: 4) & 0xffff)
            let number = headers.load(fromByteOffset: 9, as: UInt8.self)
            let salt = mixed(UInt64(source) << 32 | UInt64(identification) << 8 | UInt64(number))
            let destination = UInt32(truncatingIfNeeded: salt) << 8 | UInt32(number)
            headers.storeBytes(of: destination, toByteOffset: 16, as: UInt32.self)
            return martlet_reassemble_ipv4(table, row, copy, time, headers)
        }
        headers.copyMemory(from: header, byteCount: IPv6Header.length + IPv6Fragment.length)
        let identification = mixed(UInt64(word32(at: 44)))
        let first = mixed(headers.loadUnaligned(fromByteOffset: 8, as: UInt64.self) ^ identification)
        let second = mixed(headers.loadUnaligned(fromByteOffset: 16, as: UInt64.self) ^ first)
        headers.storeBytes(of: first, toByteOffset: 24, as: UInt64.self)
        headers.storeBytes(of: second, toByteOffset: 32, as: UInt64.self)
        return martlet_reassemble_ipv6(table, row, copy, time, headers)
    }

    private func word32(at offset: Int) -> UInt32 { headers.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }

    private func mixed(_ word: UInt64) -> UInt64 {
        let product = (word ^ secret.0).multipliedFullWidth(by: secret.1)
        return product.high ^ product.low
    }

    /// Makes a whole packet what it would be if it had come so.
    private mutating func finish(_ whole: Packet, _ network: Int, isIPv4: Bool) -> Packet {
        let (_, buffers, isCongested) = Mark.count(whole)
        bufferCount -= buffers
        whole.pointee.ol_flags = 0
        whole.pointee.tx_offload = 0
        let header = whole.pointee.buffer + Int(whole.pointee.data_off) + network
        // One of all fragments is enough (RFC 3168 section 5.3).
        if isCongested {
            let marked = header.load(fromByteOffset: 1, as: UInt8.self) | (isIPv4 ? 0x03 : 0x30)
            header.storeBytes(of: marked, toByteOffset: 1, as: UInt8.self)
        }
        if isIPv4 { writeChecksum(header) }
        return whole
    }

    private func writeChecksum(_ header: UnsafeMutableRawPointer) {
        let length = Int(header.load(as: UInt8.self) & 0xf) * 4
        header.storeBytes(of: 0, toByteOffset: 10, as: UInt16.self)
        var checksum = InternetChecksum()
        checksum.add(UnsafeRawBufferPointer(start: header, count: length))
        header.storeBytes(of: checksum.value.bigEndian, toByteOffset: 10, as: UInt16.self)
    }

    /// - Returns: how many fragments were freed.
    private mutating func freeRow() -> Int {
        let packets = martlet_row_packets(row).unsafelyUnwrapped
        var count = 0
        for index in 0..<Int(row.pointee.cnt) {
            // The library notes packets only.
            let (fragments, buffers, _) = Mark.count(packets[index].unsafelyUnwrapped)
            count += fragments
            bufferCount -= buffers
        }
        martlet_free(packets, row.pointee.cnt)
        row.pointee.cnt = 0
        return count
    }
}

/// Where fragments begin in a chain of buffers, since the library chains what it frees, and how each was marked: in the
/// place of a hash that nobody reads.
private enum Mark {
    private static var begins: UInt32 { 0x100 }

    static func set(_ packet: Packet, tos: UInt8) {
        packet.pointee.hash.0 = begins | UInt32(tos)
        var segment = packet.pointee.next
        while let part = segment {
            part.pointee.hash.0 = 0
            segment = part.pointee.next
        }
    }

    /// - Returns: the fragments and buffers of a chain, and whether one of the fragments met congestion.
    static func count(_ packet: Packet) -> (fragments: Int, buffers: Int, isCongested: Bool) {
        var (fragments, buffers, isCongested) = (0, 0, false)
        var segment: Packet? = packet
        while let part = segment {
            buffers += 1
            if part.pointee.hash.0 & begins != 0 { fragments += 1 }
            if part.pointee.hash.0 & (begins | 3) == begins | 3 { isCongested = true }
            segment = part.pointee.next
        }
        return (fragments, buffers, isCongested)
    }
}
