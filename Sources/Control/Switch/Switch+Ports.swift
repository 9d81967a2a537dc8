public import Dataplane
import Glibc

extension Switch {
    /// Opens a device and plugs it into a bridge.
    /// - Throws: `Refusal`; the device is closed again then.
    public func addPort(_ request: PortAdd) throws(Refusal) -> PortDescription {
        let record = try record(for: request)
        let port = Port(record: record, index: try freeIndex())
        if record.type.hasDevice { try io.open(port.opening) }
        do {
            try store.put(record)
        } catch {
            if record.type.hasDevice { io.close(port.index) }
            throw error
        }
        ports[record.name] = port
        commit()
        installEndpoint(of: port)
        logger.info("port added", metadata: ["port": "\(record.name)", "bridge": "\(record.bridge)"])
        return describe(port, details: false)
    }

    /// Replaces the VLAN policy of a port.
    public func setPort(_ request: PortSet) throws(Refusal) -> PortDescription {
        var port = try ownPort(request.name)
        guard !request.vlan.isEmpty else {
            throw Refusal("port set '\(request.name)' says nothing to set: give a tag, trunks or a VLAN mode")
        }
        let former = port
        port.record.vlan = try request.vlan.policy()
        if let options = port.record.type.endpoint { try checkEndpoint(options, of: port.record, beside: records) }
        try store.put(port.record)
        removeEndpoint(of: former)
        ports[request.name] = port
        commit()
        installEndpoint(of: port)
        return describe(port, details: false)
    }

    public func deletePort(_ request: PortDelete) throws(Refusal) -> Done {
        let port = try ownPort(request.name)
        try store.delete(port: request.name)
        unplug([port])
        return Done()
    }

    public func listPorts(_ request: PortList) throws(Refusal) -> PortList.Response {
        if let name = request.bridge { try bridge(name) }
        let names = request.bridge.map { [$0] } ?? bridges.keys.sorted()
        return PortList.Response(ports: names.flatMap(portsInOrder).map { describe($0, details: false) })
    }

    public func showPort(_ request: PortShow) throws(Refusal) -> PortDescription {
        describe(try port(request.name), details: true)
    }

    /// - Throws: `Refusal` for a port that does not exist.
    func port(_ name: String) throws(Refusal) -> Port {
        guard let port = ports[name] else {
            throw Refusal("port '\(name.prefix(80))' does not exist: port list shows those that do")
        }
        return port
    }

    /// - Throws: `Refusal` for a port that does not exist, or that documents want.
    private func ownPort(_ name: String) throws(Refusal) -> Port {
        let port = try port(name)
        guard !port.record.isPlanned else {
            throw Refusal("port '\(name)' is there for network documents: change those (network list shows them)")
        }
        return port
    }

    /// By name.
    var records: [String: PortRecord] { ports.mapValues(\.record) }

    func portsInOrder(of bridge: String) -> [Port] {
        ports.values.filter { $0.record.bridge == bridge }.sorted { $0.record.number < $1.record.number }
    }

    /// Takes ports, which the state file no longer holds, out of memory, the dataplane and the packet engine.
    func unplug(_ gone: [Port]) {
        for port in gone {
            let name = port.record.name
            ports[name] = nil
            stations = stations.filter { $0.value != name }
            pins = pins.filter { $0.key.port != name }
            captures.removeValue(forKey: name)?.end()
        }
        commit()
        io.close(gone.filter { $0.failure == nil && $0.record.type.hasDevice }.map(\.index))
        logger.info("ports removed", metadata: ["ports": "\(gone.map(\.record.name).sorted())"])
    }

    func describe(_ port: Port, details: Bool) -> PortDescription {
        let record = port.record
        let status = status(of: port)
        return PortDescription(
            name: record.name,
            bridge: record.bridge,
            number: Int(record.number.value),
            type: record.type.name,
            options: record.type.options,
            mtu: record.mtu,
            vlan: PortDescription.VLAN(
                mode: record.vlan.mode.rawValue,
                tag: record.vlan.mode == .trunk ? nil : Int(record.vlan.tag.value),
                trunks: record.vlan.trunks.sorted().map { Int($0.value) }
            ),
            link: status.linkUp ? "up" : "down",
            error: port.failure,
            details: details ? status.details + droppedDetail(of: port) : nil,
            queues: details ? status.queues : nil
        )
    }

    /// What was dropped on the port and why, if anything was.
    private func droppedDetail(of port: Port) -> [PortStatus.Detail] {
        let drops = dataplane.counters(of: port.index).drops
        let words = DropReason.allCases.filter { drops[$0.rawValue] > 0 }.map { "\($0.name) \(drops[$0.rawValue])" }
        return words.isEmpty ? [] : [.init("dropped", words.joined(separator: ", "))]
    }

    /// What the port's device says of itself, or the patch's other end.
    func status(of port: Port) -> PortStatus {
        guard port.failure == nil else { return PortStatus(linkUp: false) }
        if let tunnel = port.record.type.tunnel {
            let name = endpoint(of: tunnel)
            let words = name ?? reasonForNoEndpoint(of: port) ?? ""
            return PortStatus(linkUp: name != nil, details: [.init("endpoint", words)])
        }
        guard case .patch = port.record.type else { return io.status(of: port.index) }
        guard let peer = peer(of: port) else {
            return PortStatus(linkUp: false, details: [.init("joined", "no: \(reasonForNoPeer(of: port))")])
        }
        let place = "port \(peer.record.number.value) of bridge \(peer.record.bridge)"
        return PortStatus(linkUp: true, details: [.init("joined", "to \(peer.record.name), \(place)")])
    }

