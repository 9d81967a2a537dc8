import ArgumentParser
import Control

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Shows the versions of martletctl, martletd and DPDK."
    )

    @OptionGroup var reading: Reading

    func run() throws {
        if !reading.json { print("martletctl \(Martlet.version)") }
        try reading.show(VersionShow()) { ["martletd \($0.version)", "\($0.dpdk)", "state schema \($0.schema)"] }
    }
}
