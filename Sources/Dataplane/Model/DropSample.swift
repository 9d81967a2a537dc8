public import Flows

/// A packet that was dropped.
public struct DropSample: Sendable {
    public let reason: DropReason
    /// Where it was counted.
    public let port: PortIndex
    /// When: of the monotonic clock, as `Dataplane.nanoseconds`.
    public let nanoseconds: UInt64
    /// Bytes of the packet.
    public let length: Int
    /// The first of them, as they were when it was dropped: flows may have edited them.
    public let bytes: [UInt8]

    /// The packet as flows see it; nil when its headers cannot be read.
    /// - Parameter number: of the port that it came from, as the bridge numbers it; nil for a packet of another's.
    public func key(inPort number: UInt16?) -> FlowKey? {
        var layout = FrameLayout()
        guard bytes.count >= 14,
            var key = bytes.withUnsafeBytes({ FlowKey(frame: $0, length: max(length, bytes.count), layout: &layout) })
        else { return nil }
        key.set(.inPort, UInt128(number ?? 0))
        return key
    }
}

extension Dataplane {
    /// The latest packet that was dropped of each reason on each port, as far as there are copies: a worker keeps one a second.
    public var dropSamples: [DropSample] {
        var samples: [DropSample] = []
        for lane in lanes { lane.samples.read(into: &samples) }
        // What was dropped there when the place was another port's is none of this one's.
        let present = samples.filter { $0.nanoseconds > samplesSince[$0.port] ?? 0 }
        return Dictionary(grouping: present) { [$0.port.value, UInt16($0.reason.rawValue)] }.values
            .compactMap { $0.max { $0.nanoseconds < $1.nanoseconds } }
    }
}
