import Dataplane
import Foundation
import Testing
import Wire

@testable import Control

@Suite struct CaptureTests {
    private static func packets(_ count: Int) -> [CapturedPacket] {
        (0..<count).map { number in
            CapturedPacket(
                time: UInt64(number),
                received: number.isMultiple(of: 2),
                length: 100,
                bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 60)
            )
        }
    }

    @Test func sendsAReadablePcapngFile() async throws {
        try await serving { path, bench in
            let client = try SocketClient(path)
            let capture = try await client.call(CaptureStart(port: "p1", snapLength: 60)).capture
            let source = try #require(bench.io.captures.values.first)
            source.put(Self.packets(1000), lost: 3)
            var file = PcapngReader()
            var seen: [PcapngReader.Packet] = []
            while seen.count < 1000 {
                guard case .captureData(let data) = try await client.nextEvent() else { break }
                #expect(data.capture == capture)
                file.append(data.bytes)
                while let block = try file.next() { if let packet = block.packet { seen.append(packet) } }
            }
            #expect(seen.map(\.time) == (0..<1000).map { UInt64($0) })
            #expect(seen.map(\.bytes) == Self.packets(1000).map(\.bytes))
            #expect(seen.allSatisfy { $0.length == 100 })
            #expect(seen[0].direction == .inbound)
            #expect(seen[1].direction == .outbound)
            let end = try await client.call(CaptureStop(capture: capture))
            #expect(end == CaptureStop.Response(captured: 1000, lost: 3))
            #expect(source.isStopped)
        }
    }

    @Test func stopSendsWhatWasCapturedBefore() async throws {
        try await serving { path, bench in
            let client = try SocketClient(path)
            let capture = try await client.call(CaptureStart(port: "p1")).capture
            bench.io.captures.values.first?.put(Self.packets(700))
            let end = try await client.call(CaptureStop(capture: capture))
            #expect(end.captured == 700)
        }
    }

    @Test func stopsAnEndlessFlow() async throws {
        try await serving { path, bench in
            let client = try SocketClient(path)
            let capture = try await client.call(CaptureStart(port: "p1")).capture
            let source = try #require(bench.io.captures.values.first)
            source.flow(CapturedPacket(time: 1, received: true, length: 60, bytes: [UInt8](repeating: 7, count: 60)))
            _ = try await client.nextEvent()
            #expect(try await client.call(CaptureStop(capture: capture)).captured > 0)
            #expect(source.isStopped)
        }
    }

    @Test func refusesASecondCaptureOfAPort() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            _ = try await client.call(CaptureStart(port: "p1"))
            await #expect(throws: ControlClient.Failure.self) { try await client.call(CaptureStart(port: "p1")) }
            #expect(try await client.call(CaptureStart(port: "vm1")).capture == 2)
        }
    }

    @Test func endsWithItsConnection() async throws {
        try await serving { path, bench in
            var client: SocketClient? = try SocketClient(path)
            _ = try await client?.call(CaptureStart(port: "p1"))
            let source = try #require(bench.io.captures.values.first)
            #expect(!source.isStopped)
            client = nil
            try await eventually { source.isStopped }
            #expect(try await SocketClient(path).call(CaptureStart(port: "p1")).capture == 1)
        }
    }

    @Test func endsWithItsPortAndSaysSo() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            _ = try await client.call(CaptureStart(port: "p1"))
            _ = try await SocketClient(path).call(PortDelete(name: "p1"))
            while true {
                guard case .captureEnd(let end) = try await client.nextEvent() else { continue }
                #expect(end.reason == "port 'p1' was removed")
                break
            }
        }
    }

    @Test func aClientThatDoesNotReadHoldsOnePieceAndDelaysNobody() async throws {
        try await serving { path, bench in
            let deaf = try SocketClient(path)
            _ = try await deaf.call(CaptureStart(port: "p1"))
            let source = try #require(bench.io.captures.values.first)
            source.flow(
                CapturedPacket(time: 1, received: true, length: 9000, bytes: [UInt8](repeating: 7, count: 9000))
            )
            let client = try SocketClient(path)
            // Taking comes to rest once the kernel's buffer and one burst are full.
            var before = -1
            try await eventually {
                for _ in 0..<50 { _ = try await client.call(Show()) }
                defer { before = source.taken }
                return source.taken == before
            }
            #expect(source.taken < 10_000)
            for _ in 0..<100 { _ = try await client.call(Show()) }
        }
    }
}
