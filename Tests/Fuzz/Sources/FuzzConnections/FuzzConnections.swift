import Dataplane
import Flows
import Wire

/// Packets of any bytes, cut into segments anywhere, as connection tracking reads them: as they are, or behind network
/// headers that are right. Those of TCP go to one connection, whose quick way must agree with the whole way. Other inputs say
/// which fragments wait for each other.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConnections(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = UnsafeBufferPointer(start: bytes, count: count)[...]
    if input.first == 0xff {
        fuzzFragments(input.dropFirst())
        return 0
    }
    var state: TCPState?
    // One octet each of what is in front, of segments and of length, then the rest of a packet.
    while let kind = input.popFirst(), let cuts = input.popFirst(), let length = input.popFirst() {
        let rest = Array(input.prefix(Int(length)))
        input = input.dropFirst(rest.count)
        let bytes = headers(kind, before: rest) + rest
        guard !bytes.isEmpty else { continue }
        let frame = Frame(bytes, segments: [Int(cuts & 0x7f)])
        guard let tracked = read(frame, isChecked: cuts & 0x80 != 0), !tracked.isError else { continue }
        guard tracked.tuple.protocolNumber == IPProtocol.tcp else { continue }
        take(tracked.tcp, isReply: kind & 0x80 != 0, &state)
    }
    return 0
}

/// Nothing; or Ethernet and IPv4 or IPv6 with one of the protocols that are read.
private func headers(_ kind: UInt8, before rest: [UInt8]) -> [UInt8] {
    let numbers = [
        IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp, IPProtocol.icmp, IPProtocol.icmpv6, IPProtocol.fragment,
    ]
    let number = numbers[Int(kind >> 2 & 0xf) % numbers.count]
    switch kind & 3 {
    case 0: return []
    case 1: return headers(number, isIPv6: true, before: rest.count)
    default: return headers(number, isIPv6: false, before: rest.count)
    }
}

/// Of Ethernet and IP.
func headers(_ number: UInt8, isIPv6: Bool, before length: Int) -> [UInt8] {
    let addresses = octets(2) + octets(1)
    if isIPv6 {
        let header = IPv6Header(
            source: IPv6Address(value: 1 << 100),
            destination: IPv6Address(value: 1 << 101),
            nextHeader: number,
            payloadLength: length
        )
        return addresses + [0x86, 0xdd] + [UInt8](count: IPv6Header.length) { header.write(to: $0) }
    }
    let header = IPv4Header(
        source: IPv4Address(value: 0x0a00_0001),
        destination: IPv4Address(value: 0x0a00_0002),
        protocol: number,
        payloadLength: length
    )
    return addresses + [0x08, 0x00] + [UInt8](count: IPv4Header.length) { header.write(to: $0) }
}

private func read(_ frame: Frame, isChecked: Bool) -> TrackedPacket? {
    let ledger = Ledger()
    let packet = ledger.make(frame)
    var layout = FrameLayout()
    let first = UnsafeRawBufferPointer(start: packet.frame, count: Int(packet.pointee.data_length))
    guard FlowKey(frame: first, length: frame.bytes.count, layout: &layout) != nil else { return nil }
    let tracked = TrackedPacket(packet, layout, isChecked: isChecked)
    precondition(Ledger.bytes(of: packet) == frame.bytes, "it is read only")
    guard let tracked else { return nil }
    precondition(tracked.tuple.reversed.reversed == tracked.tuple, "the answer to an answer has the first tuple")
    return tracked
}

private func take(_ segment: TCPSegment, isReply: Bool, _ state: inout TCPState?) {
    guard var followed = state else {
        state = TCPState.begin(segment)
        return
    }
    var quick = followed
    let passed = quick.passes(segment, isReply: isReply)
    precondition(passed || quick == followed, "nothing is changed")
    let result = followed.update(segment, isReply: isReply, isLiberal: false)
    precondition(!passed || result == (.valid, .tcpEstablished) && quick == followed, "both ways agree")
    state = result.verdict == .new ? TCPState.begin(segment) : followed
}
