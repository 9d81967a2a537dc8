import CPacket
import Flows
import Wire

/// Fragments that wait for the others of their datagram, so that connection tracking sees it as a whole: the packets
/// themselves, for they go on as they came in.
///
/// A lane's, read and written by its worker alone. The buffers in it are bounded, and a port has at most as many of them as
/// are free (the dynamic threshold of Choudhury and Hahne, 1998): one alone has a half, two have a third each. What a port has
/// beyond that its oldest datagrams give back, and nothing waits longer than `patience`.
struct FragmentStore {
    /// Buffers of packets that wait. A fragment longer than a buffer takes several.
    static var bufferLimit: Int { 1024 }
    /// Fragments of a datagram: the longest one has 56 of the shortest.
    static var pieceLimit: Int { 64 }
    /// Seconds, as in Open vSwitch (RFC 791 section 3.2).
    static var patience: UInt32 { 15 }

    /// A packet that waits.
    struct Piece: BitwiseCopyable {
        let packet: Packet
        /// What begins its key in the cache: its port, or the tunnel that it came out of.
        fileprivate(set) var origin: UInt16
        /// Look-ups before it was to be tracked, which have counted it.
        let visitCount: UInt16
        /// Where its part of the datagram begins in the frame, in bytes.
        fileprivate let offset: UInt16
        /// The next one of the datagram, or the next one that is free.
        fileprivate var next: UInt16
        fileprivate let start: UInt32
        fileprivate let end: UInt32
    }

    /// Of a datagram that waits; 0 is none.
    typealias Number = UInt16

    private struct Datagram: BitwiseCopyable {
        let name: IPFragment.Name
        /// Of its first fragment, once that is there.
        var layout = FrameLayout()
        /// Seconds.
        let since: UInt32
        /// In bytes, once the last fragment is there.
        var length: UInt32?
        var received: UInt32 = 0
        var count = 0
        /// Its pieces, by their places.
        var first: UInt16 = 0
        /// With the same hash, of those that are whole, or that are free.
        var next: Number = 0
        /// Of the same port, those that came before and after.
        var older: Number = 0
        var younger: Number = 0
        var isIncomplete = true
    }

    private struct Share: BitwiseCopyable {
        var bufferCount: Int
        /// Of datagrams that are incomplete.
        var oldest: Number
        var youngest: Number
    }

    private struct State: BitwiseCopyable {
        var pieceCount = 0
        var bufferCount = 0
        /// The first of those that are free again, and of those that were never used.
        var freePiece: UInt16 = 0
        var unusedPiece: UInt16 = 1
        var freeDatagram: Number = 0
        var unusedDatagram: Number = 1
        /// The piece that came in last.
        var newest: UInt16 = 0
        var firstWhole: Number = 0
        var lastWhole: Number = 0
        /// Where it looks for what has waited too long.
        var cursor: Number = 1
    }

    /// By number, from 1.
    private let pieces: UnsafeMutablePointer<Piece>
    private let datagrams: UnsafeMutablePointer<Datagram>
    private let buckets: UnsafeMutablePointer<Number>
    private let shares: UnsafeMutablePointer<Share>
    private let formers: UnsafeMutablePointer<Former>
    private let state: UnsafeMutablePointer<State>
    private let portCount: Int
    private let secret = UInt64.random(in: .min ... .max)

    /// - Parameter portCount: ports are numbered below it.
    init(portCount: Int) {
        self.portCount = portCount
        pieces = LazyMemory.allocate(Piece.self, Self.bufferLimit + 1)
        datagrams = LazyMemory.allocate(Datagram.self, Self.bufferLimit + 1)
        buckets = LazyMemory.allocate(Number.self, Self.bufferLimit)
        shares = LazyMemory.allocate(Share.self, portCount)
        formers = .allocate(capacity: Self.pieceLimit)
        state = .allocate(capacity: 1)
        state.initialize(to: State())
    }

    /// The packets are the caller's to free.
    func free() {
        LazyMemory.free(pieces, Self.bufferLimit + 1)
        LazyMemory.free(datagrams, Self.bufferLimit + 1)
        LazyMemory.free(buckets, Self.bufferLimit)
        LazyMemory.free(shares, portCount)
        formers.deallocate()
        state.deallocate()
    }

    /// Packets that wait, and their buffers.
    var pieceCount: Int { state.pointee.pieceCount }
    var bufferCount: Int { state.pointee.bufferCount }

