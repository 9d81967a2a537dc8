import Testing
import Wire

/// Which packets are answered when they are too big, and with how much of them.
@Suite struct TooBigTests {
    private let four = IPv4Header(
        source: IPv4Address(value: 0x0a00_0001),
        destination: IPv4Address(value: 0x0a00_0002),
        protocol: IPProtocol.udp,
        payloadLength: 1480
    )
    private let six = IPv6Header(
        source: IPv6Address(value: 0xfe80 << 112 | 1),
        destination: IPv6Address(value: 0xfe80 << 112 | 2),
        nextHeader: IPProtocol.udp,
        payloadLength: 1460
    )

    /// RFC 1122 section 3.2.2.
    @Test func answersOnlyWhereIPv4Allows() {
        #expect(answers4 { _ in })
        #expect(!answers4 { $0.fragment |= 5 }, "a later fragment")
        #expect(answers4 { $0.fragment |= 0x2000 }, "a first fragment")
        #expect(!answers4 { $0.source = .unspecified })
        #expect(!answers4 { $0.destination = IPv4Address(value: 0xe000_0001) })
        #expect(!answers4 { $0.destination = IPv4Address(value: .max) })
        let answered = (UInt8.min ... .max).filter { type in answers4([type]) { $0.protocolNumber = IPProtocol.icmp } }
        #expect(Set(UInt8.min ... .max).subtracting(answered) == [3, 4, 5, 11, 12])
        #expect(!answers4([]) { $0.protocolNumber = IPProtocol.icmp })
    }

    /// RFC 4443 section 2.4 (e).
    @Test func answersOnlyWhereIPv6Allows() {
        #expect(answers6 { _ in })
        #expect(answers6 { $0.destination = .allNodes }, "a group's path has an MTU too")
        #expect(!answers6 { $0.source = .unspecified })
        #expect(!answers6 { $0.source = .allNodes })
        let answered = (UInt8.min ... .max).filter { answers6([$0], IPProtocol.icmpv6) { _ in } }
        #expect(Set(UInt8.min ... .max).subtracting(answered) == Set(0..<128).union([137]))
        #expect(!answers6([], IPProtocol.icmpv6) { _ in })
    }

    @Test func quotesNoMoreThanHasRoom() {
        let packet = [UInt8](repeating: 7, count: 1500)
        packet.withUnsafeBytes { packet in
            let four = written(ICMPError.greatestLength4) { space in
                let message = FragmentationNeeded.message(mtu: 1450)
                #expect(message.write(quoting: packet, to: space) == 576 - IPv4Header.length)
            }
            #expect(four.last == 7)
            let (source, destination) = (six.source, six.destination)
            let six = written(ICMPError.greatestLength6) { space in
                let message = PacketTooBig.message(mtu: 1450)
                let length = message.write(quoting: packet, source: source, destination: destination, to: space)
                #expect(length == 1280 - IPv6Header.length)
            }
            #expect(six.last == 7)
        }
    }

    private func answers4(_ transport: [UInt8] = [0xc0, 1], _ edit: (inout IPv4Header) -> Void) -> Bool {
        var header = four
        edit(&header)
        return transport.withUnsafeBytes { ICMPError.mayAnswer(header, transport: $0) }
    }

    private func answers6(
        _ transport: [UInt8] = [0xc0, 1],
        _ number: UInt8 = IPProtocol.udp,
        _ edit: (inout IPv6Header) -> Void
    ) -> Bool {
        var header = six
        edit(&header)
        return transport.withUnsafeBytes { ICMPError.mayAnswer(header, protocol: number, transport: $0) }
    }
}
