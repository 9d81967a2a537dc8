import CPacket
import Dataplane
import Flows

/// A switch with one worker. Each packet that it receives must come out exactly once, and its lengths must agree.
final class FuzzedSwitch: @unchecked Sendable {
    let dataplane: Dataplane
    /// Its clock, in seconds, that never goes back.
    var now: UInt32 = 100
    private let ledger = Ledger()
    private let burst = UnsafeMutablePointer<Packet?>.allocate(capacity: Lane.burstLength)

    /// More goes to a port than its queue holds: flows and floods may send twice.
    private static let drain: martlet_drain = { context in
        Unmanaged<FuzzedSwitch>.fromOpaque(context!).takeUnretainedValue().take()
    }

    /// - Parameters:
    ///   - connectionCapacity: connections that are tracked at once.
    ///   - flows: by bridge; one without any has NORMAL.
    init(_ configuration: SwitchConfiguration, connectionCapacity: Int = 256, flows: [String: [String]]) {
        dataplane = Dataplane(
            workerCount: 1,
            copy: Ledger.copy,
            drain: Self.drain,
            cacheCapacity: 256,
            connectionCapacity: connectionCapacity
        )
        dataplane.commit(configuration)
        dataplane.lanes[0].drainContext.pointee = Unmanaged.passUnretained(self).toOpaque()
        for (bridge, texts) in flows {
            let first = dataplane.flows(of: bridge).map(\.number)
            let flows = texts.map { try! FlowText.flow($0) }
            _ = try! dataplane.changeFlows(of: bridge, removing: first, adding: flows)
        }
    }

    func receive(_ frames: [Frame], from port: UInt16) {
        let lane = dataplane.lanes[0]
        for (index, frame) in frames.enumerated() { burst[index] = ledger.make(frame) }
        lane.receive(burst, count: frames.count, from: port, now: now)
        take()
        lane.receiveDatagrams(now: now)
        take()
        lane.maintain(now: now)
        lane.retryHeld(now: now)
        take()
        precondition(ledger.heads.count == lane.heldCount + lane.waitingFragmentCount, "a packet is lost")
    }

    /// Takes what is sent or dropped.
    private func take() {
        let lane = dataplane.lanes[0]
        for index in 0..<lane.outputCount.pointee {
            let output = lane.outputs[index]
            let queued = lane.queued(output)
            for place in 0..<queued.count { retire(lane.queue(output)[place]!) }
            lane.finish(output, sent: queued.count, bytes: queued.bytes, unsent: .transmitFull)
        }
        lane.outputCount.pointee = 0
        for index in 0..<lane.dropCount.pointee { retire(lane.drops[index]!) }
        lane.dropCount.pointee = 0
    }

    private func retire(_ packet: Packet) {
        precondition(Ledger.bytes(of: packet) != nil, "the lengths of a packet disagree")
        precondition(ledger.retire(packet), "a packet came out twice")
    }
}