    /// The datagram that became whole first, of those that are.
    @inline(__always) var firstWhole: Number { state.pointee.firstWhole }

    // MARK: - Coming in

    /// Puts a fragment to the others of its datagram.
    /// - Parameters:
    ///   - visitCount: see `Piece`.
    ///   - now: seconds.
    /// - Returns: false for one that is invalid beside them: that overlaps another, ends behind the last one, or is one too
    ///   many; and when there is no room at all, since datagrams that are whole are still here.
    func put(_ packet: Packet, _ fragment: IPFragment, visitCount: UInt16, now: UInt32) -> Bool {
        guard bufferCount < Self.bufferLimit else { return false }
        let bucket = bucket(of: fragment.name)
        let found = find(fragment.name, in: bucket)
        let number = found != 0 ? found : add(fragment.name, to: bucket, now: now)
        let datagram = datagrams + Int(number)
        guard let former = predecessor(of: fragment, in: datagram) else { return false }
        let piece = newPiece()
        let next = former == 0 ? datagram.pointee.first : pieces[Int(former)].next
        pieces[Int(piece)] = Piece(
            packet: packet,
            origin: fragment.name.port,
            visitCount: visitCount,
            offset: UInt16(fragment.layout.fragment),
            next: next,
            start: UInt32(fragment.start),
            end: UInt32(fragment.end)
        )
        if former == 0 { datagram.pointee.first = piece } else { pieces[Int(former)].next = piece }
        datagram.pointee.count += 1
        datagram.pointee.received += UInt32(fragment.end - fragment.start)
        if fragment.start == 0 { datagram.pointee.layout = fragment.layout }
        if !fragment.hasMore { datagram.pointee.length = UInt32(fragment.end) }
        state.pointee.newest = piece
        count(packet, of: fragment.name.port, 1)
        // None of them overlap.
        if datagram.pointee.received == datagram.pointee.length { complete(number, bucket) }
        return true
    }

    /// The piece of a datagram that a fragment comes after, 0 for the first one; nil when it cannot be one of them.
    private func predecessor(of fragment: IPFragment, in datagram: UnsafeMutablePointer<Datagram>) -> UInt16? {
        guard datagram.pointee.count < Self.pieceLimit else { return nil }
        if let length = datagram.pointee.length, fragment.end > length || !fragment.hasMore { return nil }
        var (former, next): (UInt16, UInt16) = (0, datagram.pointee.first)
        while next != 0, pieces[Int(next)].end <= fragment.start { (former, next) = (next, pieces[Int(next)].next) }
        if next == 0 { return former }
        return fragment.hasMore && fragment.end <= pieces[Int(next)].start ? former : nil
    }

    /// Says where the fragment that was put in last came from, if that is a tunnel.
    func setOrigin(_ origin: UInt16) { pieces[Int(state.pointee.newest)].origin = origin }

    /// A datagram that must give its room back, for its port has more than its share; 0 for none.
    func surplus(of port: UInt16) -> Number {
        let share = shares[Int(port)]
        return share.bufferCount > Self.bufferLimit - bufferCount ? share.oldest : 0
    }

    // MARK: - Going on

    /// The first of a datagram's pieces, which is no more of it.
    func takePiece(of number: Number) -> Piece? {
        let datagram = datagrams + Int(number)
        let place = datagram.pointee.first
        guard place != 0 else { return nil }
        let piece = pieces[Int(place)]
        datagram.pointee.first = piece.next
        pieces[Int(place)].next = state.pointee.freePiece
        state.pointee.freePiece = place
        count(piece.packet, of: datagram.pointee.name.port, -1)
        return piece
    }

    /// The port that a datagram came from.
    func port(of number: Number) -> UInt16 { datagrams[Int(number)].name.port }

    /// Forgets the first datagram that is whole, whose pieces were taken.
    func removeWhole() {
        let number = firstWhole
        state.pointee.firstWhole = datagrams[Int(number)].next
        release(number)
    }

    /// Has a datagram that is incomplete be found no more, whose pieces are to be taken then.
    func remove(_ number: Number) {
        unlink(number, bucket(of: datagrams[Int(number)].name))
        release(number)
    }

    /// The next datagrams of so many at a time.
    func nextNumbers(_ count: Number) -> Range<Number> {
        let limit = state.pointee.unusedDatagram
        let first = state.pointee.cursor < limit ? state.pointee.cursor : 1
        state.pointee.cursor = min(first + count, limit)
        return first..<state.pointee.cursor
    }

