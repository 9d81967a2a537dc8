import Dataplane
import Seeds
import Testing
import Wire

@testable import Control

@Suite struct EndpointHostTests {
    private static let mac = MACAddress("02:00:00:00:0e:01")!
    private static let station = MACAddress("02:00:00:00:0e:02")!
    private static let own4 = IPAddress("192.0.2.1")!, other4 = IPAddress("192.0.2.2")!
    private static let own6 = IPAddress("2001:db8::1")!, other6 = IPAddress("2001:db8::2")!

    private func host(_ prefix: String) -> EndpointHost {
        EndpointHost(EndpointOptions(prefix: IPPrefix(prefix)!, mac: Self.mac))
    }

    private func frame(_ type: UInt16, to destination: MACAddress = Self.mac, _ parts: [UInt8]...) -> [UInt8] {
        let header = EthernetHeader(destination: destination, source: Self.station, type: type)
        return [UInt8](count: 14) { header.write(to: $0) } + parts.joined()
    }

    private func arp(_ operation: ARP.Operation, from sender: IPAddress, to target: IPAddress) -> [UInt8] {
        let arp = ARP(
            operation,
            senderMACAddress: Self.station,
            senderAddress: sender.ipv4!,
            targetAddress: target.ipv4!
        )
        return frame(EtherType.arp, [UInt8](count: ARP.length) { arp.write(to: $0) })
    }

    private func readARP(_ frame: [UInt8]) throws -> ARP {
        var fault: HeaderFault?
        #expect(frame.count == 60)
        return try #require(frame[14...].withUnsafeBytes { ARP($0, fault: &fault) })
    }

    private func discovery(_ message: NeighborDiscovery, from source: IPAddress, to target: IPv6Address) -> [UInt8] {
        let ip = IPv6Header(
            source: source.ipv6!,
            destination: target,
            nextHeader: IPProtocol.icmpv6,
            payloadLength: message.length,
            hopLimit: 255
        )
        let payload = [UInt8](count: message.length) {
            message.write(to: $0, source: source.ipv6!, destination: target)
        }
        return frame(EtherType.ipv6, [UInt8](count: 40) { ip.write(to: $0) }, payload)
    }

