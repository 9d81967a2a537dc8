import Testing
import Wire

@Suite struct MACAddressTests {
    @Test(
        arguments: [
            ("52:54:00:12:34:56", 0x5254_0012_3456),
            ("00:00:00:00:00:00", 0),
            ("ff:ff:ff:ff:ff:ff", 0xffff_ffff_ffff),
            ("01:80:c2:00:00:0e", 0x0180_c200_000e),
        ] as [(String, UInt64)]
    )
    func readsAndPrintsSixOctets(text: String, value: UInt64) {
        #expect(MACAddress(text)?.value == value)
        #expect(MACAddress(value: value).description == text)
    }

    @Test func readsCapitals() {
        #expect(MACAddress("FA-16".replacing("-", with: ":")) == nil)
        #expect(MACAddress("FA:16:3E:AB:CD:EF")?.description == "fa:16:3e:ab:cd:ef")
    }

    @Test(arguments: [
        "", ":", "52:54:00:12:34", "52:54:00:12:34:56:78", "5254.0012.3456", "52-54-00-12-34-56", "52:54:00:12:34:5g",
        "52:54:00:12:34:5", "052:54:00:12:34:56", "+2:54:00:12:34:56", "52:54:00:12:34:-6", " 2:54:00:12:34:56",
        "52:54:00:12:34:56 ",
    ])
    func refusesAnythingElse(text: String) {
        #expect(MACAddress(text) == nil)
    }

    @Test func knowsGroupsStationsAndReservedAddresses() {
        #expect(MACAddress.broadcast.isGroup)
        #expect(MACAddress("01:00:5e:00:00:01")!.isGroup)
        #expect(MACAddress("52:54:00:00:00:01")!.isStation)
        #expect(!MACAddress(value: 0).isStation)
        #expect(!MACAddress.broadcast.isStation)
        #expect(MACAddress("01:80:c2:00:00:00")!.isLinkLocalReserved)
        #expect(MACAddress("01:80:c2:00:00:0f")!.isLinkLocalReserved)
        #expect(!MACAddress("01:80:c2:00:00:10")!.isLinkLocalReserved)
        #expect(!MACAddress("01:80:c2:00:01:00")!.isLinkLocalReserved)
    }

    @Test func ignoresBitsAboveTheFortyEighth() {
        #expect(MACAddress(value: 0xffff_5254_0012_3456) == MACAddress("52:54:00:12:34:56"))
    }
}

@Suite struct VLANTests {
    @Test func spansZeroToFourThousandNinetyFour() {
        #expect(VLANID(0) == .untagged)
        #expect(VLANID(4094)?.value == 4094)
        #expect(VLANID(4095) == nil)
        #expect(VLANID(.max) == nil)
    }

    @Test func ordersByNumber() {
        #expect([VLANID(30)!, VLANID(2)!, VLANID(100)!].sorted().map(\.description) == ["2", "30", "100"])
    }

    @Test func knowsItsTagProtocols() {
        #expect(TPID(rawValue: 0x8100) == .customer)
        #expect(TPID(rawValue: 0x88a8) == .service)
        #expect(TPID(rawValue: 0x9100) == nil)
    }
}
