import Dataplane
import Networking
import Testing

@testable import Control

/// What is said of the ports that documents want, and to whom.
@Suite struct PortStatusTests {
    private static let cloud = """
        {"type": "host", "id": "here"}
        {"type": "network", "id": "blue", "network_type": "local"}
        """

    private static func port(_ id: String, revision: Int = 1, vif: String = "{\"type\": \"ring\"}") -> String {
        let number = Int(id.dropFirst())!
        return "{\"type\": \"port\", \"id\": \"\(id)\", \"network_id\": \"blue\", \"revision\": \(revision), "
            + "\"mac_address\": \"fa:16:3e:00:00:0\(number)\", \"host\": \"here\", \"vif\": \(vif)}"
    }

    private static func removal(_ id: String) -> String {
        "{\"type\": \"port\", \"id\": \"\(id)\", \"deleted\": true}"
    }

    private static func apply(_ lines: String..., to bench: Bench) async throws {
        _ = try await bench.control.applyNetwork(NetworkApply(documents: lines.joined(separator: "\n")))
    }

    private static func words(_ response: NetworkStatus.Response) -> [String] {
        response.ports.map { "\($0.id) \($0.status.rawValue) \($0.revision)" }
    }

    @Test func withoutACursorAllPortsAreListed() async throws {
        let bench = try Bench()
        #expect(try await bench.control.networkStatus(NetworkStatus()).ports.isEmpty)
        try await Self.apply(Self.cloud, Self.port("p1"), Self.port("p2", revision: 7), to: bench)
        let elsewhere = Self.port("p3").replacing("\"here\"", with: "\"b\"") + "\n{\"type\": \"host\", \"id\": \"b\"}"
        try await Self.apply(elsewhere, to: bench)
        let all = try await bench.control.networkStatus(NetworkStatus())
        #expect(all.complete && Self.words(all).sorted() == ["p1 up 1", "p2 up 7"])
        // Another run's, or none at all.
        for cursor in ["", "0", all.cursor + "9", String(all.cursor.dropFirst()), "-1"] {
            #expect(try await bench.control.networkStatus(NetworkStatus(since: cursor)).complete, "\(cursor)")
        }
        let next = try await bench.restarted()
        let again = try await next.control.networkStatus(NetworkStatus(since: all.cursor))
        #expect(again.complete && Self.words(again).sorted() == Self.words(all).sorted())
    }

    @Test func withACursorOnlyChangesAreTold() async throws {
        let bench = try Bench()
        try await Self.apply(Self.cloud, Self.port("p1"), Self.port("p2"), to: bench)
        let first = try await bench.control.networkStatus(NetworkStatus())
        let nothing = try await bench.control.networkStatus(NetworkStatus(since: first.cursor))
        #expect(nothing == NetworkStatus.Response(cursor: first.cursor, complete: false, ports: []))
        try await Self.apply(Self.port("p2", revision: 2), Self.removal("p1"), to: bench)
        let second = try await bench.control.networkStatus(NetworkStatus(since: first.cursor))
        #expect(!second.complete && Self.words(second) == ["p1 removed 1", "p2 up 2"])
        // What came and went and came again is told as it is.
        for revision in [3, 5] {
            try await Self.apply(Self.port("p1", revision: revision), to: bench)
            let again = try await bench.control.networkStatus(NetworkStatus(since: first.cursor))
            #expect(Self.words(again) == ["p2 up 2", "p1 up \(revision)"])
            try await Self.apply(Self.removal("p1"), to: bench)
        }
        let third = try await bench.control.networkStatus(NetworkStatus(since: first.cursor))
        #expect(Self.words(third) == ["p2 up 2", "p1 removed 5"])
    }

    @Test func aGuestThatComesAndGoesIsToldWithoutAnyDocument() async throws {
        let bench = try Bench()
        try await Self.apply(Self.cloud, Self.port("p1"), to: bench)
        let up = try await bench.control.networkStatus(NetworkStatus())
        bench.io.takeDown(["vhup1"])
        await bench.control.followPorts()
        let down = try await bench.control.networkStatus(NetworkStatus(since: up.cursor))
        #expect(Self.words(down) == ["p1 down 1"])
        bench.io.takeDown([])
        await bench.control.followPorts()
        #expect(Self.words(try await bench.control.networkStatus(NetworkStatus(since: down.cursor))) == ["p1 up 1"])
    }

