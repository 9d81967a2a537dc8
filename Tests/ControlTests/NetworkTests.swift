import Dataplane
import Flows
import Foundation
import Networking
import Testing

@testable import Control

/// Documents of desired state: what the switch makes of them, keeps of them and lets nobody else change.
@Suite struct NetworkTests {
    private static let cloud = """
        {"type": "host", "id": "here", "tunnel_address": "192.0.2.1"}
        {"type": "host", "id": "b", "tunnel_address": "192.0.2.2"}
        {"type": "network", "id": "blue", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450}
        {"type": "port", "id": "p2", "network_id": "blue", "mac_address": "fa:16:3e:00:00:02", "host": "b", \
        "fixed_ips": [{"ip_address": "10.0.0.2"}]}
        """

    private static func port(_ id: String = "p1", on host: String = "here", vif: String = "{\"type\": \"ring\"}")
        -> String
    {
        "{\"type\": \"port\", \"id\": \"\(id)\", \"network_id\": \"blue\", \"mac_address\": \"fa:16:3e:00:00:01\", "
            + "\"host\": \"\(host)\", \"vif\": \(vif), \"fixed_ips\": [{\"ip_address\": \"10.0.0.1\"}]}"
    }

    private static func populated() async throws -> Bench {
        let bench = try Bench()
        _ = try await bench.control.applyNetwork(NetworkApply(documents: cloud + "\n" + port()))
        return bench
    }

    @Test func bridgesPortsAndFlowsComeByThemselves() async throws {
        let bench = try await Self.populated()
        let ports = try await bench.control.listPorts(PortList()).ports
        #expect(ports.map(\.name) == ["patch-tun", "vhup1", "patch-int", "tun-geneve", "tun-gre", "tun-vxlan"])
        let guest = try #require(ports.first { $0.name == "vhup1" })
        #expect(guest.bridge == "br-int" && guest.vlan.tag == 1 && guest.mtu == 1450 && guest.link == "up")
        #expect(bench.dump("br-tun", table: 20).count == 3)
        #expect(bench.dump("br-int", table: 94) == ["table=94, priority=0 actions=NORMAL"])
        let tunnels = await bench.control.listTunnels().tunnels
        #expect(tunnels.map { "\($0.type) \($0.networks) \($0.entries)" } == ["geneve 0 0", "gre 0 0", "vxlan 1 1"])
        let network = try await bench.control.showNetwork(NetworkShow(id: "blue"))
        #expect(network.floodingEntries == ["192.0.2.2"] && network.network.localVLAN == 1)
        #expect(network.ports.map(\.port) == ["vhup1", nil])
    }

    /// A group that names itself, and a member on another host.
    private static let group = """
        {"type": "security_group", "id": "g", "rules": [{"direction": "ingress", "ethertype": "IPv4", \
        "remote_group_id": "g"}]}
        {"type": "port", "id": "p3", "network_id": "blue", "mac_address": "fa:16:3e:00:00:03", "host": "b", \
        "fixed_ips": [{"ip_address": "10.0.0.3"}], "security_groups": ["g"], \
        "allowed_address_pairs": [{"ip_address": "10.9.0.0/16"}]}
        """

    @Test func theMembersOfAGroupAreAnAddressSet() async throws {
        let bench = try await Self.populated()
        _ = try await bench.control.applyNetwork(NetworkApply(documents: Self.group))
        let show = AddressSetShow(name: "group.g")
        #expect(try await bench.control.members(show).response.members == ["10.0.0.3", "10.9.0.0/16"])
        #expect(try bench.store.load().addressSets.isEmpty, "it follows from documents")
        let next = try await bench.restarted()
        #expect(try await next.control.members(show).response.members == ["10.0.0.3", "10.9.0.0/16"])
        let fewer = Self.group.replacing("10.9.0.0/16", with: "10.0.0.3")
        _ = try await next.control.applyNetwork(NetworkApply(documents: fewer))
        #expect(try await next.control.members(show).response.members == ["10.0.0.3"])
        #expect(await next.control.memberCount == 1)
        _ = try await next.control.applyNetwork(NetworkApply(documents: Self.cloud, snapshot: true))
        #expect(await next.control.listAddressSets().addressSets.isEmpty)
        #expect(await next.control.memberCount == 0)
    }

