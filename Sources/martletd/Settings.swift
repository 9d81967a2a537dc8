import Dataplane
import Endpoint
import Foundation
import Logging
import Networking
import PacketIO
import TOMLKit

/// Everything that a start decides.
struct Settings {
    var stateDirectory = "/var/lib/martlet"
    var socket = "/run/martlet/martlet.sock"
    /// Where the guests' sockets are that documents name.
    var vifDirectory = "/run/martlet"
    /// The name of this host in Neutron; the machine's own one if not given.
    var host = ProcessInfo.processInfo.hostName
    var logLevel = Logger.Level.info
    var engine = PacketEngineOptions()
    var endpoint = EndpointSettings()
    /// What this host offers Neutron, in the keys of its document: JSON.
    private var hostKeys = "{}"

    /// The document of this host, for Neutron to send it to all: JSON, one line.
    /// - Throws: `Refusal` when it cannot be one.
    var hostDocument: String {
        get throws(Refusal) {
            do throws(DocumentRefusal) {
                return String(try DocumentText.change(Data(hostKeys.utf8), type: .host, id: host).text)
            } catch {
                throw Refusal("[host-document]: \(error)")
            }
        }
    }

    /// Where the positions of guests' rings outlive the process. In memory, not on a disk: a worker writes them, and
    /// must never wait for a disk.
    var ringRecords: String { "/run/martlet/\(engine.eal.filePrefix).rings" }

    /// Reads a TOML file.
    /// - Throws: `Refusal` for a file that cannot be read, an unknown key, a value of another type or out of range.
    mutating func read(file path: String) throws(Refusal) {
        let table: TOMLTable
        do {
            table = try TOMLTable(string: String(contentsOfFile: path, encoding: .utf8))
        } catch let error as TOMLParseError {
            throw Refusal("\(path): \(error.description)")
        } catch {
            throw Refusal("\(path) cannot be read: give --config a readable file")
        }
        for (key, value) in table {
            do throws(Refusal) {
                try set(key, ConfigurationValue(key: key, value: value))
            } catch {
                throw Refusal("\(path): \(error.reason)")
            }
        }
    }

    private mutating func set(_ key: String, _ value: ConfigurationValue) throws(Refusal) {
        switch key {
        case "state-dir": stateDirectory = try value.text
        case "socket": socket = try value.text
        case "host": host = try value.text
        case "vif-dir": vifDirectory = try value.text
        case "no-huge": engine.eal.withoutHugepages = try value.truth
        case "worker-lcores": try setWorkerLcores(try value.text)
        case "main-lcore": engine.eal.mainLcore = try value.number
        case "socket-memory": try setSocketMemory(try value.text)
        case "file-prefix": engine.eal.filePrefix = try value.text
        case "idle-sleep": try setIdleSleep(try value.number)
        case "cache-entries": try setCacheEntries(try value.number)
        case "connections": try setConnections(try value.number)
        case "log-level": try setLogLevel(try value.text)
        case "eal-option": engine.eal.extra = try value.texts
        case "endpoint": endpoint.address = try value.text
        case "endpoint-certificate": endpoint.certificate = try value.text
        case "endpoint-key": endpoint.key = try value.text
        case "endpoint-client-ca": endpoint.clientAuthority = try value.text
        case "endpoint-plain": endpoint.isPlain = try value.truth
        case "host-document": hostKeys = try value.json
        default: throw Refusal("key '\(key)' is unknown: 'martletd --help' lists them")
        }
    }

    /// - Parameter text: numbers and ranges, as in 1,2,5-7.
    mutating func setWorkerLcores(_ text: String) throws(Refusal) {
        var lcores: [Int] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let bounds = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard let first = bounds.first ?? nil, let last = bounds.last ?? nil, bounds.count <= 2, first <= last,
                last < 4096
            else { throw Refusal("worker-lcores '\(text)' is no list of lcores: write it as 1,2,5-7") }
            lcores += first...last
        }
        engine.eal.workerLcores = lcores
    }

    mutating func setSocketMemory(_ text: String) throws(Refusal) {
        let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? -1 }
        guard !numbers.isEmpty, numbers.allSatisfy({ (0...1_048_576).contains($0) }) else {
            throw Refusal("socket-memory '\(text)' is no list of megabytes: write it as 512 or 512,512")
        }
        engine.eal.socketMemory = numbers
    }

    mutating func setIdleSleep(_ microseconds: Int) throws(Refusal) {
        guard (0...1000).contains(microseconds) else {
            throw Refusal("idle-sleep \(microseconds) is outside 0 to 1000 microseconds")
        }
        engine.idleSleep = microseconds
    }

    mutating func setCacheEntries(_ count: Int) throws(Refusal) {
        guard PacketEngineOptions.cacheEntriesRange.contains(count) else {
            throw Refusal("cache-entries \(count) is outside \(PacketEngineOptions.cacheEntriesRange.text)")
        }
        engine.cacheEntries = count
    }

    mutating func setConnections(_ count: Int) throws(Refusal) {
        guard PacketEngineOptions.connectionsRange.contains(count) else {
            throw Refusal("connections \(count) is outside \(PacketEngineOptions.connectionsRange.text)")
        }
        engine.connections = count
    }

    mutating func setLogLevel(_ text: String) throws(Refusal) {
        guard let level = Logger.Level(rawValue: text) else {
            let names = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw Refusal("log-level '\(text)' is unknown: use one of \(names)")
        }
        logLevel = level
    }
}

/// A value of the configuration file, asked for by type.
private struct ConfigurationValue {
    let key: String
    let value: any TOMLValueConvertible

    var text: String {
        get throws(Refusal) {
            guard let text = value.string ?? value.int.map(String.init) else { throw wrong("a text in quotes") }
            return text
        }
    }

    var number: Int {
        get throws(Refusal) {
            guard let number = value.int else { throw wrong("a number") }
            return number
        }
    }

    var truth: Bool {
        get throws(Refusal) {
            guard let truth = value.bool else { throw wrong("true or false") }
            return truth
        }
    }

    var texts: [String] {
        get throws(Refusal) {
            guard let array = value.array else { throw wrong("a list of texts") }
            var texts: [String] = []
            for element in array {
                guard let text = element.string else { throw wrong("a list of texts") }
                texts.append(text)
            }
            return texts
        }
    }

    /// Of a table.
    var json: String {
        get throws(Refusal) {
            guard let table = value.table else { throw wrong("a table") }
            return table.convert(to: .json)
        }
    }

    private func wrong(_ expected: String) -> Refusal { Refusal("key '\(key)' takes \(expected), not \(value)") }
}
