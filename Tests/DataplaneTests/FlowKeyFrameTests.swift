import Flows
import Foundation
import Seeds
import Testing

@testable import Dataplane

/// The flow tables' view of a frame, beside Open vSwitch's own (`ovs-ofctl parse-pcap`).
@Suite struct FlowKeyFrameTests {
    @Test(arguments: seeds)
    func readsEveryFrameAsOpenVSwitchDoes(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let frames = (0..<4000).map { _ in RandomFrame.make(&random) }
        let lines = try OpenVSwitch.flows(of: frames)
        try #require(lines.count == frames.count)
        for (frame, line) in zip(frames, lines) {
            let key = try #require(FlowKey(frame: frame)).printed
            let expected = try OpenVSwitch.key(line)
            guard key == expected else {
                let words = (0..<FlowKey.wordCount).filter { key[$0] != expected[$0] }
                    .map { "word \($0) \(String(key[$0], radix: 16)) \(String(expected[$0], radix: 16))" }
                Issue.record("seed \(seed), frame \(hexadecimal(frame)): \(line): \(words)")
                return
            }
        }
    }

    /// Wherever the first segment ends, the key is that of the whole frame or there is none.
    @Test func neverMistakesAScatteredHeaderForAnotherFrame() {
        var random = SeededGenerator(seed: 1)
        for _ in 0..<500 {
            let frame = RandomFrame.make(&random)
            let whole = FlowKey(frame: frame)
            for cut in 0...frame.count {
                var layout = FrameLayout()
                let key = frame.withUnsafeBytes { bytes in
                    FlowKey(frame: .init(rebasing: bytes[..<cut]), length: frame.count, layout: &layout)
                }
                #expect(key == nil || key == whole, "cut at \(cut): \(hexadecimal(frame))")
            }
        }
    }
}

extension FlowKey {
    fileprivate init?(frame: [UInt8]) {
        var layout = FrameLayout()
        let key = frame.withUnsafeBytes { FlowKey(frame: $0, length: frame.count, layout: &layout) }
        guard let key else { return nil }
        self = key
    }

    /// Without what Open vSwitch reads and does not print: neighbor discovery's flags and the type of its option.
    fileprivate var printed: FlowKey {
        guard get(.ethType) == 0x86dd, get(.nwProto) == 58 else { return self }
        var key = self
        for field in [Field.ndReserved, .ndOptionsType] { key.set(field, 0) }
        return key
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }

/// Open vSwitch's reading of frames.
private enum OpenVSwitch {
    static func flows(of frames: [[UInt8]]) throws -> [String] {
        let file = FileManager.default.temporaryDirectory.appending(path: "martlet-\(UUID().uuidString).pcap")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(capture(frames)).write(to: file)
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/ovs-ofctl")
        process.arguments = ["parse-pcap", file.path]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// The old format (pcap-savefile(5)).
    private static func capture(_ frames: [[UInt8]]) -> [UInt8] {
        func number(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        let header = number(0xa1b2_c3d4) + [2, 0, 4, 0] + number(0) + number(0) + number(65_535) + number(1)
        return frames.reduce(into: header) {
            $0 += number(0) + number(0) + number($1.count) + number($1.count) + $1
        }
    }

    /// The key that a printed flow names. Of a second tag and of MPLS only the former is part of a key.
    static func key(_ line: String) throws -> FlowKey {
        // A flow may match these two in one kind of message each; a packet may have both in either.
        var (source, target): (UInt64?, UInt64?)
        var inner: [Substring: UInt16] = [:]
        var rest: [Substring] = []
        for term in line.split(separator: ",") {
            let parts = term.split(separator: "=", maxSplits: 1)
            switch parts[0] {
            case "dl_vlan1", "dl_vlan_pcp1": inner[parts[0]] = UInt16(parts[1])
            case "vlan_tci1": break
            // No flow can ask for IGMP's.
            case "tp_src" where line.contains("nw_proto=2,"), "tp_dst" where line.contains("nw_proto=2,"): break
            case "nd_sll": source = number(parts[1])
            case "nd_tll": target = number(parts[1])
            case "in_port": break
            case let name where name.hasPrefix("mpls_"): break
            case "mpls": rest.append("dl_type=0x8847")
            case "mplsm": rest.append("dl_type=0x8848")
            default: rest.append(term)
            }
        }
        var key = try FlowText.packet(rest.joined(separator: ","))
        if let vlan = inner["dl_vlan1"] {
            key[1] |= UInt64(FlowKey.vlanPresent | vlan | (inner["dl_vlan_pcp1"] ?? 0) << 13)
        }
        if let source { key[25] = source << 16 }
        if let target { key[26] = target << 16 }
        return key
    }

    /// Of an Ethernet address.
    private static func number(_ text: Substring) -> UInt64? { UInt64(text.filter { $0 != ":" }, radix: 16) }
}
