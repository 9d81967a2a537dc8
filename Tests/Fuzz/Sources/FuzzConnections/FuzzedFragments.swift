import CPacket
import Dataplane
import Flows
import Wire

/// Fragments of some datagrams in any order, of any length, in any segments, that wait for each other. Each comes out once, as
/// it went in.
func fuzzFragments(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) {
    var input = bytes
    let ledger = Ledger()
    let store = FragmentStore(portCount: 4)
    defer { store.free() }
    var waiting: [Packet: [UInt8]] = [:]
    var now: UInt32 = 100
    // One octet each of what it is of, its place, its length and its segments.
    while let kind = input.popFirst(), let place = input.popFirst(), let length = input.popFirst(),
        let cuts = input.popFirst()
    {
        let bytes = fragment(kind, start: UInt16(place) * 64, length: 1216 + Int(length & 0x3f) * 64, length >> 7 != 0)
        let packet = ledger.make(Frame(bytes, segments: [70 + Int(cuts & 0x7f), Int(cuts >> 7) * 1000]))
        var layout = FrameLayout()
        let first = UnsafeRawBufferPointer(start: packet.frame, count: Int(packet.pointee.data_length))
        let isRead = FlowKey(frame: first, length: bytes.count, layout: &layout) != nil
        let port = UInt16(kind >> 4 & 0x3)
        if isRead, let part = IPFragment(packet, layout, zone: 1, from: port),
            store.put(packet, part, visitCount: 1, now: now)
        {
            waiting[packet] = bytes
        } else {
            precondition(ledger.retire(packet), "a packet came out twice")
        }
        while store.surplus(of: port) != 0 { drop(store.surplus(of: port)) }
        while store.firstWhole != 0 {
            _ = store.track(store.firstWhole)
            takePieces(of: store.firstWhole)
            store.removeWhole()
        }
        now += UInt32(kind >> 6)
        for number in store.nextNumbers(64) where store.isLate(number, now: now) { drop(number) }
        precondition(store.pieceCount == waiting.count && ledger.heads.count == waiting.count, "a packet is lost")
    }
    // From where it is to the end, and from the beginning.
    for _ in 0..<2 {
        for number in store.nextNumbers(FragmentStore.Number(FragmentStore.bufferLimit))
        where store.isLate(number, now: now + 100) { drop(number) }
    }
    precondition(store.bufferCount == 0 && ledger.live.isEmpty, "a packet is lost")

    func drop(_ number: FragmentStore.Number) {
        takePieces(of: number)
        store.remove(number)
    }

    func takePieces(of number: FragmentStore.Number) {
        while let piece = store.takePiece(of: number) {
            let bytes = waiting.removeValue(forKey: piece.packet)
            precondition(Ledger.bytes(of: piece.packet) == bytes, "it is as it came")
            precondition(ledger.retire(piece.packet), "a packet came out twice")
        }
    }
}

private func fragment(_ kind: UInt8, start: UInt16, length: Int, _ hasMore: Bool) -> [UInt8] {
    let fragment = IPv6Fragment(
        nextHeader: IPProtocol.udp,
        offset: start,
        hasMore: hasMore,
        identification: UInt32(kind & 0x3)
    )
    let part = [UInt8](repeating: kind, count: length)
    let extensions = [UInt8](count: IPv6Fragment.length) { fragment.write(to: $0) }
    guard kind & 0x4 == 0 else {
        return headers(IPProtocol.fragment, isIPv6: true, before: extensions.count + length) + extensions + part
    }
    var bytes = headers(IPProtocol.udp, isIPv6: false, before: length)
    bytes.replaceSubrange(18..<22, with: octets(UInt64(kind & 0x3), count: 2) + octets(UInt64(start / 8), count: 2))
    bytes[20] |= hasMore ? 0x20 : 0
    bytes.replaceSubrange(24..<26, with: [0, 0])
    var sum = InternetChecksum()
    bytes[14..<34].withUnsafeBytes { sum.add($0) }
    bytes.replaceSubrange(24..<26, with: octets(UInt64(sum.value), count: 2))
    return bytes + part
}
