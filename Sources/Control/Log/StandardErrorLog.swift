import Foundation
import Glibc
public import Logging

/// Writes one `key=value` line a message to standard error, each in one write(2) so that lines never mix.
///
/// Under systemd (JOURNAL_STREAM is set) a line starts with its priority, `<6>`, as sd-daemon(3) has it, and
/// carries no time, because the journal has its own.
public struct StandardErrorLog: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    private let level: LogLevel
    private var ownLevel: Logger.Level?
    private let toJournal: Bool

    /// - Parameter level: shared with whoever changes it at run time.
    public init(level: LogLevel, environment: [String: String] = ProcessInfo.processInfo.environment) {
        self.level = level
        toJournal = environment["JOURNAL_STREAM"] != nil
    }

    /// The shared level, unless this logger was given one of its own.
    public var logLevel: Logger.Level {
        get { ownLevel ?? level.current }
        set { ownLevel = newValue }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let bytes = Array((line(for: event) + "\n").utf8)
        // Standard error may be gone; a log line is not worth more than one attempt.
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }

    /// The line of a message, without its end.
    func line(for event: LogEvent) -> String {
        var fields = [("level", event.level.rawValue), ("msg", event.message.description)]
        if !toJournal { fields.insert(("time", Date.now.formatted(.iso8601)), at: 0) }
        var metadata = metadata
        metadata.merge(metadataProvider?.get() ?? [:]) { $1 }
        metadata.merge(event.metadata ?? [:]) { $1 }
        fields += metadata.sorted { $0.key < $1.key }.map { ($0.key, $0.value.description) }
        if let error = event.error { fields.append(("error", "\(error)")) }
        let text = fields.map { "\($0.0)=\(Self.quoted($0.1))" }.joined(separator: " ")
        return toJournal ? "<\(event.level.priority)>\(text)" : text
    }

    /// A value that has spaces, quotes or control characters stands in quotes, so that a line is always one line.
    private static func quoted(_ value: String) -> String {
        let plain = value.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7f && $0 != "\"" && $0 != "=" }
        guard value.isEmpty || !plain else { return value }
        let escaped = value.unicodeScalars.map { scalar in
            switch scalar {
            case "\"": "\\\""
            case "\\": "\\\\"
            case "\n": "\\n"
            default: scalar.value < 0x20 ? "?" : String(scalar)
            }
        }
        return "\"\(escaped.joined())\""
    }
}

extension Logger.Level {
    /// The syslog priority of sd-daemon(3).
    fileprivate var priority: Int {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
