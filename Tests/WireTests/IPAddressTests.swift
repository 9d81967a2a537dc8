import Testing
import Wire

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("::", "::"), ("0.0.0.0", "0.0.0.0"), ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ])
    func readsAndWrites(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(address.isIPv4 == !text.contains(":"))
        #expect(IPAddress(canonical) == address)
    }

    @Test(arguments: [
        "", "192.0.2", "192.0.2.256", "1.2.3.4.5", "2001:db8", "::ffff:192.0.2.1", "x", "192.0.2.1/24", " ::1",
    ])
    func refuses(text: String) { #expect(IPAddress(text) == nil) }

    @Test(arguments: [
        ("192.0.2.1/24", "192.0.2.254", true), ("192.0.2.1/24", "192.0.3.1", false),
        ("192.0.2.1/32", "192.0.2.1", true), ("192.0.2.1/0", "8.8.8.8", true), ("192.0.2.1/0", "2001:db8::1", false),
        ("2001:db8::1/64", "2001:db8::2", true), ("2001:db8::1/64", "2001:db8:1::2", false),
        ("2001:db8::1/0", "192.0.2.1", false),
    ])
    func knowsItsWire(text: String, other: String, isNeighbor: Bool) throws {
        let prefix = try #require(IPPrefix(text))
        #expect(prefix.description == text)
        #expect(prefix.contains(try #require(IPAddress(other))) == isNeighbor)
    }

    @Test(arguments: [
        "192.0.2.1", "192.0.2.1/33", "2001:db8::1/129", "192.0.2.1/-1", "192.0.2.1/ 8", "/8", "192.0.2.1/8/8",
    ])
    func refusesPrefixes(text: String) { #expect(IPPrefix(text) == nil) }

    @Test func tellsHostsFromGroups() {
        for text in ["192.0.2.1", "2001:db8::1", "fe80::1"] { #expect(IPAddress(text)!.isStation) }
        for text in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
            #expect(!IPAddress(text)!.isStation)
        }
    }
}
