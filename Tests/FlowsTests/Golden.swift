import Flows
import Foundation

/// Files in Golden/, beside this one: they are read where they lie, so that a test names the row that fails.
enum Golden {
    /// The rows of a file: an input, and what Open vSwitch prints of it, nil where it refuses.
    static func rows(_ name: String) throws -> [(input: String, expected: String?)] {
        try lines(name).filter { !$0.hasPrefix("#") }.map { line in
            let columns = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            return (columns[0], columns[1] == "!" ? nil : columns[1])
        }
    }

    static func lines(_ name: String) throws -> [String] {
        try text(name).split(separator: "\n").map(String.init)
    }

    static func text(_ name: String) throws -> String {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        return try String(contentsOf: folder.appendingPathComponent("Golden/\(name)"), encoding: .utf8)
    }
}

/// Ports p1 to p8, as on the bridge that the golden rows come from.
func goldenPort(_ name: String) -> UInt32? {
    guard name.hasPrefix("p"), let number = UInt32(name.dropFirst()), (1...8).contains(number) else { return nil }
    return number
}
