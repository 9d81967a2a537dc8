import Testing

@testable import Dataplane

/// What a frame looks like on its way out, for every pair of VLAN modes (ovs-vswitchd.conf.db(5), `vlan_mode`).
@Suite struct VLANTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let ingress: VLANPolicy
        let received: [UInt8]
        let egress: VLANPolicy
        let verdict: Verdict

        init(_ name: String, _ ingress: VLANPolicy, _ received: [UInt8], _ egress: VLANPolicy, _ verdict: Verdict) {
            testDescription = name
            self.ingress = ingress
            self.received = received
            self.egress = egress
            self.verdict = verdict
        }
    }

    enum Verdict: Sendable {
        case sent([UInt8])
        /// Counted on the ingress port.
        case dropped(DropReason)
    }

    static let access: [Row] = [
        .init("untagged to the same VLAN", .access(10), frame(), .access(10), .sent(frame())),
        .init("untagged to another VLAN", .access(10), frame(), .access(11), .dropped(.noOtherPort)),
        .init("tagged is refused", .access(10), frame(.customer(10)), .access(10), .dropped(.vlanNotCarried)),
        .init("another tag is refused", .access(10), frame(.customer(11)), .trunk(), .dropped(.vlanNotCarried)),
        .init("service tag is refused", .access(10), frame(.service(10)), .trunk(), .dropped(.vlanNotCarried)),
        .init("priority tag is taken off", .access(10), frame(.customer(0, priority: 5)), .access(10), .sent(frame())),
        .init(
            "priority tag becomes the VLAN's",
            .access(10),
            frame(.customer(0, priority: 5)),
            .trunk(),
            .sent(frame(.customer(10, priority: 5)))
        ),
        .init("gets a tag on a trunk", .access(10), frame(), .trunk(), .sent(frame(.customer(10)))),
        .init("gets a tag on a trunk that lists it", .access(10), frame(), .trunk(10, 20), .sent(frame(.customer(10)))),
        .init("not on a trunk without it", .access(10), frame(), .trunk(20), .dropped(.noOtherPort)),
        .init("VLAN 0 has no tag on a trunk", .access(0), frame(), .trunk(), .sent(frame())),
        .init("VLAN 4094 is a VLAN", .access(4094), frame(), .trunk(), .sent(frame(.customer(4094)))),
    ]

    static let trunk: [Row] = [
        .init(
            "keeps tag and priority",
            .trunk(),
            frame(.customer(10, priority: 3)),
            .trunk(),
            .sent(frame(.customer(10, priority: 3)))
        ),
        .init(
            "keeps a service tag",
            .trunk(),
            frame(.service(10, priority: 3)),
            .trunk(),
            .sent(frame(.service(10, priority: 3)))
        ),
        .init(
            "keeps both of two tags",
            .trunk(),
            frame(.service(100), .customer(5)),
            .trunk(),
            .sent(frame(.service(100), .customer(5)))
        ),
        .init("leaves an access port untagged", .trunk(), frame(.customer(10)), .access(10), .sent(frame())),
        .init(
            "leaves an access port with its inner tag",
            .trunk(),
            frame(.service(100), .customer(5)),
            .access(100),
            .sent(frame(.customer(5)))
        ),
        .init(
            "not to an access port of another VLAN",
            .trunk(),
            frame(.customer(10)),
            .access(11),
            .dropped(.noOtherPort)
        ),
        .init("untagged is VLAN 0", .trunk(), frame(), .trunk(), .sent(frame())),
        .init("untagged is not VLAN 10", .trunk(), frame(), .access(10), .dropped(.noOtherPort)),
        .init("untagged on a trunk without VLAN 0", .trunk(10), frame(), .trunk(), .dropped(.vlanNotCarried)),
        .init("untagged on a trunk with VLAN 0", .trunk(0, 10), frame(), .trunk(), .sent(frame())),
        .init("priority tag is VLAN 0", .trunk(), frame(.customer(0, priority: 7)), .trunk(), .sent(frame())),
        .init(
            "priority tag on a trunk without VLAN 0",
            .trunk(10),
            frame(.customer(0)),
            .trunk(),
            .dropped(.vlanNotCarried)
        ),
        .init("a listed VLAN", .trunk(10, 20), frame(.customer(20)), .trunk(20), .sent(frame(.customer(20)))),
        .init("an unlisted VLAN", .trunk(10, 20), frame(.customer(30)), .trunk(), .dropped(.vlanNotCarried)),
        .init("VLAN 4095", .trunk(), frame(.customer(4095)), .trunk(), .dropped(.reservedVLAN)),
        .init("service VLAN 4095", .trunk(), frame(.service(4095, priority: 7)), .trunk(), .dropped(.reservedVLAN)),
        .init(
            "drop eligible bit stays",
            .trunk(),
            frame(.customer(0x1000 | 10)),
            .trunk(),
            .sent(frame(.customer(0x1000 | 10)))
        ),
    ]

    static let native: [Row] = [
        .init("native-tagged: untagged is the native VLAN", .nativeTagged(10), frame(), .access(10), .sent(frame())),
        .init(
            "native-tagged: untagged gets a tag",
            .nativeTagged(10),
            frame(),
            .nativeTagged(10),
            .sent(frame(.customer(10)))
        ),
        .init(
            "native-tagged: sends its VLAN tagged",
            .access(10),
            frame(),
            .nativeTagged(10),
            .sent(frame(.customer(10)))
        ),
        .init(
            "native-tagged: takes its VLAN tagged",
            .nativeTagged(10),
            frame(.customer(10, priority: 2)),
            .trunk(),
            .sent(frame(.customer(10, priority: 2)))
        ),
        .init(
            "native-tagged: carries its VLAN beside trunks",
            .nativeTagged(10, 20),
            frame(),
            .trunk(),
            .sent(frame(.customer(10)))
        ),
        .init(
            "native-tagged: an unlisted VLAN",
            .nativeTagged(10, 20),
            frame(.customer(30)),
            .trunk(),
            .dropped(.vlanNotCarried)
        ),
        .init(
            "native-tagged: priority tag is the native VLAN",
            .nativeTagged(10),
            frame(.customer(0, priority: 4)),
            .trunk(),
            .sent(frame(.customer(10, priority: 4)))
        ),
        .init(
            "native-untagged: untagged is the native VLAN",
            .nativeUntagged(10),
            frame(),
            .trunk(),
            .sent(frame(.customer(10)))
        ),
        .init(
            "native-untagged: sends its VLAN untagged",
            .trunk(),
            frame(.customer(10)),
            .nativeUntagged(10),
            .sent(frame())
        ),
        .init(
            "native-untagged: sends others tagged",
            .trunk(),
            frame(.customer(20)),
            .nativeUntagged(10),
            .sent(frame(.customer(20)))
        ),
        .init(
            "native-untagged: takes its VLAN tagged",
            .nativeUntagged(10),
            frame(.customer(10)),
            .access(10),
            .sent(frame())
        ),
        .init(
            "native-untagged: an unlisted VLAN is not sent",
            .trunk(),
            frame(.customer(30)),
            .nativeUntagged(10, 20),
            .dropped(.noOtherPort)
        ),
        .init("native-untagged: VLAN 0 is not carried", .trunk(), frame(), .nativeUntagged(10), .dropped(.noOtherPort)),
    ]

    static let tunnel: [Row] = [
        .init("untagged gets the service tag", .tunnel(100), frame(), .trunk(), .sent(frame(.service(100)))),
        .init(
            "a customer tag goes inside",
            .tunnel(100),
            frame(.customer(5)),
            .trunk(),
            .sent(frame(.service(100), .customer(5)))
        ),
        .init(
            "the customer's priority is the service tag's",
            .tunnel(100),
            frame(.customer(5, priority: 6)),
            .trunk(),
            .sent(frame(.service(100, priority: 6), .customer(5, priority: 6)))
        ),
        .init(
            "a service tag goes inside too",
            .tunnel(100),
            frame(.service(7)),
            .trunk(),
            .sent(frame(.service(100), .service(7)))
        ),
        .init(
            "tunnel to tunnel keeps the frame",
            .tunnel(100),
            frame(.customer(5)),
            .tunnel(100),
            .sent(frame(.customer(5)))
        ),
        .init("not to another tunnel", .tunnel(100), frame(.customer(5)), .tunnel(101), .dropped(.noOtherPort)),
        .init(
            "the service tag is taken off",
            .trunk(),
            frame(.service(100), .customer(5)),
            .tunnel(100),
            .sent(frame(.customer(5)))
        ),
        .init("a listed customer VLAN", .tunnel(100, 5), frame(.customer(5)), .tunnel(100), .sent(frame(.customer(5)))),
        .init("an unlisted customer VLAN", .tunnel(100, 5), frame(.customer(6)), .trunk(), .dropped(.vlanNotCarried)),
        .init("untagged when VLAN 0 is not listed", .tunnel(100, 5), frame(), .trunk(), .dropped(.vlanNotCarried)),
        .init("untagged when VLAN 0 is listed", .tunnel(100, 0), frame(), .trunk(), .sent(frame(.service(100)))),
        .init(
            "a priority tag goes inside",
            .tunnel(100),
            frame(.customer(0, priority: 1)),
            .trunk(),
            .sent(frame(.service(100, priority: 1), .customer(0, priority: 1)))
        ),
        .init("customer VLAN 4095", .tunnel(100), frame(.customer(4095)), .trunk(), .dropped(.reservedVLAN)),
    ]

    @Test(arguments: access + trunk + native + tunnel)
    func editsTagsAsTheModesSay(row: Row) { verify(row, destination: nil) }

    /// The same when the destination is known, which takes another way through the lane.
    @Test(arguments: access + trunk + native + tunnel)
    func editsTagsOfUnicastAsTheModesSay(row: Row) { verify(row, destination: 0x02_00_00_00_00_02) }

    /// Ports 0 and 1 are the row's; port 2 has an own VLAN and must never see the frame.
    private func verify(_ row: Row, destination: UInt64?) {
        let bench = Bench([row.ingress, row.egress, .access(4000)])
        if destination != nil, case .sent = row.verdict { teachDestination(bench) }
        let outcome = bench.receive(row.received, from: 0)
        switch row.verdict {
        case .sent(let expected):
            #expect(outcome.sent == [1: [expected]])
            #expect(outcome.reasons.isEmpty)
        case .dropped(let reason):
            #expect(outcome.sent.isEmpty)
            #expect(outcome.reasons == [.init(reason, on: 0): 1])
            #expect(outcome.dropped == [row.received])
        }
    }

    /// Static entries of the frame's destination in every VLAN that the egress may carry.
    private func teachDestination(_ bench: Bench) {
        for vlan: UInt16 in [0, 10, 20, 100, 4094] {
            #expect(throws: Never.self) {
                try bench.dataplane.fdbAdd(
                    .init(value: 0x02_00_00_00_00_02),
                    vlan: .init(vlan)!,
                    port: .init(1),
                    on: "br"
                )
            }
        }
    }
}
