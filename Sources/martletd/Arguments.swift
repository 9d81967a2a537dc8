import ArgumentParser
import Dataplane

/// The command line. What is not given there comes from the configuration file, and what is not there either from
/// the defaults of `Settings`.
struct Arguments: ParsableArguments {
    @Option(help: "TOML file whose keys are the options below, without dashes in front, and [host-document].")
    var config: String?

    @Option(help: "Directory of the state file (default /var/lib/martlet).")
    var stateDir: String?

    @Option(help: "Control socket (default /run/martlet/martlet.sock).")
    var socket: String?

    @Option(help: "Name of this host in Neutron (default: the machine's host name).")
    var host: String?

    @Option(help: "Directory of the guests' sockets that network documents name (default /run/martlet).")
    var vifDir: String?

    @Flag(help: "Run without hugepages: slower, and without ports of type ring.")
    var noHuge = false

    @Option(help: "Lcores that poll, one worker each, as in 1,2,5-7 (default 1).")
    var workerLcores: String?

    @Option(help: "Lcore for everything that does not poll (default 0).")
    var mainLcore: Int?

    @Option(help: "Megabytes of hugepages, one number for each NUMA node (default 512).")
    var socketMemory: String?

    @Option(help: "Name that keeps several daemons on one machine apart (default martlet).")
    var filePrefix: String?

    @Option(help: "Microseconds that an idle worker sleeps at a time; 0 polls without a pause (default 0).")
    var idleSleep: Int?

    @Option(help: "Connections that the flow caches of all workers hold (default 1048576).")
    var cacheEntries: Int?

    @Option(help: "Connections that flows with 'ct' track at once (default 1048576).")
    var connections: Int?

    @Option(help: "trace, debug, info, notice, warning, error or critical (default info).")
    var logLevel: String?

    @Option(help: "ADDRESS:PORT where Neutron's mechanism driver reaches this host (default: nowhere).")
    var endpoint: String?

    @Option(help: "PEM file: the endpoint's certificate.")
    var endpointCertificate: String?

    @Option(help: "PEM file: the private key of the endpoint's certificate.")
    var endpointKey: String?

    @Option(
        name: .customLong("endpoint-client-ca"),
        help: "PEM file: the authorities whose clients the endpoint lets in."
    )
    var endpointClientAuthority: String?

    @Flag(help: "Speak HTTP without TLS, to anyone, at another address than loopback.")
    var endpointPlain = false

    @Option(name: .customLong("eal-option"), help: "Passed on to DPDK's EAL; may be repeated.")
    var ealOptions: [String] = []

    /// - Throws: `Refusal` naming the option or the file's key and its value.
    func settings() throws(Refusal) -> Settings {
        var settings = Settings()
        if let config { try settings.read(file: config) }
        if let stateDir { settings.stateDirectory = stateDir }
        if let socket { settings.socket = socket }
        if let host { settings.host = host }
        if let vifDir { settings.vifDirectory = vifDir }
        if noHuge { settings.engine.eal.withoutHugepages = true }
        if let workerLcores { try settings.setWorkerLcores(workerLcores) }
        if let mainLcore { settings.engine.eal.mainLcore = mainLcore }
        if let socketMemory { try settings.setSocketMemory(socketMemory) }
        if let filePrefix { settings.engine.eal.filePrefix = filePrefix }
        if let idleSleep { try settings.setIdleSleep(idleSleep) }
        if let cacheEntries { try settings.setCacheEntries(cacheEntries) }
        if let connections { try settings.setConnections(connections) }
        if let logLevel { try settings.setLogLevel(logLevel) }
        if let endpoint { settings.endpoint.address = endpoint }
        if let endpointCertificate { settings.endpoint.certificate = endpointCertificate }
        if let endpointKey { settings.endpoint.key = endpointKey }
        if let endpointClientAuthority { settings.endpoint.clientAuthority = endpointClientAuthority }
        if endpointPlain { settings.endpoint.isPlain = true }
        if !ealOptions.isEmpty { settings.engine.eal.extra = ealOptions }
        return settings
    }
}
