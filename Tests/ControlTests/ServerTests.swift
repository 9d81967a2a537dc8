import Foundation
import Testing

@testable import Control

@Suite struct ServerTests {
    @Test func answersARequest() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            let version = try await client.call(VersionShow())
            #expect(version == VersionDescription(version: Martlet.version, dpdk: "DPDK 0.0", schema: 6))
            #expect(try await client.call(Show()).bridges.first?.ports.map(\.name) == ["p1", "vm1"])
        }
    }

    @Test func carriesEveryParameterOfAPort() async throws {
        try await serving { path, bench in
            let client = try SocketClient(path)
            let vlan = VLANOptions(tag: 3, trunks: [4, 5], mode: "native-tagged")
            let request = PortAdd(
                bridge: "br0",
                name: "p9",
                type: "ring",
                options: ["size": "128", "mtu": "1700"],
                number: 9,
                vlan: vlan
            )
            let port = try await client.call(request)
            #expect(port.number == 9)
            #expect(port.mtu == 1700)
            #expect(port.vlan == PortDescription.VLAN(mode: "native-tagged", tag: 3, trunks: [4, 5]))
            #expect(try await client.call(PortShow(name: "p9")).queues?.count == 1)
            let settings = BridgeOptions(fdbCapacity: 32, fdbAgeing: 9, forwardReserved: true)
            _ = try await client.call(BridgeSet(name: "br0", options: settings))
            #expect(await bench.control.show().bridges[0].settings == settings)
        }
    }

    @Test(arguments: [
        ("nonsense", -32700, "null", "no JSON"),
        ("", -32700, "null", "no JSON"),
        (#"{"jsonrpc": "2.0", "id": 1, "method": "show""#, -32700, "null", "no JSON"),
        ("[]", -32600, "null", "no batch"),
        (#"[{"jsonrpc": "2.0", "id": 1, "method": "show"}]"#, -32600, "null", "no batch"),
        ("7", -32600, "null", "no request"),
        (#"{"id": 1, "method": "show"}"#, -32600, "null", "no request"),
        (#"{"jsonrpc": "1.0", "id": 1, "method": "show"}"#, -32600, "null", "no request"),
        (#"{"jsonrpc": "2.0", "id": {}, "method": "show"}"#, -32600, "null", "no request"),
        (#"{"jsonrpc": "2.0", "id": 4, "method": "fly"}"#, -32601, "4", "method 'fly' is unknown"),
        (#"{"jsonrpc": "2.0", "id": "a", "method": "port.show"}"#, -32602, "\"a\"", "parameter 'name' is missing"),
        (
            #"{"jsonrpc": "2.0", "id": 5, "method": "port.show", "params": {"name": 5}}"#, -32602, "5",
            "parameter 'name' has the wrong type"
        ),
        (
            #"{"jsonrpc": "2.0", "id": 6, "method": "port.show", "params": ["p1"]}"#, -32602, "6",
            "params is an object"
        ),
        (
            #"{"jsonrpc": "2.0", "id": 7, "method": "port.show", "params": {"name": "p1", "nmae": 1}}"#, -32602, "7",
            "no parameter 'nmae'"
        ),
        (
            #"{"jsonrpc": "2.0", "id": 8, "method": "port.show", "params": {"name": "ghost"}}"#, 1, "8",
            "port 'ghost' does not exist"
        ),
        (#"{"jsonrpc": "2.0", "id": 9, "method": "capture.stop", "params": {"capture": 3}}"#, 1, "9", "capture 3"),
    ])
    func answersWhatIsWrongWithAnError(line: String, code: Int, id: String, words: String) async throws {
        try await serving { path, bench in
            let before = try await bench.everything()
            let client = try SocketClient(path)
            try await client.send(line + "\n")
            let answer = try await client.line()
            #expect(answer.contains("\"code\":\(code),") || answer.contains("\"code\":\(code)}"), "\(answer)")
            #expect(answer.contains("\"id\":\(id),") || answer.contains("\"id\":\(id)}"), "\(answer)")
            #expect(answer.contains(words), "\(answer)")
            #expect(try await bench.everything() == before)
            // The connection goes on.
            #expect(try await client.call(LogLevelSet()).level == "info")
        }
    }

    @Test func acceptsNullForAParameterThatIsNotGiven() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            try await client.send(#"{"jsonrpc":"2.0","id":1,"method":"port.list","params":{"bridge":null}}"# + "\n")
            #expect(try await client.line().contains("\"result\""))
        }
    }

    @Test func doesNotAnswerNotifications() async throws {
        try await serving { path, bench in
            let client = try SocketClient(path)
            try await client.send(#"{"jsonrpc":"2.0","method":"bridge.add","params":{"name":"br1"}}"# + "\n")
            try await client.send(#"{"jsonrpc":"2.0","id":2,"method":"bridge.list"}"# + "\n")
            let answer = try await client.line()
            #expect(answer.contains("\"id\":2"))
            #expect(answer.contains("br1"))
        }
    }

    @Test func answersInTheOrderOfTheRequests() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            let methods = ["show", "fly", "version", "stats.ports", "worker.list"]
            let requests = (0..<300).map { number in
                #"{"jsonrpc":"2.0","id":\#(number),"method":"\#(methods[number % methods.count])"}"# + "\n"
            }
            try await client.send(requests.joined())
            for number in 0..<300 {
                let answer = try await client.line()
                #expect(answer.contains("\"id\":\(number),") || answer.contains("\"id\":\(number)}"))
            }
        }
    }

    @Test func takesARequestInPieces() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            for character in #"{"jsonrpc":"2.0","id":1,"method":"version"}"# + "\n" {
                try await client.send(String(character))
            }
            #expect(try await client.line().contains(Martlet.version))
        }
    }

    @Test func answersAHalfClosedClient() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            try await client.send(#"{"jsonrpc":"2.0","id":1,"method":"version"}"# + "\n")
            try await client.send(#"{"jsonrpc":"2.0","id":2,"method":"show"}"# + "\n" + "half a li")
            try await client.finishSending()
            #expect(try await client.line().contains("\"id\":1"))
            #expect(try await client.line().contains("\"id\":2"))
            #expect(try await client.isDisconnected())
        }
    }

    @Test func takesALineOfAMebibyteAndEndsTheConnectionAfterALongerOne() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            let request = #"{"jsonrpc":"2.0","id":1,"method":"version"}"#
            let padding = String(repeating: " ", count: LineBuffer.maximumLength - request.utf8.count)
            try await client.send(request + padding + "\n")
            #expect(try await client.line().contains("\"result\""))
            // The server may stop to read before all of it is sent.
            try? await client.send(String(repeating: "x", count: LineBuffer.maximumLength + 1))
            let answer = try await client.line()
            #expect(answer.contains("-32600"))
            #expect(answer.contains("longer than 1048576 bytes"))
            #expect(try await client.isDisconnected())
            #expect(try await SocketClient(path).call(VersionShow()).version == Martlet.version)
        }
    }

    @Test func disconnectsAClientThatLeavesALineUnfinished() async throws {
        try await serving(patience: .milliseconds(100)) { path, _ in
            let client = try SocketClient(path)
            try await client.send("{")
            #expect(try await client.isDisconnected())
        }
    }

    @Test func disconnectsAClientThatDoesNotRead() async throws {
        try await serving(patience: .milliseconds(100)) { path, bench in
            let deaf = try SocketClient(path)
            let sending = Task {
                let requests = String(repeating: #"{"jsonrpc":"2.0","id":1,"method":"show"}"# + "\n", count: 1000)
                while true { try await deaf.send(requests) }
            }
            // Others are served while that one fills its buffers.
            let client = try SocketClient(path)
            for _ in 0..<100 { _ = try await client.call(Show()) }
            let result = await sending.result
            #expect(throws: ControlClient.Unreachable.self) { try result.get() }
            #expect(try await deaf.isDisconnected())
            #expect(try await client.call(VersionShow()).version == Martlet.version)
        }
    }

    @Test func turnsTheSixtyFifthClientAwayUntilOneLeaves() async throws {
        try await serving { path, _ in
            var clients: [SocketClient] = []
            for _ in 0..<64 {
                clients.append(try SocketClient(path))
                _ = try await clients.last?.call(LogLevelSet())
            }
            let late = try SocketClient(path)
            #expect(try await late.line().contains("64 clients are connected already"))
            #expect(try await late.isDisconnected())
            clients.removeLast()
            try await eventually { try await SocketClient(path).isServed() }
            #expect(try await clients[0].call(LogLevelSet()).level == "info")
        }
    }
}

extension SocketClient {
    fileprivate func isServed() async throws -> Bool {
        do {
            return try await call(LogLevelSet()).level == "info"
        } catch is ControlClient.Failure {
            return false
        } catch is ControlClient.Unreachable {
            return false
        }
    }
}
