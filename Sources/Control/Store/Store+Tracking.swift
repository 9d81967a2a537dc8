import Dataplane
import GRDB

// How connections are followed: the timeouts by name, a limit for each zone that has one, and `liberal`.
extension Store {
    private static let limitPrefix = "limit."
    private static let liberal = "liberal"

    func setTracking(_ settings: TrackingSettings) throws(Refusal) {
        try transaction { database in
            try database.execute(sql: "DELETE FROM tracking")
            let statement = try database.cachedStatement(sql: "INSERT INTO tracking VALUES (?, ?)")
            for (name, seconds) in settings.timeouts { try statement.execute(arguments: [name, Int(seconds)]) }
            for (zone, limit) in settings.limits where limit != 0 {
                try statement.execute(arguments: ["\(Self.limitPrefix)\(zone)", Int(limit)])
            }
            try statement.execute(arguments: [Self.liberal, settings.isLiberal ? 1 : 0])
        }
    }

    /// nil when nothing was ever set.
    /// - Throws: `Refusal` for what no martletd wrote.
    static func tracking(in database: Database) throws -> TrackingSettings? {
        var settings: TrackingSettings?
        for row in try Row.fetchAll(database, sql: "SELECT name, value FROM tracking") {
            let (name, value): (String, Int) = (row[0], row[1])
            guard let number = UInt32(exactly: value) else { throw Refusal("tracking setting \(name) is \(value)") }
            var next = settings ?? TrackingSettings()
            if name == liberal {
                next.isLiberal = number != 0
            } else if name.hasPrefix(limitPrefix), let zone = UInt16(name.dropFirst(limitPrefix.count)) {
                next.limits[zone] = number
            } else if TrackingSettings.timeoutNames.contains(name) {
                next.timeouts[name] = number
            } else {
                throw Refusal("tracking setting '\(name)' is unknown")
            }
            settings = next
        }
        return settings
    }
}
