import Dataplane
import Foundation

/// A method of the socket: its name, and what turns a line into the result's bytes.
struct Method: Sendable {
    /// Takes the text that the connection has staged.
    typealias Staged = () throws(Refusal) -> String

    let name: String
    private let answer: @Sendable (Switch, Message.ID, Data, Staged) async throws(Message.Failure) -> Data

    /// Every method that needs nothing but the switch and staged text. Captures and notices belong to a connection: see
    /// `Connection`.
    static let all: [String: Method] = Dictionary(
        uniqueKeysWithValues: [
            Method(VersionShow.self) { control, _ in control.version() },
            Method(Show.self) { control, _ in control.show() },
            Method(BridgeAdd.self) { try $0.addBridge($1) },
            Method(BridgeSet.self) { try $0.setBridge($1) },
            Method(BridgeDelete.self) { try $0.deleteBridge($1) },
            Method(BridgeList.self) { control, _ in control.listBridges() },
            Method(PortAdd.self) { try $0.addPort($1) },
            Method(PortSet.self) { try $0.setPort($1) },
            Method(PortDelete.self) { try $0.deletePort($1) },
            Method(PortList.self) { try $0.listPorts($1) },
            Method(PortShow.self) { try $0.showPort($1) },
            Method(WorkerList.self) { control, _ in control.listWorkers() },
            Method(WorkerAssign.self) { try $0.assignQueue($1) },
            Method(FDBShow.self) { try $0.showFDB($1) },
            Method(FDBStats.self) { try $0.fdbStatistics($1) },
            Method(FDBAdd.self) { try $0.addStation($1) },
            Method(FDBDelete.self) { try $0.deleteStation($1) },
            Method(FDBFlush.self) { try $0.flushFDB($1) },
            Method(ConntrackDump.self, { try $0.dumpConnections($1) }, { $0.response }),
            Method(ConntrackFlush.self) { try $0.flushConnections($1) },
            Method(ConntrackSet.self) { try $0.setTracking($1) },
            Method(ConntrackSettings.self) { control, _ in control.trackingSettings() },
            Method(ConntrackStats.self) { control, _ in control.connectionStatistics() },
            Method(NeighborList.self) { try $0.listNeighbors($1) },
            Method(NetworkApply.self) { try $0.applyNetwork($1) },
            Method(NetworkList.self) { control, _ in control.listNetworks() },
            Method(NetworkShow.self) { try $0.showNetwork($1) },
            Method(SecurityGroupList.self) { try $0.listSecurityGroups($1) },
            Method(SecurityGroupShow.self) { try $0.showSecurityGroup($1) },
            Method(NetworkDigest.self) { try $0.networkDigest($1) },
            Method(NetworkStatus.self, waiting: { try await $0.networkStatus($1) }),
            Method(TunnelList.self) { control, _ in control.listTunnels() },
            Method(FlowAdd.self) { try $0.addFlows($1) },
            Method(FlowReplace.self) { try $0.replaceFlows($1) },
            Method(FlowModify.self) { try $0.modifyFlows($1) },
            Method(FlowDelete.self) { try $0.deleteFlows($1) },
            Method(FlowDump.self, { try $0.listing($1) }, { $0.response }),
            Method(GroupAdd.self) { try $0.addGroups($1) },
            Method(GroupModify.self) { try $0.modifyGroups($1) },
            Method(GroupDelete.self) { try $0.deleteGroups($1) },
            Method(GroupDump.self, { try $0.groupListing($1) }, { $0.response }),
            Method(MeterAdd.self) { try $0.addMeters($1) },
            Method(MeterModify.self) { try $0.modifyMeters($1) },
            Method(MeterDelete.self) { try $0.deleteMeters($1) },
            Method(MeterDump.self) { try $0.dumpMeters($1) },
            Method(MeterStats.self) { try $0.meterStatistics($1) },
            Method(AddressSetAdd.self) { try $0.addAddressSet($1) },
            Method(AddressSetDelete.self) { try $0.deleteAddressSet($1) },
            Method(AddressSetAddMembers.self) { try $0.addMembers($1) },
            Method(AddressSetDeleteMembers.self) { try $0.deleteMembers($1) },
            Method(AddressSetList.self) { control, _ in control.listAddressSets() },
            Method(AddressSetShow.self, { try $0.members($1) }, { $0.response }),
            Method(FlowCached.self, { try $0.cachedFlows($1) }, { $0.response }),
            Method(Trace.self, { try $0.trace($1) }, { $0.response }),
            Method(StatsPorts.self) { try $0.portStatistics($1) },
            Method(StatsWorkers.self) { control, _ in control.workerStatistics() },
            Method(StatsCache.self) { control, _ in control.cacheStatistics() },
            Method(StatsDrops.self) { try $0.dropStatistics($1) },
            Method(LogLevelSet.self) { try $0.setLogLevel($1) },
            Method(Doctor.self) { control, _ in control.doctor() },
        ].map { ($0.name, $0) }
    )

