import Dataplane
import Flows
import Testing

@testable import Control

@Suite struct AddressSetTests {
    @Test func addsAndRemovesMembers() async throws {
        let bench = try await Bench.furnished()
        let text = "# the web\n10.0.0.1/32\t10.0.8.5/24 # two\n::1\n02:00:00:00:00:0A 10.0.0.1"
        #expect(try await bench.control.addAddressSet(AddressSetAdd(name: "web", members: text)).added == 4)
        #expect(try await bench.members() == ["10.0.0.1", "10.0.8.0/24", "::1", "02:00:00:00:00:0a"])
        let more = AddressSetAddMembers(name: "web", members: "10.0.0.1 10.0.0.2")
        #expect(try await bench.control.addMembers(more).added == 1)
        let fewer = AddressSetDeleteMembers(name: "web", members: "0::1 10.0.8.0/24")
        #expect(try await bench.control.deleteMembers(fewer).deleted == 2)
        let left = ["10.0.0.1", "10.0.0.2", "02:00:00:00:00:0a"]
        #expect(try await bench.members() == left)
        #expect(try bench.store.load().addressSets.mapValues { $0.sorted().map(\.description) } == ["web": left])
        #expect(await bench.control.memberCount == 3)
        #expect(await bench.control.listAddressSets().addressSets == [.init(name: "web", members: 3)])
        _ = try await bench.control.deleteAddressSet(AddressSetDelete(name: "web"))
        #expect(await bench.control.memberCount == 0)
        #expect(try bench.store.load().addressSets.isEmpty)
    }

    @Test func anEmptySetIsASet() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addAddressSet(AddressSetAdd(name: "none", members: ""))
        try await bench.add("ip,nw_src=$none actions=drop")
        let next = try await bench.restarted()
        #expect(await next.control.listAddressSets().addressSets == [.init(name: "none", members: 0)])
        #expect(try await next.flows() == ["ip,nw_src=$none actions=drop", "priority=0 actions=NORMAL"])
    }

    @Test func aSetThatAFlowUsesStays() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addAddressSet(AddressSetAdd(name: "web", members: "10.0.0.1"))
        try await bench.add("table=5,ip,nw_src=$web actions=drop")
        let error = await #expect(throws: Refusal.self) {
            _ = try await bench.control.deleteAddressSet(AddressSetDelete(name: "web"))
        }
        let flow = "table=5, ip,nw_src=$web actions=drop"
        let words = "address set 'web' is used in table 5 of bridge 'br0' by the flow '\(flow)': delete that first"
        #expect(error?.reason == words)
        #expect(try bench.store.load().addressSets.count == 1)
        _ = try await bench.control.deleteBridge(BridgeDelete(name: "br0"))
        _ = try await bench.control.deleteAddressSet(AddressSetDelete(name: "web"))
    }

    @Test func aMemberThatCannotBeIsRefusedWithItsPlace() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addAddressSet(AddressSetAdd(name: "web", members: "10.0.0.1"))
        let before = try bench.store.load()
        let wrong = await #expect(throws: FlowRefusal.self) {
            let request = AddressSetAddMembers(name: "web", members: "10.0.0.2\n ::2 10.0.0.300")
            _ = try await bench.control.addMembers(request)
        }
        #expect(wrong?.line == 2 && wrong?.column == 6)
        #expect(wrong?.reason.hasPrefix("'10.0.0.300' is not an address") == true)
        let missing = await #expect(throws: FlowRefusal.self) {
            let request = AddressSetDeleteMembers(name: "web", members: "10.0.0.1 10.0.0.7")
            _ = try await bench.control.deleteMembers(request)
        }
        #expect(missing?.column == 10)
        #expect(missing?.reason.contains("'10.0.0.7' is no member of address set 'web'") == true)
        #expect(try bench.store.load() == before)
        #expect(try await bench.members() == ["10.0.0.1"])
    }

    @Test func namesAreChecked() async throws {
        let bench = try await Bench.furnished()
        for (name, words) in [("a b", "is not a name"), ("web", "exists already")] {
            _ = try? await bench.control.addAddressSet(AddressSetAdd(name: "web", members: ""))
            let error = await #expect(throws: Refusal.self) {
                _ = try await bench.control.addAddressSet(AddressSetAdd(name: name, members: ""))
            }
            #expect(error?.reason.contains(words) == true)
        }
        let unknown = await #expect(throws: Refusal.self) {
            _ = try await bench.control.members(AddressSetShow(name: "mail"))
        }
        #expect(unknown?.reason.contains("address set 'mail' does not exist") == true)
        let flow = await #expect(throws: FlowRefusal.self) {
            try await bench.add("actions=drop\ndl_src=$web,ip,nw_src=$mail actions=output:1")
        }
        #expect(flow?.line == 2 && flow?.column == 23)
        #expect(flow?.reason.contains("address set '$mail' does not exist") == true)
    }

    @Test func membersAreBounded() async throws {
        let bench = try await Bench.furnished()
        let many = (0..<262_145).map { "10.\($0 >> 16).\($0 >> 8 & 255).\($0 & 255)" }.joined(separator: "\n")
        let error = await #expect(throws: Refusal.self) {
            _ = try await bench.control.addAddressSet(AddressSetAdd(name: "web", members: many))
        }
        #expect(error?.reason.contains("would have 262145 members together; allowed are 262144") == true)
        #expect(await bench.control.listAddressSets().addressSets.isEmpty)
    }
}

extension Bench {
    fileprivate func members() async throws -> [String] {
        try await control.members(AddressSetShow(name: "web")).response.members
    }
}