    /// Every checksum of a frame that is sent is looked at by these readers.
    private func readDiscovery(_ frame: [UInt8]) throws -> (NeighborDiscovery, IPv6Header) {
        var fault: HeaderFault?
        return try frame[14...].withUnsafeBytes { bytes in
            let header = try #require(IPv6Header(bytes, length: bytes.count, fault: &fault))
            let rest = UnsafeRawBufferPointer(rebasing: bytes[40...])
            return (try #require(NeighborDiscovery(rest, in: header, fault: &fault)), header)
        }
    }

    @Test func answersWhoAsksForItsAddress() throws {
        var host = host("192.0.2.1/24")
        for sender in [Self.other4, IPAddress("0.0.0.0")!] {
            let deeds = host.receive(arp(.request, from: sender, to: Self.own4), now: 0)
            guard case .send(let answer)? = deeds.first, deeds.count == 1 else {
                Issue.record("\(deeds)")
                return
            }
            let reply = try readARP(answer)
            #expect(reply.operation == .reply && reply.senderMACAddress == Self.mac)
            #expect(reply.senderAddress == Self.own4.ipv4 && reply.targetMACAddress == Self.station)
        }
        #expect(host.receive(arp(.request, from: Self.other4, to: Self.other4), now: 0) == [])
        #expect(host.receive(arp(.request, from: Self.own4, to: Self.own4), now: 0) == [])
        #expect(host.receive(arp(.reply, from: Self.other4, to: Self.own4), now: 0) == [], "nobody asked")
    }

    @Test func findsANeighborAsksAgainAndForgetsIt() throws {
        var host = host("192.0.2.1/24")
        func tick(_ now: UInt64, idle: UInt64 = 0) -> [EndpointHost.Deed] {
            host.tick([(Self.other4, idle)], now: now)
        }
        func asks(_ deeds: [EndpointHost.Deed]) throws -> MACAddress? {
            guard case .send(let question)? = deeds.last else { return nil }
            let arp = try readARP(question)
            #expect(arp.operation == .request && arp.targetAddress == Self.other4.ipv4)
            return question.withUnsafeBytes { MACAddress(value: HeaderBytes($0, 6)!.number48(at: 0)) }
        }
        #expect(try asks(tick(0)) == .broadcast)
        #expect(tick(999) == [])
        #expect(try asks(tick(1000)) == .broadcast)
        #expect(try asks(tick(2000)) == .broadcast)
        // Given up, and asked again later.
        #expect(tick(6999) == [])
        #expect(try asks(tick(7000)) == .broadcast)
        let answer = arp(.reply, from: Self.other4, to: Self.own4)
        #expect(host.receive(answer, now: 7001) == [.set(Self.other4, Self.station)])
        #expect(host.receive(answer, now: 7002) == [])
        #expect(tick(27_001) == [])
        #expect(tick(27_002, idle: 21_000) == [], "nobody sends there")
        #expect(try asks(tick(27_003)) == Self.station)
        #expect(tick(27_500) == [])
        // As long as packets go there, and soon whoever has the address.
        for second: UInt64 in 28...36 {
            #expect(try asks(tick(second * 1000 + 3)) == (second < 30 ? Self.station : .broadcast))
        }
        let lost = tick(37_002)
        #expect(lost.first == .set(Self.other4, nil))
        #expect(try asks(lost) == .broadcast)
        #expect(host.receive(answer, now: 37_010) == [.set(Self.other4, Self.station)])
        #expect(tick(98_000, idle: 60_000) == [.forget(Self.other4)])
        #expect(host.receive(answer, now: 98_001) == [])
    }

    @Test func followsANeighborThatGetsAnotherStation() {
        var host = host("192.0.2.1/24")
        _ = host.tick([(Self.other4, 0)], now: 0)
        let answer = arp(.reply, from: Self.other4, to: Self.own4)
        #expect(host.receive(answer, now: 1) == [.set(Self.other4, Self.station)])
        let other = MACAddress("02:00:00:00:0e:03")!
        let announced = answer.withUnsafeBytes { bytes in
            let header = EthernetHeader(destination: other, source: other, type: 0)
            return bytes[..<22] + [UInt8](count: 14) { header.write(to: $0) }[..<6] + bytes[28...]
        }
        #expect(host.receive(Array(announced), now: 2) == [.set(Self.other4, other)])
    }

    @Test func asksForExpectedNeighborsBeforeAnybodySendsThere() throws {
        var host = host("192.0.2.1/24")
        host.expected = [Self.other4]
        #expect(host.tick([], now: 0) == [.name(Self.other4)])
        let answer = arp(.reply, from: Self.other4, to: Self.own4)
        for (asked, destination) in [(UInt64(10), MACAddress.broadcast), (20_011, Self.station)] {
            guard case .send(let question)? = host.tick([(Self.other4, nil)], now: asked).first else {
                Issue.record("no question at \(asked)")
                return
            }
            #expect(question.withUnsafeBytes { HeaderBytes($0, 6)!.number48(at: 0) } == destination.value)
            let news = host.receive(answer, now: asked + 1)
            #expect(news == (asked == 10 ? [.set(Self.other4, Self.station)] : []))
        }
        #expect(host.tick([(Self.other4, 3_600_000)], now: 20_013) == [])
        host.expected = []
        #expect(host.tick([(Self.other4, nil)], now: 20_014) == [.forget(Self.other4)])
    }

    /// No storm of requests for hosts that are dead.
    @Test func pausesLongerForExpectedNeighborsThatDoNotAnswer() {
        var host = host("10.0.0.1/8")
        let dead = (0..<512).map { IPAddress(IPv4Address(value: 0x0a01_0000 + $0)) }
        host.expected = Set(dead)
        var questions = (first: 0, all: 0)
        for turn in 0..<UInt64(7200) {
            let count = host.tick(dead.map { ($0, nil) }, now: turn * 500).count
            #expect(count <= 128)
            if turn < 4 { questions.first += count }
            questions.all += count
        }
        #expect(questions.first == 512, "each within two seconds")
        #expect(questions.all < 512 * 24, "in an hour")
        // Who is sent to after all is asked for again soon.
        #expect(host.tick([(dead[0], 0)], now: 3_605_000).contains { if case .send = $0 { true } else { false } })
    }

    @Test func speaksNeighborDiscovery() throws {
        var host = host("2001:db8::1/64")
        #expect(try readDiscovery(host.greeting()).0.overrides)
        guard case .send(let question)? = host.tick([(Self.other6, 0)], now: 0).first else {
            Issue.record("no question")
            return
        }
        let (asked, header) = try readDiscovery(question)
        #expect(asked.kind == .solicitation && asked.target == Self.other6.ipv6)
        #expect(header.destination == Self.other6.ipv6!.solicitedNode && asked.linkLayerAddress == Self.mac)
        var answer = NeighborDiscovery(.advertisement, target: Self.other6.ipv6!, linkLayerAddress: Self.station)
        answer.isSolicited = true
        let reply = discovery(answer, from: Self.other6, to: Self.own6.ipv6!)
        #expect(host.receive(reply, now: 1) == [.set(Self.other6, Self.station)])

        let probe = NeighborDiscovery(.solicitation, target: Self.own6.ipv6!, linkLayerAddress: nil)
        let group = Self.own6.ipv6!.solicitedNode
        for (source, message) in [
            (Self.other6, NeighborDiscovery(.solicitation, target: Self.own6.ipv6!, linkLayerAddress: Self.station)),
            (IPAddress("::")!, probe),
        ] {
            guard case .send(let frame)? = host.receive(discovery(message, from: source, to: group), now: 2).last else {
                Issue.record("no answer to \(source)")
                continue
            }
            let (given, header) = try readDiscovery(frame)
            #expect(given.kind == .advertisement && given.linkLayerAddress == Self.mac && given.overrides)
            #expect(given.isSolicited == !source.isUnspecified)
            #expect(header.destination == (source.isUnspecified ? .allNodes : source.ipv6))
        }
    }

    @Test func takesAnAnswerWithoutAStationForThatOfTheNeighborItKnows() {
        var host = host("2001:db8::1/64")
        func reply(_ station: MACAddress?, isSolicited: Bool = true) -> [UInt8] {
            var answer = NeighborDiscovery(.advertisement, target: Self.other6.ipv6!, linkLayerAddress: station)
            answer.isSolicited = isSolicited
            return discovery(answer, from: Self.other6, to: Self.own6.ipv6!)
        }
        let used = [(address: Self.other6, idle: UInt64?(0))]
        #expect(host.tick(used, now: 0).count == 1)
        #expect(host.receive(reply(nil), now: 1) == [], "nobody knows whose it is")
        #expect(host.receive(reply(Self.station), now: 2) == [.set(Self.other6, Self.station)])
        #expect(host.tick(used, now: 20_002).count == 1)
        #expect(host.receive(reply(nil), now: 20_003) == [])
        #expect(host.tick(used, now: 30_003) == [], "it has answered meanwhile")
        #expect(host.tick(used, now: 40_003).count == 1)
        #expect(host.receive(reply(nil, isSolicited: false), now: 40_004) == [])
        #expect(host.tick(used, now: 50_003).first == .set(Self.other6, nil), "that was no answer")
    }

    @Test func answersEchoRequestsThatAreAsTheyWereSent() throws {
        let echo: [UInt8] = [8, 0, 0, 0, 0x12, 0x34, 0, 1, 9, 8, 7]
        var sum = InternetChecksum()
        echo.withUnsafeBytes { sum.add($0) }
        var request = echo
        request.replaceSubrange(2..<4, with: [UInt8(sum.value >> 8), UInt8(sum.value & 0xff)])
        let ip = IPv4Header(
            source: Self.other4.ipv4!,
            destination: Self.own4.ipv4!,
            protocol: IPProtocol.icmp,
            payloadLength: request.count
        )
        let header = [UInt8](count: IPv4Header.length) { ip.write(to: $0) }
        var host = host("192.0.2.1/24")
        guard case .send(let answer)? = host.receive(frame(EtherType.ipv4, header, request), now: 0).first else {
            Issue.record("no answer")
            return
        }
        let reply = answer[34..<34 + request.count]
        #expect(Array(reply.prefix(2)) == [0, 0] && Array(reply.dropFirst(4)) == Array(request.dropFirst(4)))
        var check = InternetChecksum()
        Array(reply).withUnsafeBytes { check.add($0) }
        #expect(check.isRight)
        request[9] ^= 1
        #expect(host.receive(frame(EtherType.ipv4, header, request), now: 0) == [])
    }

    @Test func survivesAnyFrame() {
        for seed in seeds {
            var random = SeededGenerator(seed: seed)
            var (host4, host6) = (host("192.0.2.1/24"), host("2001:db8::1/64"))
            _ = (host4.tick([(Self.other4, 0)], now: 0), host6.tick([(Self.other6, 0)], now: 0))
            let solicitation = NeighborDiscovery(.solicitation, target: Self.own6.ipv6!, linkLayerAddress: Self.station)
            let known = [
                arp(.request, from: Self.other4, to: Self.own4),
                discovery(solicitation, from: Self.other6, to: Self.own6.ipv6!.solicitedNode),
                frame(EtherType.ipv4, [UInt8](repeating: 0x45, count: 40)),
            ]
            for turn in 0..<3000 {
                var frame = known[turn % known.count]
                for _ in 0..<Int.random(in: 0...4, using: &random) {
                    frame[Int.random(in: 12..<frame.count, using: &random)] = .random(in: 0...255, using: &random)
                }
                frame.removeLast(Int.random(in: 0...frame.count, using: &random))
                for deed in host4.receive(frame, now: 1) + host6.receive(frame, now: 1) {
                    guard case .set(let address, _) = deed else { continue }
                    #expect(address == Self.other4 || address == Self.other6, "seed \(seed)")
                }
            }
        }
    }
}