    /// - Parameter body: what the switch does; the answer is written down outside the switch, so that a long one
    ///   keeps nobody else waiting.
    private init<R: Request>(_ type: R.Type, _ body: @escaping @Sendable (isolated Switch, R) throws -> R.Response) {
        self.init(type, body, { $0 })
    }

    /// - Parameter waiting: what the switch does, which may take as long as the request says.
    private init<R: Request>(_: R.Type, waiting body: @escaping @Sendable (Switch, R) async throws -> R.Response) {
        name = R.method
        answer = { control, id, line, _ throws(Message.Failure) in
            let request = try Message.parameters(R.self, line)
            do {
                return Message.line(id: id, result: try await body(control, request))
            } catch {
                throw .refused(by: error)
            }
        }
    }

    /// The same for a request whose text may be staged.
    private init<R: TextRequest>(_ type: R.Type, _ body: @escaping @Sendable (isolated Switch, R) throws -> R.Response)
    {
        self.init(
            type,
            { control, request in
                if request.staged == true { control.hasTakenMuch = true }
                return try body(control, request)
            },
            { $0 },
            { try $0.complete($1) }
        )
    }

    /// - Parameters:
    ///   - body: what the switch does.
    ///   - response: what is made of it outside the switch.
    ///   - complete: puts in what the connection has.
    private init<R: Request, Outcome: Sendable>(
        _: R.Type,
        _ body: @escaping @Sendable (isolated Switch, R) throws -> Outcome,
        _ response: @escaping @Sendable (Outcome) -> R.Response,
        _ complete: @escaping @Sendable (inout R, Staged) throws -> Void = { _, _ in }
    ) {
        name = R.method
        answer = { control, id, line, staged throws(Message.Failure) in
            var parameters = try Message.parameters(R.self, line)
            do {
                try complete(&parameters, staged)
                let request = parameters
                let outcome = try await control.perform { control in try body(control, request) }
                return Message.line(id: id, result: response(outcome))
            } catch {
                throw .refused(by: error)
            }
        }
    }

    func callAsFunction(
        _ control: Switch,
        _ id: Message.ID,
        _ line: Data,
        staged: Staged
    ) async throws(Message.Failure) -> Data {
        try await answer(control, id, line, staged)
    }
}

extension TextRequest {
    /// Puts in the text that is staged, if the request says so, which is gone then in any case.
    fileprivate mutating func complete(_ staged: Method.Staged) throws(Refusal) {
        guard self.staged == true else { return }
        let given = text
        text = try staged()
        guard given == nil else { throw Refusal("a text is given and another one staged: one of the two is enough") }
    }
}

extension Switch {
    fileprivate func perform<Result: Sendable>(
        _ body: @Sendable (isolated Switch) throws -> Result
    ) throws -> Result {
        try body(self)
    }
}
