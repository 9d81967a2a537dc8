import Testing

@testable import Flows

/// The states of tracked packets that `trace` is told.
struct TrackedStateTests {
    @Test(
        arguments: [
            ("trk,est", 0x22), ("est", 0x22), ("+trk+est+rpl", 0x2a), ("trk|inv", 0x30), ("new", 0x21),
            ("new,rel", 0x25), ("", 0x20), ("trk,est,snat,dnat", 0xe2),
        ] as [(String, UInt8)]
    )
    func readsWhatATrackerCanSay(_ text: String, _ bits: UInt8) { #expect(FlowText.trackedState(text) == bits) }

    @Test(arguments: ["est,new", "new,rpl", "inv,est", "inv,rel", "-trk", "trk=est", "established", "34"])
    func refusesWhatItCannot(_ text: String) { #expect(FlowText.trackedState(text) == nil) }
}
