import ArgumentParser
import Control
import Foundation
import Wire

struct CaptureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capture",
        abstract: "Shows or writes the packets of a port.",
        discussion: """
            Without -w prints one line a packet; with -w writes pcapng:
                martletctl capture vm1 -w - | tcpdump -nr -
            """
    )

    @Argument var port: String

    @Option(
        help: "both, receive or transmit, as the switch sees it.",
        completion: .list(["both", "receive", "transmit"])
    )
    var direction: String?

    @Option(help: ArgumentHelp("Which packets: pcap-filter(7).", valueName: "expression"))
    var filter: String?

    @Option(help: ArgumentHelp("The most bytes kept of a packet: 14 to 65535.", valueName: "n"))
    var snapLength: Int?

    @Option(help: ArgumentHelp("End after so many packets.", valueName: "n"))
    var count: Int?

    @Option(
        name: [.customShort("w"), .customLong("write")],
        help: ArgumentHelp("Write pcapng to a file; '-' is standard output.", valueName: "file"),
        completion: .file()
    )
    var file: String?

    @OptionGroup var daemon: Daemon

    func validate() throws {
        guard count ?? 1 > 0 else { throw ValidationError("--count takes 1 or more") }
    }

    func run() throws {
        let output = try open()
        let client = try daemon.connect()
        let request = CaptureStart(port: port, direction: direction, filter: filter, snapLength: snapLength)
        let capture = try client.call(request).capture
        var tally = Tally(left: count)
        try relay(client, to: output, &tally)
        // The port is gone when the daemon ended it first; then there is nothing to stop.
        if tally.left == 0 { tally.lost = try client.call(CaptureStop(capture: capture)).lost }
        printError("\(tally.captured) packets captured, \(tally.lost) lost")
    }

    private struct Tally {
        /// Packets to go; nil without end.
        var left: Int?
        var captured = 0
        var lost: UInt64 = 0
    }

    /// Until enough packets came, or the daemon ends it.
    private func relay(_ client: ControlClient, to output: FileHandle?, _ tally: inout Tally) throws {
        var reader = PcapngReader()
        while tally.left != 0 {
            switch try client.nextEvent() {
            case .captureEnd(let end):
                printError("martletctl: capture ended: \(end.reason)")
                tally.lost = end.lost
                return
            case .captureData(let data):
                reader.append(data.bytes)
                tally.lost = data.lost
            case .flowRemoved: continue
            }
            while tally.left != 0, let block = try reader.next() {
                try output?.write(contentsOf: block.bytes)
                guard let packet = block.packet else { continue }
                if output == nil { print(packet.line) }
                tally.captured += 1
                tally.left = tally.left.map { $0 - 1 }
            }
            if output == nil { fflush(nil) }
        }
    }

    /// Where the pcapng goes; nil prints lines.
    private func open() throws -> FileHandle? {
        guard let file else { return nil }
        if file == "-" {
            guard !standardOutputIsTerminal else {
                throw ValidationError("-w - writes binary data to a terminal: pipe it into tcpdump -r -")
            }
            return .standardOutput
        }
        guard FileManager.default.createFile(atPath: file, contents: nil),
            let handle = FileHandle(forWritingAtPath: file)
        else { throw ValidationError("'\(file)' cannot be written: name another file") }
        return handle
    }
}

extension PcapngReader.Packet {
    /// "12:30:01.000000001 in 60 02:.. > 02:.. vlan 10 type 0x0800".
    fileprivate var line: String {
        var words = [clock, direction == .outbound ? "out" : "in", "\(length)"]
        guard bytes.count >= 14 else { return (words + ["runt"]).joined(separator: " ") }
        words += ["\(address(at: 6))", ">", "\(address(at: 0))"]
        var offset = 12
        while [TPID.customer.rawValue, TPID.service.rawValue].contains(number(at: offset)), bytes.count >= offset + 6 {
            words += ["vlan", "\(number(at: offset + 2) & 0xfff)"]
            offset += 4
        }
        words += ["type", "0x" + String(format: "%04x", Int(number(at: offset)))]
        return words.joined(separator: " ")
    }

    /// UTC.
    private var clock: String {
        let seconds = time / 1_000_000_000 % 86_400
        let parts = [seconds / 3600, seconds / 60 % 60, seconds % 60].map { String(format: "%02d", Int($0)) }
        return parts.joined(separator: ":") + "." + String(format: "%09d", Int(time % 1_000_000_000))
    }

    private func number(at offset: Int) -> UInt16 { UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]) }

    private func address(at offset: Int) -> MACAddress {
        MACAddress(value: bytes[offset..<offset + 6].reduce(0) { $0 << 8 | UInt64($1) })
    }
}
