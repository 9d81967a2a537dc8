import Dataplane
import Wire

/// The switch as a host on a wire: it answers who asks for its address, and finds the stations of its neighbors.
///
/// A value without a clock or a port: frames and milliseconds go in, frames and news of neighbors come out.
struct EndpointHost {
    /// What the host wants done.
    enum Deed: Equatable {
        case send([UInt8])
        /// A neighbor's station is known, or not any more.
        case set(IPAddress, MACAddress?)
        /// A neighbor will be sent to.
        case name(IPAddress)
        /// Nobody sends there.
        case forget(IPAddress)
    }

    /// Milliseconds, as RFC 4861 section 10 and RFC 1122 section 2.3.2.1 have them.
    enum Interval {
        /// Between two questions.
        static let question: UInt64 = 1000
        /// A neighbor that answered is asked again, if somebody sends there.
        static let refresh: UInt64 = 20_000
        /// A neighbor that does not answer is given up.
        static let lifetime: UInt64 = 30_000
        /// One that never answered is asked again, if somebody sends there.
        static let retry: UInt64 = 5000
        /// For one that nobody sends to the pause doubles so often, to five minutes.
        static let retryDoublings = 6
        /// One that nobody sends to is forgotten.
        static let silence: UInt64 = 60_000
    }

    private static let questionLimit = 3
    /// Questions of a tick for neighbors that nobody sends to: of 500 a second's worth is asked in two.
    private static let earlyQuestionLimit = 128

    private struct Neighbor {
        var mac: MACAddress?
        /// When it last answered.
        var confirmed: UInt64 = 0
        /// When it was last asked, and how often in vain.
        var asked: UInt64 = 0
        var questions = 0

        /// Whether it may be asked again.
        func isDue(isUsed: Bool, now: UInt64) -> Bool {
            guard questions > 0 else { return true }
            // One that answered before is asked until it is given up: its packets are lost then.
            guard mac == nil, questions >= EndpointHost.questionLimit else { return now >= asked + Interval.question }
            let doublings = isUsed ? 0 : min(questions - EndpointHost.questionLimit, Interval.retryDoublings)
            return now >= asked + Interval.retry << UInt64(doublings)
        }
    }

    let options: EndpointOptions
    /// Neighbors that are asked for before anybody sends to them, and kept.
    var expected: Set<IPAddress> = []
    private var neighbors: [IPAddress: Neighbor] = [:]
    private var address: IPAddress { options.prefix.address }

    init(_ options: EndpointOptions) { self.options = options }

    // MARK: - Time

    /// - Parameters:
    ///   - named: the neighbors that have a name, and the milliseconds since workers last sent there; nil when none has.
    mutating func tick(_ named: [(address: IPAddress, idle: UInt64?)], now: UInt64) -> [Deed] {
        let known = Set(named.map(\.address))
        for gone in neighbors.keys where !known.contains(gone) { neighbors[gone] = nil }
        var deeds = expected.subtracting(known).map(Deed.name)
        var earlyQuestions = 0
        for (address, idle) in named {
            let isUsed = (idle ?? .max) <= Interval.refresh
            guard expected.contains(address) || (idle ?? .max) < Interval.silence else {
                neighbors[address] = nil
                deeds.append(.forget(address))
                continue
            }
            deeds += age(address, now: now)
            guard isUsed || expected.contains(address) && earlyQuestions < Self.earlyQuestionLimit,
                let question = nextQuestion(for: address, isUsed: isUsed, now: now)
            else { continue }
            if !isUsed { earlyQuestions += 1 }
            deeds.append(.send(question))
        }
        return deeds
    }

    /// Gives a neighbor up that has not answered for too long.
    private mutating func age(_ address: IPAddress, now: UInt64) -> [Deed] {
        let neighbor = neighbors[address, default: Neighbor()]
        guard neighbor.mac != nil, now - neighbor.confirmed >= Interval.lifetime else { return [] }
        neighbors[address] = Neighbor()
        return [.set(address, nil)]
    }

    /// What asks for a neighbor when it is time; nil when it is not.
    private mutating func nextQuestion(for address: IPAddress, isUsed: Bool, now: UInt64) -> [UInt8]? {
        var neighbor = neighbors[address, default: Neighbor()]
        guard neighbor.mac == nil || now - neighbor.confirmed >= Interval.refresh,
            neighbor.isDue(isUsed: isUsed, now: now)
        else { return nil }
        // One that keeps silent may have another station by now.
        let station = neighbor.questions < Self.questionLimit ? neighbor.mac : nil
        neighbor.questions += 1
        neighbor.asked = now
        neighbors[address] = neighbor
        return question(address, station)
    }

