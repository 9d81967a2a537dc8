import Foundation
import Seeds
import Testing
import Wire

/// A row of Golden/packets.txt: what scapy makes (Tests/Interop/test_wire_formats.py).
struct GoldenPacket: CustomTestStringConvertible, Sendable {
    let format: String
    let verdict: Character
    let text: String
    let bytes: [UInt8]

    var testDescription: String { "\(format) \(verdict) \(text) \(bytes.count) bytes" }

    static let all: [GoldenPacket] = {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        let text = try! String(contentsOf: folder.appendingPathComponent("Golden/packets.txt"), encoding: .utf8)
        let lines = text.split(separator: "\n")
        return lines.filter { !$0.hasPrefix("#") }.map(GoldenPacket.init)
    }()

    static let read = all.filter { WireFormat(rawValue: $0.format) != nil }

    private init(_ line: Substring) {
        let columns = line.split(separator: "\t", omittingEmptySubsequences: false)
        format = String(columns[0])
        verdict = columns[1].first!
        text = String(columns[2])
        let digits = Array(columns[3])
        bytes = stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16)! }
    }

    var reading: WireReading { WireReading(WireFormat(rawValue: format)!, bytes) }
}

/// Every format beside scapy, cut short everywhere, and beside chance.
@Suite struct WireFormatTests {
    @Test(arguments: GoldenPacket.read)
    func readsAndWritesWhatScapyMakes(packet: GoldenPacket) {
        switch packet.reading {
        case .refused(let fault):
            #expect(packet.verdict == "!")
            #expect(packet.text == String(describing: fault))
        case .read(let text, let rewritten):
            #expect(packet.text == text)
            if packet.verdict == "=" { #expect(rewritten == packet.bytes) }
        }
    }

    @Test func coversEveryFormatAndEveryReason() {
        let formats = Set(GoldenPacket.read.filter { $0.verdict == "=" }.map(\.format))
        #expect(formats == Set(WireFormat.allCases.map(\.rawValue)))
        let reasons = Set(GoldenPacket.read.filter { $0.verdict == "!" }.map(\.text))
        #expect(reasons == Set(HeaderFault.allCases.map { String(describing: $0) }))
    }

    @Test(arguments: GoldenPacket.read.filter { $0.verdict != "!" })
    func refusesWhatIsCutShortAnywhere(packet: GoldenPacket) {
        for count in 0..<packet.bytes.count {
            let reading = WireReading(WireFormat(rawValue: packet.format)!, Array(packet.bytes[..<count]))
            guard case .refused = reading else {
                Issue.record("read of \(count) bytes: \(reading)")
                return
            }
        }
    }

    @Test(arguments: GoldenPacket.read.filter { ["ipv4", "udp", "fragmentationNeeded"].contains($0.format) })
    func neverTakesPaddingForThePacket(packet: GoldenPacket) {
        guard packet.verdict == "=" else { return }
        let padded = WireReading(WireFormat(rawValue: packet.format)!, packet.bytes + [0, 1, 2, 3])
        #expect(padded == .read(text: packet.text, rewritten: packet.bytes))
    }

    /// What is read of any bytes can be written, and reads the same again.
    @Test(arguments: seeds)
    func readsTheSameAgainOfWhatItWrites(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var read = 0
        for _ in 0..<20_000 {
            let packet = GoldenPacket.read.randomElement(using: &random)!
            let format = WireFormat(rawValue: packet.format)!
            var bytes = packet.bytes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[.random(in: 0..<bytes.count, using: &random)] = .random(in: .min ... .max, using: &random)
            }
            guard case .read(let text, let rewritten?) = WireReading(format, bytes) else { continue }
            read += 1
            #expect(WireReading(format, rewritten) == .read(text: text, rewritten: rewritten), "seed \(seed), \(bytes)")
        }
        #expect(read > 1000, "seed \(seed)")
    }

    @Test(arguments: WireFormat.allCases, seeds)
    func readsNothingBeyondRandomBytes(format: WireFormat, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<2000 {
            let count = Int.random(in: 0...100, using: &random)
            _ = WireReading(format, (0..<count).map { _ in .random(in: .min ... .max, using: &random) })
        }
    }

    @Test(arguments: GoldenPacket.all.filter { $0.format == "ethernet" })
    func writesTheHeaderOfAFrame(packet: GoldenPacket) {
        let fields = packet.text.split(separator: " ").map { $0.split(separator: "=") }
        let values = Dictionary(uniqueKeysWithValues: fields.map { ($0[0], UInt64($0[1], radix: 16)!) })
        let header = EthernetHeader(
            destination: MACAddress(value: values["destination"]!),
            source: MACAddress(value: values["source"]!),
            tagControl: values["tag"].map { UInt16($0) },
            type: UInt16(values["type"]!)
        )
        #expect(written(header.length, header.write) == packet.bytes)
    }

    /// In a packet of several segments the length is the frame's; the header must be at hand, its options too.
    @Test(arguments: GoldenPacket.read.filter { $0.format == "ipv4" && $0.verdict != "!" })
    func readsAHeaderWhosePayloadLiesInOtherSegments(packet: GoldenPacket) {
        let headerLength = Int(packet.bytes[0] & 0xf) * 4
        for count in 0...packet.bytes.count {
            let segment = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
            defer { segment.deallocate() }
            segment.copyBytes(from: packet.bytes[..<count])
            var fault: HeaderFault?
            let header = IPv4Header(UnsafeRawBufferPointer(segment), length: packet.bytes.count, fault: &fault)
            #expect((header == nil) == (count < headerLength))
            #expect(fault == (count < headerLength ? .truncated : nil))
        }
    }

    /// Messages are checked as a whole: one that lies in other segments, in part, is not read.
    @Test(
        arguments: GoldenPacket.all.filter {
            ["discovery", "packetTooBig"].contains($0.format) && $0.verdict == "="
        }
    )
    func refusesAMessageThatIsNotAllAtHand(packet: GoldenPacket) throws {
        var none: HeaderFault?
        let header = try #require(
            packet.bytes.withUnsafeBytes { IPv6Header($0, length: packet.bytes.count, fault: &none) }
        )
        for count in 0..<Int(header.payloadLength) {
            let message = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
            defer { message.deallocate() }
            message.copyBytes(from: packet.bytes[40..<40 + count])
            var fault: HeaderFault?
            let isRead =
                packet.format == "discovery"
                ? NeighborDiscovery(UnsafeRawBufferPointer(message), in: header, fault: &fault) != nil
                : PacketTooBig(UnsafeRawBufferPointer(message), in: header, fault: &fault) != nil
            #expect(!isRead && fault == .truncated)
        }
    }
}
