import Foundation
import Glibc

/// One line to standard error.
func printError(_ message: String) {
    FileHandle.standardError.write(Data((message + "\n").utf8))
}

/// The same value gives the same text.
func jsonText(_ value: some Encodable, pretty: Bool = true) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}

/// Lines whose columns stand under their titles; numbers to the right.
func table(_ titles: [String], _ rows: [[String]]) -> [String] {
    let all = [titles] + rows
    let widths = titles.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    let isNumber = titles.indices.map { column in
        !rows.isEmpty && rows.allSatisfy { Double($0[column].filter { $0 != "%" }) != nil }
    }
    return all.map { row in
        let cells = row.indices.map { column in
            let padding = String(repeating: " ", count: widths[column] - row[column].count)
            return isNumber[column] ? padding + row[column] : row[column] + padding
        }
        return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
    }
}

/// A share of 1 in per cent.
func percent(_ share: Double) -> String { String(format: "%.1f%%", share * 100) }

var standardOutputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