    // MARK: Checks of `port add`

    private func record(for request: PortAdd) throws(Refusal) -> PortRecord {
        try bridge(request.bridge)
        try checkName(request.name, of: "port")
        if let port = ports[request.name] {
            throw Refusal("port '\(request.name)' exists already, on bridge '\(port.record.bridge)': take another name")
        }
        var options = request.options ?? [:]
        let mtu = options.removeValue(forKey: "mtu")
        let type = try PortType(name: request.type, options: options, portName: request.name)
        let record = PortRecord(
            name: request.name,
            bridge: request.bridge,
            number: try number(request.number, on: request.bridge, beside: records),
            type: type,
            mtu: try mtu.map(checkedMTU) ?? type.usualMTU,
            vlan: try request.vlan.policy()
        )
        try checkDevice(of: record, beside: records)
        return record
    }

    private func checkedMTU(_ text: String) throws(Refusal) -> Int {
        guard let mtu = Int(text), (68...9000).contains(mtu) else {
            throw Refusal("option mtu=\(text) is not a number from 68 to 9000")
        }
        return mtu
    }

    /// - Parameter wanted: nil for any that is free.
    func number(_ wanted: Int?, on bridge: String, beside others: [String: PortRecord]) throws(Refusal) -> PortNumber {
        let taken = others.values.filter { $0.bridge == bridge }
        guard let wanted else {
            let numbers = Set(taken.map(\.number))
            guard let free = PortNumber.range.lazy.compactMap(PortNumber.init).first(where: { !numbers.contains($0) })
            else { throw Refusal("bridge '\(bridge)' has no port number left: delete a port") }
            return free
        }
        guard let number = UInt16(exactly: wanted).flatMap(PortNumber.init) else {
            let range = PortNumber.range
            throw Refusal("port number \(wanted) is outside \(range.lowerBound) to \(range.upperBound)")
        }
        if let holder = taken.first(where: { $0.number == number }) {
            throw Refusal("port number \(wanted) belongs to port '\(holder.name)': take another or none")
        }
        return number
    }

    func freeIndex() throws(Refusal) -> PortIndex {
        let taken = Set(ports.values.map(\.index.value))
        guard let free = (0..<UInt16(PortIndex.capacity)).first(where: { !taken.contains($0) }) else {
            throw Refusal("the switch has its \(PortIndex.capacity) ports already: delete one first")
        }
        return PortIndex(free)
    }

    /// - Parameter others: the ports that it will be beside.
    func checkDevice(of record: PortRecord, beside others: [String: PortRecord]) throws(Refusal) {
        switch record.type {
        case .patch(let peer): return try checkPeer(peer, of: record, beside: others)
        case .endpoint(let options): return try checkEndpoint(options, of: record, beside: others)
        case .tunnel(let options): return try checkTunnel(options, of: record, beside: others)
        case .dpdk, .vhostUser, .ring, .tap: break
        }
        guard let device = record.type.device else { return }
        if let holder = others.values.first(where: { $0.type.device == device }) {
            throw Refusal("\(device.words) belongs to port '\(holder.name)' already: give another one")
        }
        guard case .vhostUser(let path, let mode, _) = record.type else { return }
        if let kind = fileKind(path), kind != S_IFSOCK {
            throw Refusal("'\(path)' is \(fileKindWords(kind)) and no socket: remove it or give another path")
        }
        let directory = path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex)
        if mode == .server, !directory.isEmpty, fileKind(String(directory)) != S_IFDIR {
            throw Refusal("directory '\(directory)' of socket '\(path)' does not exist: create it")
        }
    }
}

extension PortType {
    /// What only one port can have.
    struct Device: Hashable {
        let words: String
    }

    /// Patches, endpoints and tunnels have nothing; their addresses are checked elsewhere.
    fileprivate var device: Device? {
        switch self {
        case .dpdk(let device, _, _, _): Device(words: "device '\(device.prefix { $0 != "," })'")
        case .vhostUser(let path, _, _): Device(words: "socket path '\(path)'")
        case .ring(let name, _): Device(words: "ring '\(name)'")
        case .tap(let interface): Device(words: "interface '\(interface)'")
        case .patch, .endpoint, .tunnel: nil
        }
    }

    /// The MTU of a port that is given none: what the wire has, or the most where memory is the wire.
    var usualMTU: Int {
        switch self {
        case .dpdk, .tap, .endpoint: 1500
        // What is too long in its tunnel's headers is so for the port that they leave through.
        case .vhostUser, .ring, .patch, .tunnel: 9000
        }
    }
}

/// The kind of a file, one of the S_IF... constants of inode(7); nil when there is none.
func fileKind(_ path: String) -> mode_t? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    return status.st_mode & S_IFMT
}

/// "a regular file", for sentences.
func fileKindWords(_ kind: mode_t) -> String {
    switch kind {
    case S_IFREG: "a regular file"
    case S_IFDIR: "a directory"
    case S_IFSOCK: "a socket"
    default: "a special file"
    }
}