    /// Whether there is a datagram of a number, and it has waited too long.
    func isLate(_ number: Number, now: UInt32) -> Bool {
        let datagram = datagrams[Int(number)]
        return datagram.isIncomplete && now &- datagram.since > Self.patience
    }

    // MARK: - Numbers

    private func bucket(of name: IPFragment.Name) -> Int {
        let tuple = name.tuple
        let source = secret.mixed(with: tuple.sourceHigh).mixed(with: tuple.sourceLow)
        let addresses = source.mixed(with: tuple.destinationHigh).mixed(with: tuple.destinationLow)
        let rest = UInt64(name.identification) << 32 | UInt64(name.port) << 16 | UInt64(tuple.zone)
        return Int(truncatingIfNeeded: addresses.mixed(with: rest)) & (Self.bufferLimit - 1)
    }

    private func find(_ name: IPFragment.Name, in bucket: Int) -> Number {
        var number = buckets[bucket]
        while number != 0, datagrams[Int(number)].name != name { number = datagrams[Int(number)].next }
        return number
    }

    private func newPiece() -> UInt16 {
        let number = state.pointee.freePiece
        guard number == 0 else {
            state.pointee.freePiece = pieces[Int(number)].next
            return number
        }
        state.pointee.unusedPiece += 1
        return state.pointee.unusedPiece - 1
    }

    /// There are no more datagrams than pieces.
    private func add(_ name: IPFragment.Name, to bucket: Int, now: UInt32) -> Number {
        var number = state.pointee.freeDatagram
        if number != 0 {
            state.pointee.freeDatagram = datagrams[Int(number)].next
        } else {
            number = state.pointee.unusedDatagram
            state.pointee.unusedDatagram += 1
        }
        let share = shares + Int(name.port)
        let older = share.pointee.youngest
        var datagram = Datagram(name: name, since: now)
        (datagram.next, datagram.older) = (buckets[bucket], older)
        datagrams[Int(number)] = datagram
        buckets[bucket] = number
        if older == 0 { share.pointee.oldest = number } else { datagrams[Int(older)].younger = number }
        share.pointee.youngest = number
        return number
    }

    private func complete(_ number: Number, _ bucket: Int) {
        unlink(number, bucket)
        datagrams[Int(number)].next = 0
        if firstWhole == 0 {
            state.pointee.firstWhole = number
        } else {
            datagrams[Int(state.pointee.lastWhole)].next = number
        }
        state.pointee.lastWhole = number
    }

    private func unlink(_ number: Number, _ bucket: Int) {
        datagrams[Int(number)].isIncomplete = false
        let datagram = datagrams[Int(number)]
        if buckets[bucket] == number {
            buckets[bucket] = datagram.next
        } else {
            var former = buckets[bucket]
            while datagrams[Int(former)].next != number { former = datagrams[Int(former)].next }
            datagrams[Int(former)].next = datagram.next
        }
        let share = shares + Int(datagram.name.port)
        let (older, younger) = (datagram.older, datagram.younger)
        if older == 0 { share.pointee.oldest = younger } else { datagrams[Int(older)].younger = younger }
        if younger == 0 { share.pointee.youngest = older } else { datagrams[Int(younger)].older = older }
    }

    private func release(_ number: Number) {
        datagrams[Int(number)].next = state.pointee.freeDatagram
        state.pointee.freeDatagram = number
    }

    private func count(_ packet: Packet, of port: UInt16, _ sign: Int) {
        let count = sign * Int(packet.pointee.segment_count)
        state.pointee.pieceCount += sign
        state.pointee.bufferCount += count
        shares[Int(port)].bufferCount += count
    }
}

// MARK: - The whole

extension FragmentStore {
    /// How the first segment of a piece and the last one that counts were before they became a part of the whole.
    fileprivate struct Former: BitwiseCopyable {
        let headOffset: UInt16
        let headLength: UInt16
        let tail: Packet
        let tailLength: UInt16
        let tailNext: Packet?
    }

