public import Dataplane
import Flows

extension Switch {
    /// - Throws: `Refusal` for a name or setting that cannot be, or a bridge that exists.
    public func addBridge(_ request: BridgeAdd) throws(Refusal) -> Done {
        try checkName(request.name, of: "bridge")
        guard bridges[request.name] == nil else {
            throw Refusal("bridge '\(request.name)' exists already: change it with bridge set")
        }
        let settings = try request.options.applied(to: BridgeSettings())
        let first = firstFlow(of: request.name)
        try store.add(bridge: request.name, settings, first: first)
        install(bridge: request.name, settings, first: first)
        return Done()
    }

    /// The row of the flow that a new bridge has.
    /// - Parameter offset: how many others are new beside it.
    func firstFlow(of bridge: String, offset: Int = 0) -> FlowRecord {
        FlowRecord(
            row: lastFlowRow + 1 + Int64(offset),
            bridge: bridge,
            flow: Dataplane.firstFlow,
            line: FlowText.print(Dataplane.firstFlow)
        )
    }

    /// Has the dataplane know a bridge that the state file has.
    func install(bridge: String, _ settings: BridgeSettings, first: FlowRecord) {
        bridges[bridge] = settings
        commit()
        lastFlowRow = first.row
        flowRows[bridge] = FlowRows(dataplane.flows(of: bridge).map(\.number), [first.row])
    }

    public func setBridge(_ request: BridgeSet) throws(Refusal) -> Done {
        let settings = try request.options.applied(to: try bridge(request.name))
        let held = stations.keys.count { $0.bridge == request.name }
        guard held <= settings.fdbCapacity else {
            throw Refusal(
                "FDB capacity \(settings.fdbCapacity) is below the \(held) static entries of bridge "
                    + "'\(request.name)': delete some first"
            )
        }
        try store.put(bridge: request.name, settings)
        bridges[request.name] = settings
        commit()
        return Done()
    }

    /// Removes a bridge with its flows, groups, meters, ports and stations.
    public func deleteBridge(_ request: BridgeDelete) throws(Refusal) -> Done {
        _ = try bridge(request.name)
        guard plannedFlows[request.name] == nil else {
            throw Refusal("bridge '\(request.name)' is there for network documents: change those")
        }
        try store.delete(bridge: request.name)
        tell(of: watchers.isEmpty ? [] : dataplane.flows(of: request.name), on: request.name, .delete)
        flowRows[request.name] = nil
        watchedPorts[request.name] = nil
        bridges[request.name] = nil
        unplug(ports.values.filter { $0.record.bridge == request.name })
        return Done()
    }

    public func listBridges() -> BridgeList.Response {
        let list = bridges.sorted { $0.key < $1.key }.map { name, settings in
            BridgeList.Bridge(
                name: name,
                fdbCapacity: settings.fdbCapacity,
                fdbAgeing: settings.fdbAgeing,
                forwardReserved: settings.forwardsReserved,
                ports: ports.values.count { $0.record.bridge == name }
            )
        }
        return BridgeList.Response(bridges: list)
    }

    public func show() -> Show.Response {
        let list = bridges.sorted { $0.key < $1.key }.map { name, settings in
            Show.Bridge(
                name: name,
                settings: BridgeOptions(settings),
                ports: portsInOrder(of: name).map { describe($0, details: false) }
            )
        }
        return Show.Response(bridges: list)
    }

    /// - Throws: `Refusal` for a bridge that does not exist.
    @discardableResult
    func bridge(_ name: String) throws(Refusal) -> BridgeSettings {
        guard let settings = bridges[name] else {
            let known = bridges.keys.sorted().joined(separator: ", ")
            let mend = known.isEmpty ? "add it with bridge add" : "there is \(known.prefix(200))"
            throw Refusal("bridge '\(name.prefix(80))' does not exist: \(mend)")
        }
        return settings
    }
}
