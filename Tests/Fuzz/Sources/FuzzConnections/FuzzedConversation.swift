import Dataplane
import Wire

/// What some ends say to each other, as the fuzzer's octets tell them to: nearly what they should, or spoilt.
struct FuzzedConversation {
    /// What of TCP each end sends next.
    private var sequences: InlineArray<4, UInt32> = [1000, 2000, 3000, 4000]
    private var last: [UInt8] = []

    /// A connection of TCP from behind port 1 to the host that is not filtered, so that much can be said in few octets.
    mutating func open() {
        for octets: [UInt8] in [[8, 2 << 3, 0, 0, 0, 0], [2, 18 << 3, 0x40, 0, 0, 0], [8, 16 << 3, 0, 0, 0, 0]] {
            run(octets)
        }
    }

    /// Six octets for a packet: who, which protocol, what of it, numbers, and what is spoilt. Some wait first.
    mutating func run(_ words: [UInt8]) {
        let from = Int(words[0] & 3)
        var packet = packet(words, from: from, to: Int(words[0] >> 2 & 3))
        last = packet.packet
        if words[0] & 0x80 != 0 { packet.content = Array(packet.content.prefix(Int(words[4]))) }
        let cuts = words[5] < 0x80 ? [] : [Int(words[5] & 0x7f)]
        let frame = Frame(spoilt(packet.bytes, words[4], words[5]), segments: cuts)
        let port = words[0] & 0x40 == 0 ? UInt16(from) : UInt16(words[3]) % GroupSwitch.portCount
        if words[1] == 0xff { GroupSwitch.one.now &+= UInt32(words[2]) }
        GroupSwitch.one.receive([frame], from: port)
    }

    private mutating func packet(_ words: [UInt8], from: Int, to: Int) -> CraftedPacket {
        let isIPv6 = words[0] & 0x10 != 0
        let (ports, icmp) = (Self.ports(words[2]), isIPv6 ? IPProtocol.icmpv6 : IPProtocol.icmp)
        let (number, content): (UInt8, [UInt8]) =
            switch words[1] & 7 {
            case 0...3: (IPProtocol.tcp, segment(words, from, to, ports))
            case 4: (IPProtocol.udp, CraftedPacket.udp(ports.source, ports.destination))
            case 5: (icmp, [words[2], words[3] & 3, 0, 0, 0, words[4] & 3, 0, 0])
            // About what somebody said last, as far as it is quoted.
            case 6: (icmp, [words[2] & 15, 0, 0, 0, 0, 0, 0, 0] + last.prefix(Int(words[3])))
            default: (words[2], Array(words[2...5]) + last)
            }
        return CraftedPacket(isIPv6: isIPv6, from: from, to: to, number: number, content: content)
    }

    private static func ports(_ word: UInt8) -> (source: UInt16, destination: UInt16) {
        let (client, service) = (UInt16(40_000 + UInt16(word & 15)), UInt16(80 + UInt16(word >> 4 & 3)))
        if word & 0xc0 == 0xc0 { return (0, service) }
        return word & 0x40 == 0 ? (client, service) : (service, client)
    }

    private mutating func segment(
        _ words: [UInt8],
        _ from: Int,
        _ to: Int,
        _ ports: (source: UInt16, destination: UInt16)
    ) -> [UInt8] {
        let flags = words[1] >> 3 | (words[0] & 0x20)
        let shifts: [UInt32] = [0, 0, 0, 1, .max, 1000, 70_000, 1 << 31]
        let payload = words[3] & 1 == 0 ? [] : Self.line(words[5])
        let sequence = sequences[from] &+ shifts[Int(words[3] >> 1 & 7)]
        let content = CraftedPacket.tcp(
            ports.source,
            ports.destination,
            flags: flags,
            sequence: sequence,
            acknowledgment: sequences[to] &+ shifts[Int(words[3] >> 4 & 7)],
            payload: payload
        )
        // SYN and FIN are numbers too.
        sequences[from] &+= UInt32(payload.count) &+ UInt32(flags & 1) &+ UInt32(flags >> 1 & 1)
        return content
    }

    /// What FTP's ends say of data connections, to the ports that others use too, or nearly that.
    private static func line(_ word: UInt8) -> [UInt8] {
        let lines = [
            "PORT 10,0,0,1,0,80\r\n", "227 (10,0,0,2,156,65)\r\n", "EPRT |1|10.0.0.1|81|\r\n", "229 (|||82|)\r\n",
            "EPRT |2|2001:db8::1|80|\r\n", "PORT 10,0,0,2,156,64\r\n", "EPRT |2|", "NOOP\r\n",
        ]
        var line = Array(lines[Int(word & 7)].utf8)
        if word & 0x80 != 0 { line[Int(word >> 3 & 15) % line.count] ^= word }
        return line
    }

    /// One octet of four frames is another.
    private func spoilt(_ bytes: [UInt8], _ place: UInt8, _ change: UInt8) -> [UInt8] {
        guard place & 3 == 3, Int(place >> 1) < bytes.count else { return bytes }
        var bytes = bytes
        bytes[Int(place >> 1)] ^= change
        return bytes
    }
}
