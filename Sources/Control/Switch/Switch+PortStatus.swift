public import Dataplane
import Networking

/// A port of a document, as it is looked at ten times a second.
struct FollowedPort {
    let id: String
    /// That of the port of the switch.
    let name: String
    let revision: UInt64
}

// Neutron waits for ports that forward before it says that they are there.
extension Switch {
    /// Those who may wait at a time.
    static let greatestStatusWaiterCount = 64

    /// How the ports are that documents want here, or what of that changed, if need be after a while.
    /// - Throws: `Refusal` for a wait that is too long, or when too many wait already.
    public func networkStatus(_ request: NetworkStatus) async throws(Refusal) -> NetworkStatus.Response {
        let seconds = request.wait ?? 0
        guard (0...NetworkStatus.greatestWait).contains(seconds) else {
            throw Refusal("wait \(seconds) is outside 0 to \(NetworkStatus.greatestWait) seconds")
        }
        let response = portStatuses.response(since: request.since)
        guard seconds > 0, !response.complete, response.ports.isEmpty else { return response }
        guard statusWaiters.count < Self.greatestStatusWaiterCount else {
            let reason = "\(statusWaiters.count) others wait for changes of ports: ask again later, or without wait"
            throw Refusal(reason, isPassing: true)
        }
        await waitForStatus(.seconds(seconds))
        return portStatuses.response(since: request.since)
    }

    /// Returns when a port's status changed, the time is over, or the task is cancelled.
    private func waitForStatus(_ limit: Duration) async {
        lastStatusWaiter += 1
        let number = lastStatusWaiter
        let timer = Task {
            guard (try? await Task.sleep(for: limit)) != nil else { return }
            wake(statusWaiter: number)
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { return continuation.resume() }
                statusWaiters[number] = continuation
            }
        } onCancel: {
            // Comes after the continuation is there, for that needs the switch as well.
            Task { await self.wake(statusWaiter: number) }
        }
        timer.cancel()
    }

    private func wake(statusWaiter number: UInt64) { statusWaiters.removeValue(forKey: number)?.resume() }

    // MARK: - Following

    /// Looks which of some ports documents want here now. Call it when their documents have changed.
    func follow(_ ids: [String]) {
        var hasRemoved = false
        for id in ids {
            let port = network.portHere(id)
            followedPorts[id] = port.map { FollowedPort(id: id, name: $0.deviceName, revision: $0.revision) }
            if port == nil, portStatuses.remove(id) { hasRemoved = true }
        }
        followPorts(hasChanged: hasRemoved)
    }

    /// Notes what became of the ports that documents want here, and wakes who waits for that.
    /// - Parameter hasChanged: whether there is something to wake them for already.
    func followPorts(hasChanged: Bool = false) {
        var hasChanged = hasChanged
        for followed in followedPorts.values {
            guard let port = ports[followed.name] else { continue }
            let status: NetworkStatus.Status = port.failure != nil ? .error : hasLink(port) ? .up : .down
            let now = NetworkStatus.Port(
                id: followed.id,
                status: status,
                reason: port.failure,
                revision: followed.revision
            )
            if portStatuses.put(now) { hasChanged = true }
        }
        guard hasChanged else { return }
        for number in statusWaiters.keys { wake(statusWaiter: number) }
    }
}
