import Dataplane
import Flows
import Wire

/// Frames of any bytes, cut into segments anywhere, into ports of every VLAN mode. Each must come out exactly once,
/// and its lengths must agree.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFrames(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = UnsafeBufferPointer(start: bytes, count: count)[...]
    var frames: [Frame] = []
    guard let port = input.popFirst() else { return 0 }
    // One octet of length, one of segments, then the frame.
    while frames.count < Lane.burstLength, let length = input.popFirst(), let cuts = input.popFirst() {
        let frame = Array(input.prefix(max(Int(length), 1)))
        input = input.dropFirst(frame.count)
        guard !frame.isEmpty else { break }
        frames.append(Frame(frame, segments: [Int(cuts & 0x1f), Int(cuts >> 5)], headroom: cuts & 1 == 0 ? 128 : 3))
    }
    for frame in frames { readKey(frame.bytes) }
    FuzzedSwitch.shared.receive(frames, from: UInt16(port) % UInt16(FuzzedSwitch.policies.count + 1))
    return 0
}

/// What the flow tables see of a frame in one segment that ends where the frame does.
private func readKey(_ frame: [UInt8]) {
    let segment = UnsafeMutableRawBufferPointer.allocate(byteCount: frame.count, alignment: 1)
    defer { segment.deallocate() }
    segment.copyBytes(from: frame)
    var layout = FrameLayout()
    let key = FlowKey(frame: UnsafeRawBufferPointer(segment), length: frame.count, layout: &layout)
    precondition(key != nil, "nothing is scattered")
}

/// A switch with one worker and a port of each kind.
private struct FuzzedSwitch: @unchecked Sendable {
    static let shared = FuzzedSwitch()

    static let policies = [
        policy(.trunk), policy(.access, 10), policy(.nativeTagged, 10), policy(.nativeUntagged, 10, [20]),
        policy(.dot1qTunnel, 100), policy(.dot1qTunnel, 100, [5]), policy(.trunk, nil, [10]), policy(.access, 0),
    ]

    private let dataplane = Dataplane(workerCount: 1, copy: Ledger.copy)
    private let ledger = Ledger()
    private let burst = UnsafeMutablePointer<Packet?>.allocate(capacity: Lane.burstLength)

    private init() {
        let ports = Self.policies.enumerated().map { number, policy in
            PortConfiguration(
                index: PortIndex(UInt16(number)),
                name: "p\(number)",
                bridge: "br",
                number: PortNumber(UInt16(number + 1))!,
                vlan: policy,
                frameLength: 120
            )
        }
        var settings = BridgeSettings()
        settings.fdbCapacity = 64
        dataplane.commit(SwitchConfiguration(bridges: [.init(name: "br", settings: settings)], ports: ports))
    }

    private static func policy(_ mode: VLANMode, _ tag: UInt16? = nil, _ trunks: Set<UInt16> = []) -> VLANPolicy {
        try! VLANPolicy(mode: mode, tag: tag.map { VLANID($0)! }, trunks: Set(trunks.map { VLANID($0)! }))
    }

    func receive(_ frames: [Frame], from port: UInt16) {
        let lane = dataplane.lanes[0]
        for (index, frame) in frames.enumerated() { burst[index] = ledger.make(frame) }
        lane.receive(burst, count: frames.count, from: port, now: 100)
        for index in 0..<lane.outputCount.pointee {
            let output = lane.outputs[index]
            let queued = lane.queued(output)
            for place in 0..<queued.count { retire(lane.queue(output)[place]!) }
            lane.finish(output, sent: queued.count, bytes: queued.bytes, unsent: .transmitFull)
        }
        lane.outputCount.pointee = 0
        for index in 0..<lane.dropCount.pointee { retire(lane.drops[index]!) }
        lane.dropCount.pointee = 0
        precondition(ledger.live.isEmpty, "a packet is lost")
    }

    private func retire(_ packet: Packet) {
        precondition(Ledger.bytes(of: packet) != nil, "the lengths of a packet disagree")
        precondition(ledger.retire(packet), "a packet came out twice")
    }
}
