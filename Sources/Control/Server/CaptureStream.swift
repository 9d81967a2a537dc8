import Dataplane
import Foundation
import NIOCore
import Synchronization
import Wire

/// Sends a capture to its client as notifications. It takes packets only as fast as the client reads; the rest is
/// lost in the capture's own bounded buffer, and counted there.
final class CaptureStream: Sendable {
    /// Packets taken at once, and about the most bytes in one notification.
    private static let burst = 256
    private static let pieceLength = 256 * 1024
    /// Bursts that are still sent once the client has asked to stop: what a buffer may hold, and an end where packets
    /// come faster than they are taken.
    private static let lastBursts = 32
    /// How long to wait when there was nothing to take.
    private static let pause = Duration.milliseconds(20)

    let capture: PortCapture
    private let number: Int
    private let channel: any Channel
    private let task = Mutex<Task<UInt64, Never>?>(nil)
    private let isFinishing = Atomic(false)

    init(number: Int, capture: PortCapture, channel: any Channel) {
        self.number = number
        self.capture = capture
        self.channel = channel
    }

    /// Begins to send. Does nothing the second time.
    func begin() {
        task.withLock { task in
            if task == nil { task = Task { await self.run() } }
        }
    }

    func cancel() { task.withLock { $0?.cancel() } }

    /// Sends what the capture holds now and ends.
    /// - Returns: how many packets were sent in all.
    func finish() async -> UInt64 {
        isFinishing.store(true, ordering: .relaxed)
        return await task.withLock { $0 }?.value ?? 0
    }

    private func run() async -> UInt64 {
        var captured: UInt64 = 0
        // An error means that the client is gone: its connection notices by itself.
        try? await sendAll(&captured)
        return captured
    }

    private func sendAll(_ captured: inout UInt64) async throws {
        let opening = Pcapng.opening(
            interface: capture.port,
            snapLength: capture.snapLength,
            application: "martlet \(Martlet.version)"
        )
        try await send(opening, packets: 0)
        var burstsLeft = Self.lastBursts
        while capture.isRunning {
            let isLast = isFinishing.load(ordering: .relaxed)
            let packets = capture.take(limit: Self.burst)
            try await send(packets, &captured)
            if isLast {
                burstsLeft -= 1
                if packets.isEmpty || burstsLeft == 0 { return }
            }
            guard packets.isEmpty else { continue }
            try await Task.sleep(for: Self.pause)
        }
        let reason = "port '\(capture.port)' was removed"
        let end = CaptureEnd(capture: number, captured: captured, lost: capture.lost, reason: reason)
        try await channel.writeAndFlush(ByteBuffer(bytes: Message.line(Message.Unasked(params: end))))
    }

    private func send(_ packets: [CapturedPacket], _ captured: inout UInt64) async throws {
        var piece: [UInt8] = []
        var count = 0
        for packet in packets {
            piece += Pcapng.packet(
                packet.bytes,
                length: packet.length,
                time: packet.time,
                direction: packet.received ? .inbound : .outbound
            )
            count += 1
            guard piece.count >= Self.pieceLength else { continue }
            try await send(piece, packets: count)
            captured += UInt64(count)
            (piece, count) = ([], 0)
        }
        guard count > 0 else { return }
        try await send(piece, packets: count)
        captured += UInt64(count)
    }

    /// Returns when the kernel has it: a client that does not read holds one piece and no more.
    private func send(_ piece: [UInt8], packets: Int) async throws {
        let data = CaptureData(capture: number, bytes: Data(piece), packets: packets, lost: capture.lost)
        try await channel.writeAndFlush(ByteBuffer(bytes: Message.line(Message.Unasked(params: data))))
    }
}
