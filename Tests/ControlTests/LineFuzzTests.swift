import Foundation
import Seeds
import Testing

@testable import Control

/// Requests with some octets exchanged, removed or doubled: each is answered, and what is refused changes nothing.
@Suite struct LineFuzzTests {
    private static let requests = [
        #"{"jsonrpc":"2.0","id":1,"method":"bridge.add","params":{"name":"br1","fdb_capacity":100}}"#,
        #"{"jsonrpc":"2.0","id":"a","method":"port.add","params":{"bridge":"br0","name":"p2","type":"ring"}}"#,
        #"{"jsonrpc":"2.0","id":2,"method":"port.set","params":{"name":"p1","vlan":{"tag":5,"trunks":[1,2]}}}"#,
        #"{"jsonrpc":"2.0","id":3,"method":"fdb.add","params":{"bridge":"br0","mac":"02:00:00:00:00:01","port":"p1"}}"#,
        #"{"jsonrpc":"2.0","id":null,"method":"port.del","params":{"name":"vm1"}}"#,
        #"{"jsonrpc":"2.0","method":"fdb.flush","params":{"bridge":"br0"}}"#,
        #"{"jsonrpc":"2.0","id":-4,"method":"stats.ports","params":{}}"#,
    ]

    @Test(arguments: seeds)
    func answersWhateverIsLeftOfARequest(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let bench = try await Bench.furnished()
        var refusals = 0
        for turn in 0..<3000 {
            let line = Self.mutated(Self.requests.randomElement(using: &random)!, &random)
            let before = turn % 50 == 0 ? try await bench.everything() : nil
            guard let failure = await Self.failure(of: line, on: bench.control) else { continue }
            refusals += 1
            #expect(!failure.message.isEmpty && [-32700, -32600, -32601, -32602, 1].contains(failure.code))
            if let before {
                let after = try await bench.everything()
                #expect(after == before, "seed \(seed), turn \(turn): \(String(decoding: line, as: UTF8.self))")
            }
        }
        #expect(refusals > 1000, "the mutations do harm; seed \(seed)")
    }

    private static func failure(of line: Data, on control: Switch) async -> Message.Failure? {
        do {
            let call = try Message.call(line)
            guard let method = Method.all[call.method] else { throw Message.Failure.unknownMethod(call.method) }
            _ = try await method(control, call.id ?? .null, line, staged: { "" })
            return nil
        } catch {
            return error as? Message.Failure
        }
    }

    private static func mutated(_ request: String, _ random: inout SeededGenerator) -> Data {
        var octets = Array(request.utf8)
        for _ in 0..<Int.random(in: 1...4, using: &random) where !octets.isEmpty {
            let place = Int.random(in: 0..<octets.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: octets[place] = .random(in: .min ... .max, using: &random)
            case 1: octets.remove(at: place)
            case 2: octets.insert(octets[place], at: place)
            default: octets.removeSubrange(place...)
            }
        }
        return Data(octets)
    }
}
