import Dataplane
import Flows
import Wire

/// Half of the inputs are conversations through the tables of security groups, behind which no connection may be left; of the
/// others some are packets to read, some fragments that wait for each other.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConnections(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = UnsafeBufferPointer(start: bytes, count: count)[...]
    guard let choice = input.popFirst() else { return 0 }
    switch choice & 3 {
    case 0: readAll(input)
    case 1: fuzzFragments(input)
    default: converse(input, isOpen: choice & 1 != 0)
    }
    return 0
}

private func converse(_ bytes: Slice<UnsafeBufferPointer<UInt8>>, isOpen: Bool) {
    var (input, conversation) = (bytes, FuzzedConversation())
    if isOpen { conversation.open() }
    while input.count >= 6 {
        conversation.run(Array(input.prefix(6)))
        input = input.dropFirst(6)
    }
    GroupSwitch.settle()
}

/// Packets of any bytes, cut into segments anywhere, as connection tracking reads them: as they are, or behind network
/// headers that are right. Those of TCP go to one connection, whose quick way must agree with the whole way.
private func readAll(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) {
    var (input, state) = (bytes, TCPState?.none)
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