    @Test func aDeviceThatCannotBeOpenedIsAnErrorUntilItCan() async throws {
        let bench = try Bench()
        bench.io.refuse(["vhup1"])
        try await Self.apply(Self.cloud, Self.port("p1"), to: bench)
        let error = try await bench.control.networkStatus(NetworkStatus())
        #expect(Self.words(error) == ["p1 error 1"] && error.ports[0].reason == "no device for 'vhup1': plug one in")
        bench.io.refuse([])
        await bench.control.retryFailedPorts()
        let now = try await bench.control.networkStatus(NetworkStatus(since: error.cursor))
        #expect(Self.words(now) == ["p1 up 1"] && now.ports[0].reason == nil)
    }

    // MARK: - Waiting

    @Test func whoWaitsIsWokenByAChange() async throws {
        let bench = try Bench()
        try await Self.apply(Self.cloud, to: bench)
        let cursor = try await bench.control.networkStatus(NetworkStatus()).cursor
        async let answer = bench.control.networkStatus(NetworkStatus(since: cursor, wait: 60))
        try await eventually { await bench.control.statusWaiters.count == 1 }
        try await Self.apply(Self.port("p1"), to: bench)
        #expect(Self.words(try await answer) == ["p1 up 1"])
        #expect(await bench.control.statusWaiters.isEmpty)
    }

    @Test func whoWaitsInVainGetsTheSameCursor() async throws {
        let bench = try Bench()
        let cursor = try await bench.control.networkStatus(NetworkStatus()).cursor
        let answer = try await bench.control.networkStatus(NetworkStatus(since: cursor, wait: 1))
        #expect(answer == NetworkStatus.Response(cursor: cursor, complete: false, ports: []))
        #expect(await bench.control.statusWaiters.isEmpty)
    }

    @Test func whoGoesDoesNotWaitOn() async throws {
        let bench = try Bench()
        let cursor = try await bench.control.networkStatus(NetworkStatus()).cursor
        let waiting = Task { try await bench.control.networkStatus(NetworkStatus(since: cursor, wait: 60)) }
        try await eventually { await bench.control.statusWaiters.count == 1 }
        waiting.cancel()
        try await eventually { await bench.control.statusWaiters.isEmpty }
        _ = try await waiting.value
    }

    @Test func aFewMayWait() async throws {
        let bench = try Bench()
        let cursor = try await bench.control.networkStatus(NetworkStatus()).cursor
        let request = NetworkStatus(since: cursor, wait: 60)
        let waiting = (0..<Switch.greatestStatusWaiterCount).map { _ in
            Task { try await bench.control.networkStatus(request) }
        }
        try await eventually { await bench.control.statusWaiters.count == waiting.count }
        await #expect(throws: Refusal.self) { try await bench.control.networkStatus(request) }
        #expect(try await bench.control.networkStatus(NetworkStatus(since: cursor)).ports.isEmpty)
        for task in waiting { task.cancel() }
        for task in waiting { _ = try await task.value }
        for seconds in [-1, 61] {
            await #expect(throws: Refusal.self) { try await bench.control.networkStatus(NetworkStatus(wait: seconds)) }
        }
    }

    @Test func whoKnowsOnlyWhatWasLongAgoIsToldAll() {
        var log = PortStatusLog()
        _ = log.put(NetworkStatus.Port(id: "stays", status: .up, reason: nil, revision: 1))
        let old = log.response(since: nil).cursor
        for number in 0...PortStatusLog.removalCapacity {
            _ = log.put(NetworkStatus.Port(id: "p\(number)", status: .up, reason: nil, revision: 1))
            let isRemoved = log.remove("p\(number)")
            #expect(isRemoved)
        }
        let answer = log.response(since: old)
        #expect(answer.complete && answer.ports.map(\.id) == ["stays"])
        #expect(log.response(since: answer.cursor).ports.isEmpty)
    }
}
