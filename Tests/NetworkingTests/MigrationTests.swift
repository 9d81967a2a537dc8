import Testing
import Wire

@testable import Networking

/// A guest that moves: both hosts have its network and a device for it, and it is met where it is bound.
struct MigrationTests {
    private static let vif = "{\"type\": \"vhost-user\", \"path\": \"/run/martlet/a\"}"

    private static func port(on host: String, to other: String? = nil) -> String {
        let there = other.map { ", \"migrating_to\": {\"host\": \"\($0)\", \"vif\": \(vif)}" } ?? ""
        return Cloud.port("a", 1, on: host, more: ", \"vif\": \(vif)" + there)
    }

    private static func cloud(_ ports: String...) throws -> (Cloud, NetworkChange) {
        var cloud = Cloud()
        let change = try cloud.apply(([Cloud.hosts] + ports).joined(separator: "\n"))
        return (cloud, change)
    }

    @Test func theDestinationHasTheDeviceAndTheNetworkBeforeTheGuestComes() throws {
        let (cloud, change) = try Self.cloud(Self.port(on: "b", to: "here"))
        let devices = change.ports.added.filter { $0.document.type == .port }
        #expect(devices.map(\.name) == ["vhua"] && devices.map(\.tag) == [VLANID(1)])
        #expect(devices.map(\.options) == [["path": "/run/martlet/a"]])
        // Met at the source, and broadcasts go there as well.
        #expect(
            cloud.flows("br-tun", table: 20, of: change).filter { $0.contains("dl_dst") } == [
                "table=20,priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:01 actions=strip_vlan,set_tunnel:0x66,"
                    + "set_field:192.0.2.2->tun_dst,output:\"tun-vxlan\""
            ]
        )
        #expect(cloud.flows("br-tun", table: 21, of: change).filter { $0.contains("arp_op=1") }[0].hasSuffix("IN_PORT"))
        #expect(cloud.state.floodingEntries(of: "blue").map(\.description) == ["192.0.2.2"])
    }

    @Test func othersSendBroadcastsToBothAndTheRestToTheSource() throws {
        var (cloud, _) = try Self.cloud(Self.port(on: "b"), Cloud.port("own", 2, on: "here"))
        let change = try cloud.apply(Self.port(on: "b", to: "c"))
        #expect(
            change.flows.added.map(\.line).allSatisfy { $0.hasPrefix("table=22,") } && change.flows.added.count == 1
        )
        #expect(cloud.state.floodingEntries(of: "blue").map(\.description) == ["192.0.2.2", "192.0.2.3"])
        let arrival = try cloud.apply(Self.port(on: "c"))
        #expect(
            cloud.flows("br-tun", table: 20, of: arrival) == [
                "table=20,priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:01 actions=strip_vlan,set_tunnel:0x66,"
                    + "set_field:192.0.2.3->tun_dst,output:\"tun-vxlan\""
            ]
        )
        #expect(cloud.state.floodingEntries(of: "blue").map(\.description) == ["192.0.2.3"])
    }

    @Test func theDeviceIsThereAlreadyWhenThePortIsBoundToTheDestination() throws {
        var (cloud, before) = try Self.cloud(Self.port(on: "b", to: "here"))
        let vlan = cloud.state.localVLAN(of: "blue")
        let change = try cloud.apply(Self.port(on: "here"))
        #expect(change.ports.added.isEmpty && change.ports.removed.isEmpty)
        #expect(cloud.state.localVLAN(of: "blue") == vlan)
        #expect(
            cloud.flows("br-tun", table: 20, of: change) == [
                "table=20,priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:01 actions=drop"
            ]
        )
        #expect(before.ports.added.contains { $0.name == "vhua" })
    }

    @Test func aMigrationThatEndsEarlyLeavesNothingAtTheDestination() throws {
        var (cloud, change) = try Self.cloud(Self.port(on: "b"))
        let flows = Set(change.flows.added)
        let start = try cloud.apply(Self.port(on: "b", to: "here"))
        change = try cloud.apply(Self.port(on: "b"))
        #expect(Set(change.flows.removed) == Set(start.flows.added) && change.flows.added.isEmpty)
        #expect(change.ports.removed.map(\.name) == ["vhua"] && cloud.state.localVLAN(of: "blue") == nil)
        #expect(Set(try cloud.apply("", isSnapshot: true).flows.removed) == flows)
    }

    @Test func theSourceKeepsItsDeviceUntilThePortIsElsewhere() throws {
        var (cloud, _) = try Self.cloud(Self.port(on: "here"))
        #expect(try cloud.apply(Self.port(on: "here", to: "b")).ports.removed.isEmpty)
        #expect(cloud.state.floodingEntries(of: "blue").map(\.description) == ["192.0.2.2"])
        #expect(try cloud.apply(Self.port(on: "b")).ports.removed.map(\.name) == ["vhua"])
    }

    @Test func aDestinationThatCannotBeIsRefused() {
        #expect(Cloud.refusal(Self.port(on: "b", to: "d")) == "port 'a': host 'd' is unknown: send its document first")
        let gone = "{\"type\": \"host\", \"id\": \"c\", \"deleted\": true}"
        #expect(
            Cloud.refusal(gone, after: Cloud.hosts + "\n" + Self.port(on: "b", to: "c"))
                == "host 'c': port 'a' and 0 others are still there: delete them first"
        )
    }
}