    @Test func anOperatorLeavesTheMembersOfAGroupAlone() async throws {
        let bench = try await Self.populated()
        _ = try await bench.control.applyNetwork(NetworkApply(documents: Self.group))
        for call in [
            { _ = try await bench.control.addMembers(AddressSetAddMembers(name: "group.g", members: "10.0.0.9")) },
            {
                _ = try await bench.control.deleteMembers(AddressSetDeleteMembers(name: "group.g", members: "10.0.0.3"))
            },
            { _ = try await bench.control.deleteAddressSet(AddressSetDelete(name: "group.g")) },
            { _ = try await bench.control.addAddressSet(AddressSetAdd(name: "group.h", members: "")) },
        ] as [() async throws -> Void] {
            let error = await #expect(throws: Refusal.self) { try await call() }
            #expect(error?.reason.contains("is a security group's") == true)
        }
    }

    @Test func aChangeThatIsNotWrittenLeavesNoAddressSet() async throws {
        let bench = try await Self.populated()
        try bench.store.close()
        await #expect(throws: (any Error).self) {
            try await bench.control.applyNetwork(NetworkApply(documents: Self.group))
        }
        #expect(await bench.control.listAddressSets().addressSets.isEmpty)
    }

    @Test func theEndpointAsksForHostsOfItsNetworksAtOnce() async throws {
        let bench = try await Self.populated()
        _ = try await bench.control.addBridge(BridgeAdd(name: "br-phys"))
        let addresses = [("vtep", "192.0.2.1/24"), ("other", "198.51.100.1/24")]
        for (name, address) in addresses {
            let options = ["address": address, "gateway": name == "other" ? "198.51.100.254" : ""]
                .filter { !$0.value.isEmpty }
            _ = try await bench.control.addPort(
                PortAdd(bridge: "br-phys", name: name, type: "endpoint", options: options)
            )
        }
        let fixed = ["remote_ip": "203.0.113.9", "local_ip": "198.51.100.1"]
        _ = try await bench.control.addPort(PortAdd(bridge: "br-tun", name: "t0", type: "vxlan", options: fixed))
        func expected() async -> [String] {
            await bench.control.followEndpoints()
            let neighbors = try? await bench.control.listNeighbors(NeighborList()).neighbors
            return (neighbors ?? []).map { "\($0.port) \($0.address)" }
        }
        #expect(await expected() == ["other 198.51.100.254", "vtep 192.0.2.2"])
        let third = """
            {"type": "host", "id": "c", "tunnel_address": "192.0.2.3"}
            {"type": "host", "id": "stranger", "tunnel_address": "192.0.2.4"}
            """
        let moved = Self.port("p2", on: "c").replacing("00:01", with: "00:02").replacing("0.0.1", with: "0.0.2")
        _ = try await bench.control.applyNetwork(NetworkApply(documents: third + "\n" + moved))
        var known: [String] = []
        for _ in 0..<300 where known.count != 2 || !known.contains("vtep 192.0.2.3") {
            try await Task.sleep(for: .milliseconds(10))
            known = await expected()
        }
        #expect(known == ["other 198.51.100.254", "vtep 192.0.2.3"], "it has no network with others")
    }

    @Test func allComesBackAfterARestart() async throws {
        let bench = try await Self.populated()
        let (show, flows) = (await bench.control.show(), bench.dump("br-tun"))
        let next = try await bench.restarted()
        #expect(await next.control.show() == show)
        #expect(next.dump("br-tun") == flows)
        #expect(next.io.opened.values.map(\.name) == ["vhup1"])
        _ = try await next.control.applyNetwork(NetworkApply(documents: "", snapshot: true))
        #expect(next.dump("br-tun").isEmpty && next.dump("br-int").isEmpty)
        #expect(try await next.control.listPorts(PortList()).ports.isEmpty)
        #expect(try next.store.load().documents.isEmpty)
    }

    @Test func aNetworkKeepsItsVLANOverARestart() async throws {
        let bench = try await Self.populated()
        let red = "{\"type\": \"network\", \"id\": \"a-red\", \"network_type\": \"vxlan\", \"segmentation_id\": 103}"
        let port = Self.port("p3").replacing("blue", with: "a-red")
        _ = try await bench.control.applyNetwork(NetworkApply(documents: red + "\n" + port))
        _ = try await bench.control.applyNetwork(
            NetworkApply(documents: "{\"type\":\"port\",\"id\":\"p1\",\"deleted\":true}")
        )
        #expect(await bench.control.listNetworks().networks.map(\.localVLAN) == [2, nil])
        let next = try await bench.restarted()
        #expect(await next.control.listNetworks().networks.map(\.localVLAN) == [2, nil])
    }

    @Test func aPortThatMovesAwayLeavesTheSwitch() async throws {
        let bench = try await Self.populated()
        _ = try await bench.control.applyNetwork(NetworkApply(documents: Self.port(on: "b")))
        #expect(bench.io.opened.isEmpty)
        #expect(bench.dump("br-tun", table: 20) == ["table=20, priority=0 actions=goto_table:22"])
    }

    @Test func whatIsThereForDocumentsIsNobodyElsesToChange() async throws {
        let bench = try await Self.populated()
        let flows = bench.dump("br-tun")
        await #expect(throws: Refusal.self) { try await bench.control.deletePort(PortDelete(name: "vhup1")) }
        await #expect(throws: Refusal.self) {
            try await bench.control.setPort(PortSet(name: "patch-int", vlan: VLANOptions(tag: 3)))
        }
        await #expect(throws: Refusal.self) { try await bench.control.deleteBridge(BridgeDelete(name: "br-tun")) }
        #expect(try await bench.control.deleteFlows(FlowDelete(bridge: "br-tun")).deleted == 0)
        let change = FlowModify(bridge: "br-tun", flow: "table=20 actions=drop")
        #expect(try await bench.control.modifyFlows(change).modified == 0)
        let other = FlowAdd(bridge: "br-tun", flows: "table=20,priority=0 actions=drop")
        let error = await #expect(throws: FlowRefusal.self) { try await bench.control.addFlows(other) }
        #expect(error?.reason.contains("network documents have another flow") == true)
        #expect(bench.dump("br-tun") == flows)
    }

    /// Names have the first characters of ids.
    @Test func portsOfOneNameAreRefusedBeTheyNewOrThere() async throws {
        let bench = try await Self.populated()
        let (first, second) = ("0123456789a-1", "0123456789a-2")
        let documents = [first, second].enumerated().map { index, id in
            Self.port(id).replacing("00:00:01", with: "00:01:0\(index)").replacing(
                "10.0.0.1",
                with: "10.0.1.\(index + 1)"
            )
        }
        let reason = "port 'vhu0123456789a' exists already, on bridge 'br-int': another document wants it"
        for text in [documents.joined(separator: "\n"), documents[1]] {
            let before = try await bench.everything()
            let error = await #expect(throws: FlowRefusal.self) {
                try await bench.control.applyNetwork(NetworkApply(documents: text))
            }
            #expect(error?.reason.hasSuffix(reason) == true, "\(error?.reason ?? "")")
            #expect(try await bench.everything() == before)
            // The second time the first one is there.
            _ = try await bench.control.applyNetwork(NetworkApply(documents: documents[0]))
        }
        let other = PortAdd(bridge: "br-int", name: "vhup7", type: "ring", options: ["name": "own"])
        _ = try await bench.control.addPort(other)
        let taken = Self.port("p7").replacing("00:00:01", with: "00:00:07").replacing("10.0.0.1", with: "10.0.0.7")
        let error = await #expect(throws: FlowRefusal.self) {
            try await bench.control.applyNetwork(NetworkApply(documents: taken))
        }
        #expect(error?.reason.hasSuffix("exists already, on bridge 'br-int': delete it") == true)
    }

    /// A new port whose name comes before must not take the number of one that changes beside it.
    @Test func aPortThatChangesKeepsItsNumber() async throws {
        let bench = try await Self.populated()
        let before = try await bench.control.showPort(PortShow(name: "vhup1")).number
        let mtu =
            "{\"type\": \"network\", \"id\": \"blue\", \"network_type\": \"vxlan\", \"segmentation_id\": 102, \"mtu\": 1400}"
        let new = Self.port("a0").replacing("00:00:01", with: "00:00:09").replacing("10.0.0.1", with: "10.0.0.9")
        _ = try await bench.control.applyNetwork(NetworkApply(documents: mtu + "\n" + new))
        let after = try await bench.control.showPort(PortShow(name: "vhup1"))
        #expect(after.number == before && after.mtu == 1400)
        #expect(try await bench.control.showPort(PortShow(name: "vhua0")).number != before)
    }

    @Test func anOperatorsFlowsStandBeside() async throws {
        let bench = try await Self.populated()
        let flows = bench.dump("br-tun")
        let own = "table=20,priority=9,dl_vlan=1 actions=drop"
        _ = try await bench.control.replaceFlows(FlowReplace(bridge: "br-tun", flows: own))
        #expect(bench.dump("br-tun").count == flows.count + 1)
        // A dump of all of them says nothing new.
        let lines = bench.dataplane.flows(of: "br-tun").map { FlowText.print($0.flow) }.joined(separator: "\n")
        let again = try await bench.control.replaceFlows(FlowReplace(bridge: "br-tun", flows: lines))
        #expect(again.added == 0 && again.removed == 0)
        let next = try await bench.restarted()
        #expect(next.dump("br-tun").count == flows.count + 1)
        _ = try await next.control.deleteFlows(FlowDelete(bridge: "br-tun"))
        #expect(next.dump("br-tun") == flows)
    }

    // MARK: - Revisions

    @Test func whatIsOutdatedIsSoAfterARestart() async throws {
        let bench = try await Self.populated()
        func send(_ bench: Bench, _ text: String, snapshot: UInt64? = nil) async throws -> NetworkApply.Response {
            let request = NetworkApply(documents: text, snapshot: snapshot != nil, revision: snapshot)
            return try await bench.control.applyNetwork(request)
        }
        let removal = "{\"type\": \"port\", \"id\": \"p1\", \"revision\": 30, \"deleted\": true}"
        _ = try await send(bench, Self.cloud, snapshot: 20)
        #expect(try await send(bench, removal).unchanged == 1)
        let next = try await bench.restarted()
        let nothing = NetworkApply.Response(changed: 0, removed: 0, unchanged: 1)
        for late in ["19", "30"] {
            let port = Self.port().replacing("\"id\"", with: "\"revision\": \(late), \"id\"")
            #expect(try await send(next, port) == nothing, "\(late)")
        }
        #expect(try await send(next, "", snapshot: 19).removed == 0)
        let port = Self.port().replacing("\"id\"", with: "\"revision\": 31, \"id\"")
        #expect(try await send(next, port).changed == 1)
        _ = try await send(next, "", snapshot: 40)
        let state = try next.store.load()
        #expect(state.documents.isEmpty && state.outdated == OutdatedRevisions.Change(floor: 40))
    }

    @Test func aRevisionOfAllIsASnapshots() async throws {
        let bench = try Bench()
        let request = NetworkApply(documents: Self.cloud, revision: 5)
        await #expect(throws: Refusal.self) { try await bench.control.applyNetwork(request) }
    }

    // MARK: - Digests

    @Test func digestsFollowWhatIsHeld() async throws {
        let bench = try await Self.populated()
        let all = try await bench.control.networkDigest(NetworkDigest())
        #expect(all.schema == 1 && all.types?.count == DocumentType.allCases.count)
        #expect(all.types?.mapValues(\.count).filter { $0.value > 0 } == ["host": 2, "network": 1, "port": 2])
        #expect(all.types?["router"]?.digest == String(repeating: "0", count: 64))
        #expect(all.networks?.mapValues(\.count) == ["blue": 3])
        let ports = try await bench.control.networkDigest(NetworkDigest(type: "port")).documents
        // hashlib.sha256(json.dumps(port, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
        #expect(ports?["port/p1"] == "d16e05c815e4af01648ffef54587c52d60d9e3c6d239fd83b67bfce53fecfc79")
        let blue = try await bench.control.networkDigest(NetworkDigest(network: "blue")).documents
        #expect(blue?.keys.sorted() == ["network/blue", "port/p1", "port/p2"] && blue?["port/p1"] == ports?["port/p1"])
        let next = try await bench.restarted()
        #expect(try await next.control.networkDigest(NetworkDigest()) == all)
        _ = try await next.control.applyNetwork(
            NetworkApply(documents: "{\"type\": \"port\", \"id\": \"p1\", \"deleted\": true}")
        )
        let rest = try await next.control.networkDigest(NetworkDigest(type: "port"))
        #expect(rest.documents == ports?.filter { $0.key == "port/p2" })
        let alone = try await next.control.networkDigest(NetworkDigest()).types?["port"]
        #expect(alone?.digest == rest.documents?["port/p2"])
        await #expect(throws: Refusal.self) { try await next.control.networkDigest(NetworkDigest(type: "ports")) }
        await #expect(throws: Refusal.self) {
            try await next.control.networkDigest(NetworkDigest(network: "blue", type: "port"))
        }
    }

    @Test func aRefusedChangeLeavesTheDigests() async throws {
        let bench = try await Self.populated()
        let before = try await bench.control.networkDigest(NetworkDigest())
        let bad = Self.port("p9", vif: "{\"type\": \"fast\"}").replacing("00:00:01", with: "00:00:09")
            .replacing("10.0.0.1", with: "10.0.0.9")
        await #expect(throws: FlowRefusal.self) {
            try await bench.control.applyNetwork(NetworkApply(documents: bad))
        }
        #expect(try await bench.control.networkDigest(NetworkDigest()) == before)
    }

    // MARK: - Migration

    @Test func aGuestThatArrivesFindsTheDeviceThatIsOpenAlready() async throws {
        let bench = try await Self.populated()
        let moving = Self.port("p3", on: "b").replacing("00:00:01", with: "00:00:03").replacing(
            "10.0.0.1",
            with: "10.0.0.3"
        )
        let there = ", \"migrating_to\": {\"host\": \"here\", \"vif\": {\"type\": \"ring\"}}}"
        _ = try await bench.control.applyNetwork(NetworkApply(documents: String(moving.dropLast()) + there))
        let opened = bench.io.opened
        #expect(opened.values.contains { $0.name == "vhup3" })
        let status = try await bench.control.networkStatus(NetworkStatus())
        #expect(status.ports.map(\.id) == ["p1", "p3"] && status.ports.allSatisfy { $0.status == .up })
        // Nothing may open or close a device now.
        bench.io.onOpen { Issue.record("a device was opened") }
        let arrived = moving.replacing("\"b\"", with: "\"here\"")
        _ = try await bench.control.applyNetwork(NetworkApply(documents: arrived))
        #expect(bench.io.opened == opened)
        #expect(bench.dump("br-tun", table: 20).filter { $0.hasSuffix("actions=drop") }.count == 2)
    }

    // MARK: - Where guests' sockets are

    @Test func documentsNameSocketsOfOneDirectoryAlone() async throws {
        let bench = try await Self.populated()
        let elsewhere = TemporaryDirectory()
        try FileManager.default.createSymbolicLink(
            atPath: bench.directory + "/link",
            withDestinationPath: elsewhere.path + "/vm.sock"
        )
        let paths = [
            (elsewhere.path + "/vm.sock", "is not directly in \(bench.directory): put the socket there"),
            (bench.directory + "/../x", "is not directly in"), (bench.directory + "/..", "is not directly in"),
            (bench.directory + "/a/x", "is not directly in"), (bench.directory + "x/y", "is not directly in"),
            (bench.directory + "/", "is not directly in"), ("vm.sock", "is not directly in"),
            (bench.directory + "/link", "goes through a symbolic link"),
        ]
        for (path, reason) in paths {
            let port = Self.port("p9", vif: "{\"path\": \"\(path)\"}")
            let change = try DocumentText.changes(
                port.replacing("00:00:01", with: "00:00:09").replacing("10.0.0.1", with: "10.0.0.9")
            )
            let error = await #expect(throws: DocumentRefusal.self) { try await bench.control.apply(change) }
            #expect(
                error?.field == "vif.path" && error?.reason.contains(reason) == true,
                "\(String(describing: error))"
            )
            #expect(error?.key == DocumentKey(.port, "p9") && error?.line == 1)
        }
        let devargs = Self.port(vif: "{\"type\": \"dpdk\", \"devargs\": \"net_pcap0,tx_pcap=/etc/passwd\"}")
        let error = await #expect(throws: DocumentRefusal.self) {
            try await bench.control.apply(try DocumentText.changes(devargs))
        }
        #expect(error?.field == "vif.type")
        _ = try await bench.control.applyNetwork(
            NetworkApply(documents: Self.port(vif: "{\"path\": \"\(bench.directory)/vm.sock\"}"))
        )
        // An operator's may be anywhere.
        let own = ["path": elsewhere.path + "/own.sock"]
        _ = try await bench.control.addPort(PortAdd(bridge: "br-int", name: "own", type: "vhost-user", options: own))
    }

    @Test(
        arguments: [
            (
                port("p9", vif: "{\"type\": \"ring\", \"size\": \"5\"}"),
                "port 'p9': option size=5 is not a number from 64 to 16384"
            ),
            (port("p9", vif: "{\"type\": \"fast\"}"), "port 'p9': port type 'fast' is unknown"),
            (port("p9", vif: "{}"), "port 'p9': port type vhost-user needs its socket"),
            (
                "{\"type\": \"host\", \"id\": \"here\", \"bridge_mappings\": {\"physnet1\": \"br-eth1\"}}",
                "bridge 'br-eth1' of bridge_mappings does not exist: add it with bridge add br-eth1"
            ),
            ("{\"type\": \"network\", \"id\": \"x\", \"network_type\": \"vxlan\"}", "key 'segmentation_id' is missing"),
        ]
    )
    func aRefusalChangesNothing(_ document: String, _ reason: String) async throws {
        let bench = try Bench()
        _ = try await bench.control.applyNetwork(NetworkApply(documents: Self.cloud))
        let (before, flows) = (try await bench.everything(), bench.dump("br-tun"))
        let error = await #expect(throws: (any Error).self) {
            try await bench.control.applyNetwork(NetworkApply(documents: document))
        }
        #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "")")
        #expect(try await bench.everything() == before && bench.dump("br-tun") == flows)
        // And what comes next is as if nothing had been.
        _ = try await bench.control.applyNetwork(NetworkApply(documents: Self.port()))
        #expect(bench.dump("br-tun", table: 20).count == 3)
    }
}

extension Bench {
    /// The flows of a bridge, or of a table of it, in words without cookies.
    func dump(_ bridge: String, table: Int? = nil) -> [String] {
        dataplane.flows(of: bridge).map(\.flow).filter { table == nil || Int($0.table) == table }
            .map { flow in
                var flow = flow
                flow.cookie = 0
                return FlowText.print(flow)
            }
            .sorted()
    }
}
