import ArgumentParser
import Control
import Foundation
import Wire

struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Shows every table, flow and action that a packet would meet, and what becomes of it.",
        discussion: """
            Nothing is learned, counted or sent. A packet is written as for ovs-appctl ofproto/trace; what is not said \
            of it is zero:
                martletctl trace br-int in_port=vm1,tcp,dl_src=52:54:00:00:00:01,nw_dst=10.0.0.2,tp_dst=80
                martletctl trace br-int --pcap file --in-port vm1
            Where flows have the packet tracked, --ct-next says what comes of it, once for each time; else the tracker does:
                martletctl trace br-int in_port=vm1,tcp,... --ct-next trk,est --ct-next trk,new
            """
    )

    @Argument var bridge: String
    @Argument(help: "The packet.") var packet: String?

    @Option(
        help: ArgumentHelp("Trace the first 1000 packets of a pcap or pcapng file instead.", valueName: "file"),
        completion: .file()
    )
    var pcap: String?

    @Option(help: ArgumentHelp("The port that the file's packets come from, by name or number.", valueName: "port"))
    var inPort: String?

    @Option(
        help: ArgumentHelp(
            "What connection tracking says of the packet when it goes on in a table; may be repeated.",
            valueName: "states"
        )
    )
    var ctNext: [String] = []

    @Flag(help: "Show the whole trace of each packet of a file, not only what becomes of it.") var verbose = false

    @OptionGroup var reading: Reading

    static let packetLimit = 1000

    func validate() throws {
        guard (packet == nil) != (pcap == nil) else {
            throw ValidationError("trace takes a packet, or --pcap with --in-port")
        }
        guard (pcap == nil) == (inPort == nil) else {
            throw ValidationError("--pcap and --in-port come together: a file does not say where its packets come from")
        }
    }

    func run() throws {
        if let packet {
            try FlowText(packet).explaining {
                try reading.show(Trace(bridge: bridge, packet: packet, ctNext: states)) { $0.lines }
            }
        } else if let pcap, let inPort {
            try trace(pcap, from: inPort)
        }
    }

    private var states: [String]? { ctNext.isEmpty ? nil : ctNext }

    private func trace(_ file: String, from port: String) throws {
        let packets = try read(file)
        let client = try reading.daemon.connect()
        var traces: [Trace.Response] = []
        for (index, packet) in packets.enumerated() {
            let frame = packet.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            let request = Trace(bridge: bridge, frame: frame, length: packet.length, port: port, ctNext: states)
            let response = try client.call(request)
            if reading.json {
                traces.append(response)
            } else {
                print("packet \(index + 1), \(packet.length) bytes: \(response.summary)")
                if verbose { print(response.lines.map { "    " + $0 }.joined(separator: "\n") + "\n") }
            }
        }
        if reading.json { print(try jsonText(["traces": traces])) }
    }

    private func read(_ file: String) throws -> [CaptureFile.Packet] {
        let bytes: [UInt8]
        do {
            bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file), options: .mappedIfSafe))
        } catch {
            throw ValidationError("'\(file)' cannot be read (\(error.localizedDescription)): name another file")
        }
        do throws(CaptureFile.Malformed) {
            let limit = Self.packetLimit
            let packets = try CaptureFile.packets(bytes, limit: limit + 1, longest: Trace.longestFrame)
            if packets.count > limit {
                printError("martletctl: '\(file)' has more than \(limit) packets: the first are traced")
            }
            return Array(packets.prefix(limit))
        } catch {
            throw ValidationError("'\(file)' \(error)")
        }
    }
}
