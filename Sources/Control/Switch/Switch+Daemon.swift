public import Dataplane
import Logging

extension Switch {
    /// The name of this host in Neutron.
    public var hostName: String { network.hostName }

    /// The directory that documents' sockets of guests are in.
    public nonisolated var vifDirectory: String { sockets.path }

    public func version() -> VersionDescription {
        VersionDescription(version: Martlet.version, dpdk: dpdk, schema: Store.schemaVersion)
    }

    /// Changes the log level of the process, if one is given, and says which it is.
    public func setLogLevel(_ request: LogLevelSet) throws(Refusal) -> LogLevelSet.Response {
        if let name = request.level {
            guard let level = Logger.Level(rawValue: name) else {
                let names = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
                throw Refusal("log level '\(name)' is unknown: use one of \(names)")
            }
            logLevel.current = level
        }
        return LogLevelSet.Response(level: logLevel.current.rawValue)
    }

    /// Starts to copy packets of a port. Whoever holds the result ends it with `endCapture`.
    /// - Throws: `Refusal` for a direction, filter or length that cannot be, or a port that is captured already.
    func startCapture(_ request: CaptureStart) throws(Refusal) -> PortCapture {
        let port = try port(request.port)
        guard port.record.type.hasDevice else {
            let words = "is of type \(port.record.type.name), whose packets pass no queue"
            throw Refusal("port '\(request.port)' \(words): capture where they leave")
        }
        if let failure = port.failure {
            throw Refusal("port '\(request.port)' has no device to capture from (\(failure)): mend that first")
        }
        var wanted = CaptureRequest(filter: request.filter)
        if let name = request.direction {
            guard let direction = CaptureRequest.Direction(rawValue: name) else {
                throw Refusal("capture direction '\(name)' is unknown: use both, receive or transmit")
            }
            wanted.direction = direction
        }
        if let length = request.snapLength {
            guard (14...65_535).contains(length) else {
                throw Refusal("snap length \(length) is outside 14 to 65535")
            }
            wanted.snapLength = length
        }
        let capture = try io.capture(port.index, request: wanted)
        let running = PortCapture(port: request.port, snapLength: wanted.snapLength, source: capture)
        captures[request.port] = running
        return running
    }

    func endCapture(_ capture: PortCapture) {
        if captures[capture.port] === capture { captures[capture.port] = nil }
        capture.end()
    }
}
