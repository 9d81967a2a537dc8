import ArgumentParser
import Control

extension FlowCommand {
    struct Cached: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows entries of the workers' flow caches: what is done with packets of known connections.",
            discussion: """
                An exact entry answers for one connection, a wildcard one for the first packets of others like it. \
                Bridges whose only flow is NORMAL switch without the cache.
                """
        )

        @Option(help: "Only packets that come in on this bridge.") var bridge: String?
        @Option(help: ArgumentHelp("The most entries: 1 to 4096 (100 when not given).", valueName: "n"))
        var limit: Int?
        @OptionGroup var reading: Reading

        func run() throws {
            let response = try reading.daemon.call(FlowCached(bridge: bridge, limit: limit))
            if reading.json { return print(try jsonText(response)) }
            for entry in response.entries { print(" " + entry.line) }
        }
    }
}

extension FlowCached.Entry {
    fileprivate var line: String {
        let kind = exact ? "exact" : "wildcard"
        let reason = drop.map { " (\($0))" } ?? ""
        return "\(kind), lcore=\(lcore), idle=\(idle)s, sharing=\(sharing), \(match) actions=\(actions)"
            + (cut ? ",..." : "") + reason
    }
}
