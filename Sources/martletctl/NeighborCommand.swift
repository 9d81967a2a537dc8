import ArgumentParser
import Control

struct NeighborCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "neighbor",
        abstract: "Shows the stations that tunnels' packets are sent to.",
        subcommands: [List.self]
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the neighbors of an endpoint, or of all: next hops of tunnels, and their MAC addresses."
        )

        @Argument(help: "A port of type endpoint.") var port: String?
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(NeighborList(port: port)) { response in
                table(
                    ["PORT", "ADDRESS", "MAC", "IDLE"],
                    response.neighbors.map { neighbor in
                        let idle = neighbor.idle.map { "\($0)" } ?? "-"
                        return [neighbor.port, neighbor.address, neighbor.mac?.description ?? "unknown", idle]
                    }
                )
            }
        }
    }
}
