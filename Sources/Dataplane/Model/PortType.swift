/// What is behind a port, with its options. A new port type is a case here; the compiler then finds every place
/// that must know it: parsing and printing below, opening in PacketIO.
public enum PortType: Hashable, Sendable {
    /// Any DPDK device: `device` is a PCI address ("0000:3b:00.0") or a vdev with its devargs ("net_null0,no-rx=1").
    /// `buffers` are packet buffers beyond those of its descriptors, for a device that holds more, as net_pcap does
    /// with infinite_rx.
    case dpdk(device: String, queues: Int, descriptors: Int, buffers: Int)
    /// A virtual machine's virtio-net device. Mode client: QEMU listens on `path` and Martlet connects, again and
    /// again; mode server: Martlet listens. `queues` is the most queue pairs a guest may use.
    case vhostUser(path: String, mode: VhostMode, queues: Int)
    /// A pair of rte_rings, `<name>.rx` and `<name>.tx` as the *other* process sees them, of `size` packets each.
    case ring(name: String, size: Int)
    /// A network device of the host's kernel.
    case tap(interface: String)
    /// One end of a wire between two bridges, whose other end is the patch port `peer`. It has no device.
    case patch(peer: String)
    /// The switch's own address on a bridge, which tunnels end at.
    case endpoint(EndpointOptions)
    /// One end of tunnels to other hosts. It has no device: its packets go through an endpoint.
    case tunnel(TunnelOptions)

    public enum VhostMode: String, Sendable, CaseIterable { case client, server }

    public static let names =
        ["dpdk", "vhost-user", "ring", "tap", "patch", "endpoint"] + TunnelType.allCases.map(\.rawValue)

    public var name: String {
        switch self {
        case .dpdk: "dpdk"
        case .vhostUser: "vhost-user"
        case .ring: "ring"
        case .tap: "tap"
        case .patch: "patch"
        case .endpoint: "endpoint"
        case .tunnel(let options): options.type.rawValue
        }
    }

    /// The options as `martletctl port add --option` takes them, defaults included.
    public var options: [String: String] {
        switch self {
        case .dpdk(let device, let queues, let descriptors, let buffers):
            let key = Self.isPCIAddress(device) ? "pci" : "devargs"
            let options = [key: device, "queues": "\(queues)", "descriptors": "\(descriptors)"]
            return buffers == 0 ? options : options.merging(["buffers": "\(buffers)"]) { $1 }
        case .vhostUser(let path, let mode, let queues):
            return ["path": path, "mode": mode.rawValue, "queues": "\(queues)"]
        case .ring(let name, let size):
            return ["name": name, "size": "\(size)"]
        case .tap(let interface):
            return ["ifname": interface]
        case .patch(let peer):
            return ["peer": peer]
        case .endpoint(let options): return options.options
        case .tunnel(let options): return options.options
        }
    }

    /// Whether there is anything for workers to poll and send to.
    public var hasDevice: Bool {
        switch self {
        case .dpdk, .vhostUser, .ring, .tap, .endpoint: true
        case .patch, .tunnel: false
        }
    }

    /// A virtual machine is behind it.
    public var isGuest: Bool {
        if case .vhostUser = self { true } else { false }
    }

    /// Nil for a port that is no endpoint.
    public var endpoint: EndpointOptions? {
        if case .endpoint(let options) = self { options } else { nil }
    }

    /// Nil for a port that is no tunnel.
    public var tunnel: TunnelOptions? {
        if case .tunnel(let options) = self { options } else { nil }
    }

    /// - Parameters:
    ///   - name: one of `names`.
    ///   - options: keys and values as given; `portName` is the default of ring `name` and tap `ifname`.
    /// - Throws: `Refusal` for an unknown type or key, a missing or unusable value.
    public init(name: String, options: [String: String], portName: String) throws(Refusal) {
        var options = PortOptions(type: name, remaining: options)
        switch name {
        case "dpdk":
            let device = try options.device()
            self = .dpdk(
                device: device,
                queues: try options.number("queues", in: 1...64, default: 1),
                descriptors: try options.powerOfTwo("descriptors", in: 64...4096, default: 1024),
                buffers: try options.number("buffers", in: 0...1_048_576, default: 0)
            )
        case "vhost-user":
            self = .vhostUser(
                path: try options.socketPath(),
                mode: try options.vhostMode(),
                queues: try options.number("queues", in: 1...16, default: 1)
            )
        case "ring":
            self = .ring(
                name: try options.name("name", default: portName, maximum: 24),
                size: try options.powerOfTwo("size", in: 64...16384, default: 1024)
            )
        case "tap":
            self = .tap(interface: try options.name("ifname", default: portName, maximum: 15))
        case "patch":
            self = .patch(peer: try options.peer(of: portName))
        case "endpoint":
            self = .endpoint(try EndpointOptions(&options))
        case let name where TunnelType(rawValue: name) != nil:
            self = .tunnel(try TunnelOptions(TunnelType(rawValue: name)!, &options))
        default:
            throw Refusal("port type '\(name)' is unknown: use one of \(Self.names.joined(separator: ", "))")
        }
        try options.refuseRest()
    }

