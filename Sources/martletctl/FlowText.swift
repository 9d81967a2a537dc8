import ArgumentParser
import Control
import Foundation

/// Flows, groups, meters or members of address sets on their way to the daemon, and what the daemon finds wrong in it, shown where it stands.
struct FlowText {
    private let text: Data
    /// nil for text of the command line.
    private let file: String?

    init(_ text: String) {
        self.text = Data(text.utf8)
        file = nil
    }

    /// - Parameter file: a path; "-" is standard input.
    /// - Throws: `ValidationError` when it cannot be read.
    init(file: String) throws {
        self.file = file
        do {
            text =
                file == "-"
                ? try FileHandle.standardInput.readToEnd() ?? Data()
                : try Data(contentsOf: URL(fileURLWithPath: file))
        } catch {
            throw ValidationError("'\(file)' cannot be read (\(error.localizedDescription)): name another file")
        }
    }

    /// The most bytes of a text in a request: six times as many, if each needs an escape in JSON, are a line of the socket.
    private static let greatestInline = 160 * 1024
    /// The bytes of a staged piece, three of which take four characters of the line.
    private static let pieceLength = 720 * 1024

    /// Sends the text and has the daemon carry out what is asked of it.
    /// - Parameters:
    ///   - request: carries a text that fits one line.
    ///   - staged: says that the text came before.
    func send<R: TextRequest>(_ daemon: Daemon, _ request: R, _ staged: R) throws -> R.Response {
        let client = try daemon.connect()
        return try explaining {
            guard text.count > Self.greatestInline else {
                var request = request
                request.text = String(decoding: text, as: UTF8.self)
                return try client.call(request)
            }
            var progress = Progress()
            var rest = text[...]
            while !rest.isEmpty {
                let piece = rest.prefix(Self.pieceLength)
                _ = try client.call(FlowStage(text: piece))
                rest = rest.dropFirst(piece.count)
                progress.show("\((text.count - rest.count) * 100 / text.count)% sent")
            }
            progress.end()
            return try client.call(staged)
        }
    }

    /// Runs `body`; a mistake in the text that the daemon finds is shown with its place, and ends the command.
    func explaining<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let failure as ControlClient.Failure {
            guard let place = failure.data else { throw failure }
            if let file {
                printError("\(file):\(place.line):\(place.column): \(place.reason)")
            } else {
                printError("martletctl: column \(place.column): \(place.reason)\n\(pointer(to: place))")
            }
            throw ExitCode(1)
        }
    }

    /// The line, cut to what is around the column, and a caret below the column.
    private func pointer(to place: ControlClient.Failure.Place) -> String {
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let line = lines.dropFirst(place.line - 1).first ?? Data()
        let before = String(decoding: line.prefix(place.column - 1).suffix(60), as: UTF8.self)
        let after = String(decoding: line.dropFirst(place.column - 1).prefix(60), as: UTF8.self)
        return "    \(before)\(after)\n    \(String(repeating: " ", count: before.count))^"
    }
}

/// A line on a terminal that tells how far work has come, once it takes more than a second.
struct Progress {
    private let start = ContinuousClock.now
    private var isShown = false

    mutating func show(_ words: String) {
        guard isatty(STDERR_FILENO) == 1, start.duration(to: .now) > .seconds(1) else { return }
        isShown = true
        // Back to the line's start, and clear what was there: ECMA-48.
        FileHandle.standardError.write(Data("\r\u{1b}[K\(words)".utf8))
    }

    func end() {
        if isShown { FileHandle.standardError.write(Data("\r\u{1b}[K".utf8)) }
    }
}
