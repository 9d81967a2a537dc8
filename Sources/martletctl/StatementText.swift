import ArgumentParser
import Control

/// What stands in the text of a command.
protocol StatementKind: Sendable {
    static var noun: String { get }
    static var plural: String { get }
}

/// What is added to a bridge, or replaced there: one of a kind on the command line, or those of a file.
struct StatementText<Kind: StatementKind>: ParsableArguments {
    @Argument var bridge: String
    @Argument(help: ArgumentHelp("The \(Kind.noun), as for ovs-ofctl add-\(Kind.noun).", valueName: Kind.noun))
    var statement: String?
    @Option(
        help: ArgumentHelp("\(Kind.plural), one a line; '-' is standard input.", valueName: "file"),
        completion: .file()
    )
    var file: String?
    @OptionGroup var daemon: Daemon

    func validate() throws {
        guard (statement == nil) != (file == nil) else { throw ValidationError("give one \(Kind.noun), or --file") }
    }

    func send<R: TextRequest>(_ request: R, _ staged: R) throws -> R.Response {
        let text = try statement.map { FlowText($0) } ?? FlowText(file: file ?? "-")
        return try text.send(daemon, request, staged)
    }
}
