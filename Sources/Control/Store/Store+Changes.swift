import Dataplane
import Flows
import Foundation
import GRDB
import Wire

/// What the switch reads once, at start-up, and writes, one transaction a call.
///
/// A write that fails is a `Refusal`: the file is as it was.
extension Store {
    /// - Throws: `StoreError` for a row that no martletd wrote.
    func load() throws -> SwitchState {
        do {
            return try database.read { database in
                var state = SwitchState()
                for row in try Row.fetchAll(database, sql: "SELECT * FROM bridge") {
                    state.bridges[row["name"]] = try BridgeSettings(row: row)
                }
                for row in try Row.fetchAll(database, sql: "SELECT * FROM port") {
                    let port = try PortRecord(row: row)
                    state.ports[port.name] = port
                }
                for row in try Row.fetchAll(database, sql: "SELECT * FROM station") {
                    state.stations[try Station(row: row)] = row["port"]
                }
                for row in try Row.fetchAll(database, sql: "SELECT * FROM pin") {
                    state.pins[Pin(port: row["port"], queue: row["queue"])] = row["lcore"]
                }
                state.flows = try Self.flows(in: database)
                state.groups = try Self.records(of: .groups, in: database) { text throws(FlowSyntaxError) in
                    try FlowText.group(text)
                }
                state.meters = try Self.records(of: .meters, in: database) { text throws(FlowSyntaxError) in
                    try FlowText.meter(text)
                }
                state.addressSets = try Self.addressSets(in: database)
                state.tracking = try Self.tracking(in: database)
                state.documents = try Self.documents(in: database)
                state.outdated = try Self.outdated(in: database)
                return state
            }
        } catch let error as DatabaseError {
            throw Self.sentence(for: error, path: path)
        } catch {
            throw StoreError(
                "state file '\(path)' holds a value that cannot be (\(error.reason)): \(Self.restore(path))"
            )
        }
    }

    func put(bridge: String, _ settings: BridgeSettings) throws(Refusal) {
        try transaction { try Self.put(bridge: bridge, settings, in: $0) }
    }

    static func put(bridge: String, _ settings: BridgeSettings, in database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO bridge VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
                fdb_capacity = excluded.fdb_capacity, fdb_ageing = excluded.fdb_ageing,
                forward_reserved = excluded.forward_reserved
                """,
            arguments: [bridge, settings.fdbCapacity, settings.fdbAgeing, settings.forwardsReserved]
        )
    }

    /// Its flows, groups and meters, its ports, and all that hangs on them, go with it.
    func delete(bridge: String) throws(Refusal) {
        try write("DELETE FROM bridge WHERE name = ?", [bridge])
    }

    func put(_ port: PortRecord) throws(Refusal) { try transaction { try Self.put(port, in: $0) } }

    static func put(_ port: PortRecord, in database: Database) throws {
        let vlan = port.vlan
        try database.execute(
            sql: """
                INSERT INTO port VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
                vlan_mode = excluded.vlan_mode, tag = excluded.tag, trunks = excluded.trunks
                """,
            arguments: [
                port.name, port.bridge, Int(port.number.value), port.type.name, json(port.type.options), port.mtu,
                vlan.mode.rawValue, vlan.mode == .trunk ? nil : Int(vlan.tag.value), json(vlan.trunks.sorted()),
                port.isPlanned,
            ]
        )
    }

    func delete(port: String) throws(Refusal) {
        try write("DELETE FROM port WHERE name = ?", [port])
    }

    func put(_ station: Station, port: String) throws(Refusal) {
        try write(
            "INSERT OR REPLACE INTO station VALUES (?, ?, ?, ?)",
            [station.bridge, station.mac.description, Int(station.vlan.value), port]
        )
    }

    func delete(_ station: Station) throws(Refusal) {
        try write(
            "DELETE FROM station WHERE bridge = ? AND mac = ? AND vlan = ?",
            [station.bridge, station.mac.description, Int(station.vlan.value)]
        )
    }

    func put(_ pin: Pin, lcore: Int) throws(Refusal) {
        try write("INSERT OR REPLACE INTO pin VALUES (?, ?, ?)", [pin.port, pin.queue, lcore])
    }

    private func write(_ sql: String, _ arguments: StatementArguments) throws(Refusal) {
        try transaction { try $0.execute(sql: sql, arguments: arguments) }
    }

    func transaction(_ body: (Database) throws -> Void) throws(Refusal) {
        do {
            try write(body)
        } catch {
            throw Refusal(
                "state file '\(path)' cannot be written (\(error.reason)): make room on its disk and try again",
                isPassing: true
            )
        }
    }
}

/// Sorted, so that equal values are equal text.
private func json(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    // Names, numbers and dictionaries of strings always encode.
    return String(decoding: try! encoder.encode(value), as: UTF8.self)
}

private func decoded<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
    try JSONDecoder().decode(type, from: Data(text.utf8))
}

extension BridgeSettings {
    fileprivate init(row: Row) throws {
        self.init()
        fdbCapacity = row["fdb_capacity"]
        fdbAgeing = row["fdb_ageing"]
        forwardsReserved = row["forward_reserved"]
        try validate()
    }
}

extension PortRecord {
    fileprivate init(row: Row) throws {
        let name: String = row["name"]
        let number: Int = row["number"]
        let mode: String = row["vlan_mode"]
        let tag: Int? = row["tag"]
        guard let number = UInt16(exactly: number).flatMap(PortNumber.init), let mode = VLANMode(rawValue: mode) else {
            throw Refusal("port '\(name)' has number \(number) and VLAN mode '\(mode)'")
        }
        self.init(
            name: name,
            bridge: row["bridge"],
            number: number,
            type: try PortType(
                name: row["type"],
                options: try decoded([String: String].self, row["options"]),
                portName: name
            ),
            mtu: row["mtu"],
            vlan: try VLANPolicy(
                mode: mode,
                tag: try tag.map { value throws(Refusal) in try VLANID(checking: value) },
                trunks: try decoded(Set<VLANID>.self, row["trunks"])
            ),
            isPlanned: row["planned"]
        )
    }
}

extension Station {
    fileprivate init(row: Row) throws {
        let mac: String = row["mac"]
        self.init(
            bridge: row["bridge"],
            mac: try MACAddress(checkingStation: mac),
            vlan: try VLANID(checking: row["vlan"])
        )
    }
}
