public import Flows

extension Dataplane {
    /// Takes a packet through the bridges as a worker would, and says what happens; nothing is learned, counted or sent.
    ///
    /// - Parameters:
    ///   - packet: with the number of the port that it comes from.
    ///   - bridge: one that exists.
    ///   - states: what the tracker says, `ct_state`, each time that the packet is tracked to go on in a table; what it says
    ///     indeed when there are no more.
    public func trace(_ packet: FlowKey, on bridge: String, tracked states: [UInt8] = []) -> WalkTrace {
        trace(packet, types: FrameLayout().tagTypes, length: Self.usualLength, on: bridge, states)
    }

    /// The same of a frame as it is on the wire, from the port of the bridge that has a number.
    /// - Parameter length: of the whole frame, where `frame` is only its beginning.
    public func trace(
        frame: [UInt8],
        length: Int,
        from number: UInt16,
        on bridge: String,
        tracked states: [UInt8] = []
    ) -> WalkTrace {
        var layout = FrameLayout()
        let key = frame.count < 14 ? nil : frame.withUnsafeBytes { FlowKey(frame: $0, length: length, layout: &layout) }
        guard var key else {
            var trace = WalkTrace()
            trace.drop = frame.count < 14 ? .runt : .scatteredHeader
            return trace
        }
        key.set(.inPort, UInt128(number))
        return trace(key, types: layout.tagTypes, length: UInt32(length), on: bridge, states)
    }

    /// Bytes of a packet that is described without them.
    private static let usualLength: UInt32 = 60

    private func trace(
        _ packet: FlowKey,
        types: (outer: UInt16, inner: UInt16),
        length: UInt32,
        on name: String,
        _ states: [UInt8]
    ) -> WalkTrace {
        guard let slot = slot(of: name) else { return WalkTrace() }
        let context = context(now: Self.now, hasEffects: false)
        let memory = WalkMemory(PacketTracker(connections, share: lanes.count))
        defer { memory.free() }
        let tables = bridges.map { ($0.value.slot, (name: $0.key, tables: $0.value.tables)) }
        var recorder = WalkRecorder(
            bridges: Dictionary(uniqueKeysWithValues: tables),
            state: context.state,
            states: states
        )
        recorder.begin(on: name, number: UInt16(packet.get(.inPort)), packet)
        let program = Walk.run(
            packet,
            types: types,
            length: length,
            on: slot,
            context,
            memory,
            observer: &recorder
        )
        recorder.finish(program)
        return recorder.trace
    }

    /// Like `database(of:)`: not through an optional chain.
    private func slot(of bridge: String) -> UInt16? { bridges[bridge].map(\.slot) }
}
