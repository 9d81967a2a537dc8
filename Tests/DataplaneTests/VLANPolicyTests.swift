import Testing
import Wire

@testable import Dataplane

@Suite struct VLANPolicyTests {
    private static let trunks: Set = [VLANID(5)!, VLANID(6)!]

    @Test func isATrunkOfEverythingByDefault() throws {
        let policy = try VLANPolicy(mode: nil, tag: nil, trunks: [])
        #expect(policy.mode == .trunk)
        #expect(policy.tag == .untagged)
        #expect(policy.trunks.isEmpty)
        #expect(policy == .allTagged)
    }

    @Test func isAccessWhenThereIsATag() throws {
        let policy = try VLANPolicy(mode: nil, tag: VLANID(7)!, trunks: [])
        #expect(policy.mode == .access)
        #expect(policy.tag == VLANID(7)!)
    }

    @Test func isATrunkWhenThereAreTrunksOnly() throws {
        let policy = try VLANPolicy(mode: nil, tag: nil, trunks: Self.trunks)
        #expect(policy.mode == .trunk)
        #expect(policy.trunks == Self.trunks)
    }

    @Test func isAccessOfVLANZeroWithoutATag() throws {
        #expect(try VLANPolicy(mode: .access, tag: nil, trunks: []).tag == .untagged)
    }

    @Test(arguments: [VLANMode.nativeTagged, .nativeUntagged, .dot1qTunnel])
    func takesTagAndTrunks(mode: VLANMode) throws {
        let policy = try VLANPolicy(mode: mode, tag: VLANID(7)!, trunks: Self.trunks)
        #expect(policy.mode == mode)
        #expect(policy.tag == VLANID(7)!)
        #expect(policy.trunks == Self.trunks)
    }

    @Test(arguments: [
        (VLANMode.nativeTagged, "vlan mode native-tagged needs a tag: give --tag 0 to 4094"),
        (.nativeUntagged, "vlan mode native-untagged needs a tag: give --tag 0 to 4094"),
        (.dot1qTunnel, "vlan mode dot1q-tunnel needs a tag: give --tag 0 to 4094"),
    ])
    func refusesModesWithoutTheirTag(mode: VLANMode, text: String) {
        #expect(throws: Refusal(text)) { try VLANPolicy(mode: mode, tag: nil, trunks: []) }
    }

    @Test(arguments: [VLANMode?.none, .access])
    func refusesTrunksOfAnAccessPort(mode: VLANMode?) {
        let text = "vlan mode access carries one VLAN and takes no trunks: use native-tagged or native-untagged"
        #expect(throws: Refusal(text)) { try VLANPolicy(mode: mode, tag: VLANID(7)!, trunks: Self.trunks) }
    }

    @Test func refusesTheTagOfATrunk() {
        let text = "vlan mode trunk takes no tag: use native-tagged or native-untagged for untagged frames"
        #expect(throws: Refusal(text)) { try VLANPolicy(mode: .trunk, tag: VLANID(7)!, trunks: []) }
    }

    @Test func refusesBridgeSettingsOutOfRange() {
        func text(_ change: (inout BridgeSettings) -> Void) -> String? {
            var settings = BridgeSettings()
            change(&settings)
            do throws(Refusal) { try settings.validate() } catch { return error.reason }
            return nil
        }
        #expect(text { _ in } == nil)
        #expect(text { $0.fdbCapacity = 16 } == nil)
        #expect(text { $0.fdbCapacity = 15 } == "FDB capacity 15 is outside 16 to 1048576")
        #expect(text { $0.fdbCapacity = 1_048_577 } == "FDB capacity 1048577 is outside 16 to 1048576")
        #expect(text { $0.fdbAgeing = 0 } == "FDB ageing 0 s is outside 1 to 86400 s")
        #expect(text { $0.fdbAgeing = 86_401 } == "FDB ageing 86401 s is outside 1 to 86400 s")
    }
}