    /// What the host says first: where its address is.
    func greeting() -> [UInt8] {
        if let own = address.ipv4 {
            let arp = ARP(.request, senderMACAddress: options.mac, senderAddress: own, targetAddress: own)
            return arpFrame(arp, to: .broadcast)
        }
        var message = NeighborDiscovery(.advertisement, target: address.ipv6!, linkLayerAddress: options.mac)
        message.overrides = true
        return discoveryFrame(message, to: .allNodes, at: IPv6Address.allNodes.groupMACAddress)
    }

    // MARK: - Frames

    /// - Parameter frame: as it left the bridge.
    mutating func receive(_ frame: [UInt8], now: UInt64) -> [Deed] {
        frame.withUnsafeBytes { bytes in
            guard let header = HeaderBytes(bytes, 14) else { return [] }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[14...])
            let sender = MACAddress(value: header.number48(at: 6))
            switch header.number16(at: 12) {
            case EtherType.arp: return receiveARP(rest, now: now)
            case EtherType.ipv4: return receiveIPv4(rest, from: sender)
            case EtherType.ipv6: return receiveIPv6(rest, from: sender, now: now)
            default: return []
            }
        }
    }

    /// RFC 826, and RFC 5227 for whoever probes for the address.
    private mutating func receiveARP(_ bytes: UnsafeRawBufferPointer, now: UInt64) -> [Deed] {
        var fault: HeaderFault?
        guard let arp = ARP(bytes, fault: &fault), let own = address.ipv4, arp.senderMACAddress.isStation else {
            return []
        }
        var deeds = confirm(IPAddress(arp.senderAddress), arp.senderMACAddress, now: now)
        if arp.operation == .request && arp.targetAddress == own && arp.senderAddress != own {
            deeds.append(.send(arpFrame(arp.reply(from: options.mac), to: arp.senderMACAddress)))
        }
        return deeds
    }

    /// Only what somebody asked for is taken: a neighbor that was never asked for is none.
    private mutating func confirm(_ address: IPAddress, _ mac: MACAddress, now: UInt64) -> [Deed] {
        guard var neighbor = neighbors[address] else { return [] }
        let isNews = neighbor.mac != mac
        neighbor = Neighbor(mac: mac, confirmed: now)
        neighbors[address] = neighbor
        return isNews ? [.set(address, mac)] : []
    }

    /// Echo requests alone (RFC 1122 section 3.2.2.6).
    private func receiveIPv4(_ bytes: UnsafeRawBufferPointer, from sender: MACAddress) -> [Deed] {
        var fault: HeaderFault?
        guard let header = IPv4Header(bytes, length: bytes.count, fault: &fault), let own = address.ipv4,
            header.destination == own, header.source.isStation, header.protocolNumber == IPProtocol.icmp,
            !header.isFragment,
            let message = echo(
                bytes[header.headerLength..<Int(header.totalLength)],
                request: 8,
                reply: 0,
                InternetChecksum()
            )
        else { return [] }
        let ip = IPv4Header(
            source: own,
            destination: header.source,
            protocol: IPProtocol.icmp,
            payloadLength: message.count,
            tos: header.tos
        )
        let header4 = [UInt8](count: IPv4Header.length) { ip.write(to: $0) }
        return [.send(frame(to: sender, EtherType.ipv4, header4 + message))]
    }

    private mutating func receiveIPv6(_ bytes: UnsafeRawBufferPointer, from sender: MACAddress, now: UInt64) -> [Deed] {
        var fault: HeaderFault?
        guard let header = IPv6Header(bytes, length: bytes.count, fault: &fault), let own = address.ipv6,
            header.nextHeader == IPProtocol.icmpv6
        else { return [] }
        let rest = UnsafeRawBufferPointer(rebasing: bytes[IPv6Header.length...])
        if let message = NeighborDiscovery(rest, in: header, fault: &fault) {
            return receive(message, header, own, from: sender, now: now)
        }
        // The same for both ways: the sum has no order.
        let addresses = InternetChecksum(
            source: own,
            destination: header.source,
            protocol: IPProtocol.icmpv6,
            length: Int(header.payloadLength)
        )
        guard header.destination == own, header.source.isStation,
            let message = echo(rest[..<Int(header.payloadLength)], request: 128, reply: 129, addresses)
        else { return [] }
        let ip = IPv6Header(
            source: own,
            destination: header.source,
            nextHeader: IPProtocol.icmpv6,
            payloadLength: message.count,
            trafficClass: header.trafficClass
        )
        let header6 = [UInt8](count: IPv6Header.length) { ip.write(to: $0) }
        return [.send(frame(to: sender, EtherType.ipv6, header6 + message))]
    }

    /// RFC 4861 sections 7.2.3 to 7.2.5.
    private mutating func receive(
        _ message: NeighborDiscovery,
        _ header: IPv6Header,
        _ own: IPv6Address,
        from sender: MACAddress,
        now: UInt64
    ) -> [Deed] {
        switch message.kind {
        case .advertisement:
            let target = IPAddress(message.target)
            // Who was asked alone, and so is known, may leave its station out (section 4.4); Linux does.
            let known = message.isSolicited ? neighbors[target]?.mac : nil
            guard let mac = message.linkLayerAddress ?? known, mac.isStation else { return [] }
            return confirm(target, mac, now: now)
        case .solicitation:
            var deeds: [Deed] = []
            if let mac = message.linkLayerAddress, mac.isStation {
                deeds += confirm(IPAddress(header.source), mac, now: now)
            }
            guard message.target == own else { return deeds }
            let (answer, destination) = message.answer(
                to: header.source,
                linkLayerAddress: options.mac,
                isRouter: false
            )
            let station = destination.isMulticast ? destination.groupMACAddress : message.linkLayerAddress ?? sender
            deeds.append(.send(discoveryFrame(answer, to: destination, at: station)))
            return deeds
        }
    }

    // MARK: - Writing

    /// Who is asked: everybody at first, the station that is known later.
    private func question(_ target: IPAddress, _ mac: MACAddress?) -> [UInt8] {
        if let own = address.ipv4, let target = target.ipv4 {
            let arp = ARP(.request, senderMACAddress: options.mac, senderAddress: own, targetAddress: target)
            return arpFrame(arp, to: mac ?? .broadcast)
        }
        let target = target.ipv6!
        let message = NeighborDiscovery(.solicitation, target: target, linkLayerAddress: options.mac)
        let group = target.solicitedNode
        return discoveryFrame(message, to: mac == nil ? group : target, at: mac ?? group.groupMACAddress)
    }

    private func arpFrame(_ arp: ARP, to destination: MACAddress) -> [UInt8] {
        frame(to: destination, EtherType.arp, [UInt8](count: ARP.length) { arp.write(to: $0) })
    }

    private func discoveryFrame(
        _ message: NeighborDiscovery,
        to destination: IPv6Address,
        at mac: MACAddress
    ) -> [UInt8] {
        let own = address.ipv6!
        let ip = IPv6Header(
            source: own,
            destination: destination,
            nextHeader: IPProtocol.icmpv6,
            payloadLength: message.length,
            hopLimit: NeighborDiscovery.hopLimit
        )
        let payload = [UInt8](count: message.length) { message.write(to: $0, source: own, destination: destination) }
        return frame(to: mac, EtherType.ipv6, [UInt8](count: IPv6Header.length) { ip.write(to: $0) } + payload)
    }

    /// Not shorter than Ethernet's least, without the frame check sequence.
    private func frame(to destination: MACAddress, _ type: UInt16, _ payload: [UInt8]) -> [UInt8] {
        let header = EthernetHeader(destination: destination, source: options.mac, type: type)
        let frame = [UInt8](count: header.length) { header.write(to: $0) } + payload
        return frame + [UInt8](repeating: 0, count: max(60 - frame.count, 0))
    }

    /// The answer to an echo request; nil for another message, or one that is not as it was sent.
    /// - Parameter pseudo: what the checksum covers beside the message.
    private func echo(
        _ message: Slice<UnsafeRawBufferPointer>,
        request: UInt8,
        reply: UInt8,
        _ pseudo: InternetChecksum
    ) -> [UInt8]? {
        guard message.count >= 8, message.first == request, message[message.startIndex + 1] == 0,
            checksum(of: message, pseudo).isRight
        else { return nil }
        var answer = [UInt8](message)
        answer.replaceSubrange(0..<4, with: [reply, 0, 0, 0])
        let value = checksum(of: answer, pseudo).value
        answer.replaceSubrange(2..<4, with: [UInt8(value >> 8), UInt8(value & 0xff)])
        return answer
    }

    private func checksum(of bytes: some Collection<UInt8>, _ pseudo: InternetChecksum) -> InternetChecksum {
        var checksum = pseudo
        Array(bytes).withUnsafeBytes { checksum.add($0) }
        return checksum
    }
}
