import Foundation

/// How some ports are, and when each became so, so that who knows an earlier state is told what changed since.
struct PortStatusLog {
    /// Removals that are remembered; who knows only what was before is told all.
    static let removalCapacity = 4096

    private typealias Port = NetworkStatus.Port

    private struct Entry {
        let port: NetworkStatus.Port
        let sequence: UInt64
    }

    private var entries: [String: Entry] = [:]
    /// In the order they happened.
    private var removals: [Entry] = []
    private var sequence: UInt64 = 0
    /// Of the last removal that is forgotten.
    private var forgotten: UInt64 = 0
    /// Tells this run's cursors from others'.
    private let run = UUID()

    /// - Returns: whether anything changed.
    mutating func put(_ port: NetworkStatus.Port) -> Bool {
        guard entries[port.id]?.port != port else { return false }
        sequence += 1
        entries[port.id] = Entry(port: port, sequence: sequence)
        return true
    }

    /// - Returns: whether the port was there.
    mutating func remove(_ id: String) -> Bool {
        guard let former = entries.removeValue(forKey: id)?.port else { return false }
        sequence += 1
        let removal = Port(id: id, status: .removed, reason: nil, revision: former.revision)
        removals.append(Entry(port: removal, sequence: sequence))
        if removals.count > Self.removalCapacity { forgotten = removals.removeFirst().sequence }
        return true
    }

    /// What changed since a cursor was given, or all when that was another run's or too long ago.
    func response(since cursor: String?) -> NetworkStatus.Response {
        let start = cursor.flatMap(sequence)
        let removed = Dictionary(removals.map { ($0.port.id, $0) }) { $1 }.values
        let ports = entries.values + removed.filter { entries[$0.port.id] == nil }
        let news = ports.filter { start == nil ? $0.port.status != .removed : $0.sequence > start! }
        return NetworkStatus.Response(
            cursor: "\(run.uuidString)-\(sequence)",
            complete: start == nil,
            ports: news.sorted { $0.sequence < $1.sequence }.map(\.port)
        )
    }

    /// The sequence of a cursor; nil for one that cannot be followed.
    private func sequence(of cursor: String) -> UInt64? {
        let prefix = run.uuidString + "-"
        guard cursor.hasPrefix(prefix), let sequence = UInt64(cursor.dropFirst(prefix.count)),
            (forgotten...self.sequence).contains(sequence)
        else { return nil }
        return sequence
    }
}
