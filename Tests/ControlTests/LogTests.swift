import Logging
import Testing

@testable import Control

@Suite struct LogTests {
    private func line(
        _ message: Logger.Message,
        _ metadata: Logger.Metadata = [:],
        level: Logger.Level = .info,
        journal: Bool = true
    ) -> String {
        let log = StandardErrorLog(level: LogLevel(), environment: journal ? ["JOURNAL_STREAM": "8:1"] : [:])
        let event = LogEvent(
            level: level,
            message: message,
            metadata: metadata,
            source: nil,
            file: "",
            function: "",
            line: 0
        )
        return log.line(for: event)
    }

    @Test func writesKeysAndValuesWithThePriorityForTheJournal() {
        #expect(
            line("port added", ["port": "vm1", "bridge": "br0"])
                == "<6>level=info msg=\"port added\" bridge=br0 port=vm1"
        )
        #expect(line("up", level: .error) == "<3>level=error msg=up")
        #expect(line("up", level: .trace).hasPrefix("<7>"))
    }

    @Test func keepsALineALine() {
        #expect(line("up", ["reason": "a\"b\nc\\d\u{1b}"]) == #"<6>level=info msg=up reason="a\"b\nc\\d?""#)
        #expect(line("up", ["reason": ""]) == "<6>level=info msg=up reason=\"\"")
    }

    @Test func beginsWithTheTimeOutsideTheJournal() {
        #expect(
            line("up", journal: false).wholeMatch(of: /time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ level=info msg=up/) != nil
        )
    }

    @Test func followsTheSharedLevelUnlessGivenItsOwn() {
        let level = LogLevel(.info)
        var logger = Logger(label: "l") { _ in StandardErrorLog(level: level) }
        #expect(logger.logLevel == .info)
        level.current = .debug
        #expect(logger.logLevel == .debug)
        logger.logLevel = .error
        #expect(logger.logLevel == .error)
        #expect(level.current == .debug)
    }
}