    /// Whether a device is named as a PCI address, as `lspci` prints it, with or without a domain and devargs.
    public static func isPCIAddress(_ text: String) -> Bool {
        text.wholeMatch(of: /([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7](,.*)?/) != nil
    }
}

/// The options of one `port add`, taken one by one so that what is left over is known to be unknown.
struct PortOptions {
    let type: String
    var remaining: [String: String]

    mutating func device() throws(Refusal) -> String {
        switch (remaining.removeValue(forKey: "pci"), remaining.removeValue(forKey: "devargs")) {
        case (let pci?, nil):
            guard PortType.isPCIAddress(pci) else {
                throw Refusal("'\(pci)' is not a PCI address: write it as 0000:3b:00.0 (lspci -D shows them)")
            }
            return pci
        case (nil, let devargs?) where !devargs.isEmpty:
            guard !PortType.isPCIAddress(devargs) else {
                throw Refusal("'\(devargs)' is a PCI address: give it as --option pci=\(devargs)")
            }
            return devargs
        case (nil, _):
            throw Refusal("port type dpdk needs its device: --option pci=ADDRESS or --option devargs=NAME,KEY=VALUE")
        case (_?, _?):
            throw Refusal("options pci and devargs name two devices: give one of them")
        }
    }

    mutating func socketPath() throws(Refusal) -> String {
        guard let path = remaining.removeValue(forKey: "path"), !path.isEmpty else {
            throw Refusal("port type vhost-user needs its socket: --option path=/run/martlet/NAME.sock")
        }
        guard path.hasPrefix("/") else {
            throw Refusal("socket path '\(path)' is relative: give an absolute path")
        }
        // sockaddr_un.sun_path holds 108 bytes with the terminating zero: unix(7).
        guard path.utf8.count <= 107 else {
            throw Refusal("socket path '\(path)' has \(path.utf8.count) bytes: the kernel takes 107 at most")
        }
        return path
    }

    mutating func vhostMode() throws(Refusal) -> PortType.VhostMode {
        let text = remaining.removeValue(forKey: "mode") ?? "client"
        guard let mode = PortType.VhostMode(rawValue: text) else {
            throw Refusal("vhost-user mode '\(text)' is unknown: use client (QEMU listens) or server (Martlet listens)")
        }
        return mode
    }

    mutating func number(_ key: String, in range: ClosedRange<Int>, default preset: Int) throws(Refusal) -> Int {
        guard let text = remaining.removeValue(forKey: key) else { return preset }
        guard let number = Int(text), range.contains(number) else {
            throw Refusal("option \(key)=\(text) is not a number from \(range.text)")
        }
        return number
    }

    mutating func powerOfTwo(_ key: String, in range: ClosedRange<Int>, default preset: Int) throws(Refusal) -> Int {
        let number = try number(key, in: range, default: preset)
        guard number.nonzeroBitCount == 1 else {
            throw Refusal("option \(key)=\(number) is not a power of two")
        }
        return number
    }

    mutating func name(_ key: String, default preset: String, maximum: Int) throws(Refusal) -> String {
        let name = remaining.removeValue(forKey: key) ?? preset
        guard name.wholeMatch(of: /[A-Za-z0-9_.-]+/) != nil, name.utf8.count <= maximum else {
            throw Refusal("option \(key)=\(name) is not a name: use 1 to \(maximum) letters, digits, '_', '.', '-'")
        }
        return name
    }

    mutating func peer(of port: String) throws(Refusal) -> String {
        guard remaining["peer"] != nil else {
            throw Refusal("port type patch needs its other end: --option peer=PORT, a patch port of another bridge")
        }
        let peer = try name("peer", default: "", maximum: 64)
        guard peer != port else {
            throw Refusal("port '\(port)' cannot be its own peer: name the patch port at the other end")
        }
        return peer
    }

    func refuseRest() throws(Refusal) {
        guard let unknown = remaining.keys.sorted().first else { return }
        throw Refusal("port type \(type) has no option '\(unknown)'")
    }
}
