import Dataplane
import Flows
import Synchronization

extension Switch {
    /// Begins to tell of flows that go. Whoever holds the result ends it with `endWatch`.
    /// - Throws: `Refusal` for a bridge that does not exist.
    func watchFlows(_ request: FlowWatch) throws(Refusal) -> FlowWatcher {
        if let name = request.bridge { try bridge(name) }
        let watcher = FlowWatcher(bridge: request.bridge)
        watchers[ObjectIdentifier(watcher)] = watcher
        return watcher
    }

    func endWatch(_ watcher: FlowWatcher) {
        watchers[ObjectIdentifier(watcher)] = nil
        watcher.end()
    }

    /// Tells whoever watches of flows that went and have `send_flow_rem`.
    func tell(of flows: [InstalledFlow], on bridge: String, _ reason: FlowRemoved.Reason) {
        for watcher in watchers.values where watcher.bridge == nil || watcher.bridge == bridge {
            for flow in flows where flow.flow.flags.contains(.sendFlowRemoved) {
                watcher.tell(FlowWatcher.Notice(bridge: bridge, flow: flow, reason: reason))
            }
        }
    }
}

/// Notices on their way to one connection. Who reads too slowly loses the oldest, and learns how many with the next.
final class FlowWatcher: Sendable {
    struct Notice: Sendable {
        let bridge: String
        let flow: InstalledFlow
        let reason: FlowRemoved.Reason
    }

    /// Notices that wait for a connection.
    static let capacity = 4096

    /// nil is every bridge.
    let bridge: String?
    let notices: AsyncStream<Notice>
    private let source: AsyncStream<Notice>.Continuation
    private let lost = Atomic<UInt64>(0)

    init(bridge: String?) {
        self.bridge = bridge
        (notices, source) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.capacity))
    }

    func tell(_ notice: Notice) {
        if case .dropped = source.yield(notice) { lost.add(1, ordering: .relaxed) }
    }

    func end() { source.finish() }

    /// A notice as the connection gets it now.
    func message(_ notice: Notice) -> FlowRemoved {
        let statistics = notice.flow.statistics
        return FlowRemoved(
            bridge: notice.bridge,
            flow: FlowText.print(notice.flow.flow),
            reason: notice.reason,
            duration: statistics.seconds,
            packetCount: statistics.packetCount,
            byteCount: statistics.byteCount,
            lost: lost.load(ordering: .relaxed)
        )
    }
}
