import Dataplane
import Flows

// Groups are written and committed as flows are: all that the dataplane could refuse is asked first, then comes the state
// file, which may fail, then the dataplane.
extension Switch {
    /// Groups of a bridge.
    private static let groupLimit = 16_384
    /// Buckets of a group: a select group draws a lot for each.
    private static let bucketLimit = 1024

    /// Adds groups, all or none.
    /// - Throws: `Refusal`, or `FlowRefusal` with the place in the text.
    @inline(never) public func addGroups(_ request: GroupAdd) throws -> GroupAdd.Response {
        let document = try document(request.neededText(), on: request.bridge)
        try document.checkNew(beside: groupNumbers(of: request.bridge), limit: Self.groupLimit)
        try put(document, on: request.bridge)
        return GroupAdd.Response(added: document.statements.count)
    }

    /// Replaces groups that exist, all or none.
    @inline(never) public func modifyGroups(_ request: GroupModify) throws -> GroupModify.Response {
        let document = try document(request.neededText(), on: request.bridge)
        try document.checkPresent(among: groupNumbers(of: request.bridge))
        try put(document, on: request.bridge)
        return GroupModify.Response(modified: document.statements.count)
    }

    /// Removes groups, and the flows that use them.
    public func deleteGroups(_ request: GroupDelete) throws -> GroupDelete.Response {
        let name = request.bridge
        try bridge(name)
        let removing = try Group.chosen(request.groups, among: groupNumbers(of: name), on: name)
        if let refusal = dataplane.refusal(ofAdding: [], removing: Array(removing), on: name) {
            throw Refusal(refusal.reason)
        }
        let orphans = dataplane.flows(of: name, usingGroups: removing)
        let none: [NumberedRecord<Group>] = []
        let numbers = removing.sorted()
        try store.change(.groups, of: name, removing: numbers, flows: rows(of: orphans.all, on: name), putting: none)
        forget(try dataplane.changeGroups(of: name, removing: numbers), on: name, .group)
        watchedPorts[name] = dataplane.groups(of: name).watchedPorts
        return GroupDelete.Response(deleted: removing.count, flows: orphans.all.count)
    }

    func groupListing(_ request: GroupDump) throws(Refusal) -> GroupListing {
        try bridge(request.bridge)
        let names = request.names == true ? portNames(of: request.bridge) : [:]
        return GroupListing(groups: dataplane.groups(of: request.bridge), names: names)
    }

    /// Puts the groups of the state file in place.
    /// - Throws: `StoreError` for one that cannot run.
    func restoreGroups(_ records: [NumberedRecord<Group>]) throws(StoreError) {
        for (bridge, records) in Dictionary(grouping: records, by: \.bridge) {
            do throws(Refusal) {
                try dataplane.changeGroups(of: bridge, adding: records.map(\.value))
            } catch {
                throw StoreError(
                    "state file '\(store.path)' has a group of bridge '\(bridge)' that cannot run (\(error.reason)): "
                        + "install the martlet that wrote it"
                )
            }
            watchedPorts[bridge] = dataplane.groups(of: bridge).watchedPorts
        }
    }

    // MARK: Checks

    private func groupNumbers(of bridge: String) -> Set<UInt32> { Set(dataplane.groups(of: bridge).map(\.identifier)) }

    private func document(_ text: String, on bridge: String) throws -> StatementDocument<Group> {
        try self.bridge(bridge)
        let resolver = portResolver(of: bridge)
        let document = try StatementDocument(text) { text throws(FlowSyntaxError) in
            try FlowText.groups(text, ports: resolver)
        }
        let numbers = portNumbers(of: bridge)
        for (index, group) in document.statements.enumerated() {
            guard group.buckets.count <= Self.bucketLimit else {
                throw document.refusal(
                    of: index,
                    "group \(group.identifier) has \(group.buckets.count) buckets; allowed are \(Self.bucketLimit)"
                )
            }
            if let port = group.portMissing(from: numbers) {
                throw document.refusal(of: index, port.absence(from: bridge), ports: resolver) { action in
                    [action].portMissing(from: numbers) != nil
                }
            }
        }
        return document
    }

    private func put(_ document: StatementDocument<Group>, on bridge: String) throws {
        let groups = document.statements
        if let refusal = dataplane.refusal(ofAdding: groups, removing: [], on: bridge) {
            let index = groups.firstIndex { refusal.groups.contains($0.identifier) } ?? groups.count - 1
            throw document.refusal(of: index, refusal.reason, ports: portResolver(of: bridge)) { action in
                refusal.actions.contains(action)
            }
        }
        var records: [NumberedRecord<Group>] = []
        for (index, group) in groups.enumerated() {
            let line = FlowText.print(group)
            guard line.utf8.count <= FlowText.greatestLineLength else {
                throw document.refusal(of: index, FlowText.reasonForLength(line.utf8.count))
            }
            records.append(NumberedRecord(bridge: bridge, number: group.identifier, value: group, line: line))
        }
        try store.change(.groups, of: bridge, putting: records)
        // Whether their ports have a link is known before a packet meets them.
        watchedPorts[bridge, default: []].formUnion(groups.watchedPorts)
        followLinks()
        try dataplane.changeGroups(of: bridge, adding: groups)
        watchedPorts[bridge] = dataplane.groups(of: bridge).watchedPorts
    }
}

extension StatementDocument<Group> {
    /// The same for an action of a group, or what a bucket watches.
    fileprivate func refusal(
        of index: Int,
        _ reason: String,
        ports: @escaping PortResolver,
        becauseOf objects: @escaping (Action) -> Bool
    ) -> FlowRefusal {
        let place = FlowText.place(ofGroup: index, in: text, ports: ports, whereAction: objects)
        return FlowRefusal(line: place.line, column: place.column, reason: reason)
    }
}

extension Group {
    /// The first port that a bucket watches or an action in it names, and that is not among `ports`.
    fileprivate func portMissing(from ports: Set<UInt32>) -> FlowPort? {
        for bucket in buckets {
            if let port = bucket.watchPort, !ports.contains(port.rawValue) { return port }
            if let port = bucket.actions.portMissing(from: ports) { return port }
        }
        return nil
    }
}

extension [Group] {
    /// The numbers of the ports that buckets watch.
    fileprivate var watchedPorts: Set<UInt16> {
        Set(flatMap { $0.buckets.compactMap { $0.watchPort.map { UInt16(truncatingIfNeeded: $0.rawValue) } } })
    }
}