    /// What tracking asks of a datagram that is whole, as if it had come so; nil when it is invalid (`ct_state=+inv`). Its
    /// pieces are one packet meanwhile, behind the headers of the first one, and as before when this returns.
    func track(_ number: Number) -> TrackedPacket? {
        let datagram = datagrams[Int(number)]
        let (layout, length) = (datagram.layout, Int(datagram.length ?? 0))
        let wholeLength = layout.fragment - layout.network + length
        // What IPv6 counts is behind its first header.
        guard let said = UInt16(exactly: layout.kind == .ipv6 ? wholeLength - IPv6Header.length : wholeLength) else {
            return nil
        }
        let packet = pieces[Int(datagram.first)].packet
        let (headers, packetLength) = (PartHeaders(packet, layout), packet.pointee.packet_length)
        headers.whole(length: said).write(to: packet, layout)
        link(datagram.first)
        packet.pointee.packet_length = UInt32(layout.fragment + length)
        defer {
            unlink(datagram.first)
            packet.pointee.packet_length = packetLength
            headers.write(to: packet, layout)
        }
        return TrackedPacket(packet, layout, isChecked: false)
    }

    /// Leaves the parts of the datagram alone in the pieces' segments, with the first one's headers before them, and has each
    /// lead to the next.
    private func link(_ first: UInt16) {
        var (place, index) = (first, 0)
        while place != 0 {
            let piece = pieces[Int(place)]
            let packet = piece.packet
            let (headOffset, headLength) = (packet.pointee.data_off, packet.pointee.data_length)
            var left = Int(piece.end - piece.start)
            if index == 0 {
                left += Int(piece.offset)
            } else {
                packet.pointee.data_off += piece.offset
                packet.pointee.data_length -= piece.offset
            }
            // The packet is as long as its headers say, or it would not be here.
            var tail = packet
            while Int(tail.pointee.data_length) < left, let next = tail.pointee.next {
                left -= Int(tail.pointee.data_length)
                tail = next
            }
            formers[index] = Former(
                headOffset: headOffset,
                headLength: headLength,
                tail: tail,
                tailLength: tail.pointee.data_length,
                tailNext: tail.pointee.next
            )
            tail.pointee.data_length = UInt16(left)
            tail.pointee.next = piece.next == 0 ? nil : pieces[Int(piece.next)].packet
            (place, index) = (piece.next, index + 1)
        }
    }

    private func unlink(_ first: UInt16) {
        var (place, index) = (first, 0)
        while place != 0 {
            let (packet, former) = (pieces[Int(place)].packet, formers[index])
            // The tail may be the head.
            former.tail.pointee.data_length = former.tailLength
            former.tail.pointee.next = former.tailNext
            packet.pointee.data_off = former.headOffset
            packet.pointee.data_length = former.headLength
            (place, index) = (pieces[Int(place)].next, index + 1)
        }
    }
}

/// What a fragment's headers say of it, and others say of the whole: as it lies in memory.
private struct PartHeaders {
    private var length: UInt16
    /// In the datagram.
    private var place: UInt16
    /// Of IPv4.
    private var checksum: UInt16

    init(_ packet: Packet, _ layout: FrameLayout) {
        let offsets = Self.offsets(layout)
        length = packet.frame.loadUnaligned(fromByteOffset: offsets.length, as: UInt16.self)
        place = packet.frame.loadUnaligned(fromByteOffset: offsets.place, as: UInt16.self)
        checksum = packet.frame.loadUnaligned(fromByteOffset: offsets.checksum, as: UInt16.self)
    }

    /// Those of the datagram.
    /// - Parameter next: what its header says.
    func whole(length next: UInt16) -> PartHeaders {
        var whole = self
        (whole.length, whole.place) = (next.bigEndian, 0)
        let adjusted = InternetChecksum.adjust(checksum, from: length, to: whole.length)
        whole.checksum = InternetChecksum.adjust(adjusted, from: place, to: 0)
        return whole
    }

    func write(to packet: Packet, _ layout: FrameLayout) {
        let offsets = Self.offsets(layout)
        packet.frame.storeBytes(of: length, toByteOffset: offsets.length, as: UInt16.self)
        packet.frame.storeBytes(of: place, toByteOffset: offsets.place, as: UInt16.self)
        guard layout.kind == .ipv4 else { return }
        packet.frame.storeBytes(of: checksum, toByteOffset: offsets.checksum, as: UInt16.self)
    }

    private static func offsets(_ layout: FrameLayout) -> (length: Int, place: Int, checksum: Int) {
        let network = layout.network
        guard layout.kind == .ipv6 else { return (network + 2, network + 6, network + 10) }
        return (network + 4, layout.fragment - IPv6Fragment.length + 2, network)
    }
}
