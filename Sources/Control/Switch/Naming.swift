import Dataplane
import Wire

// What an operator types becomes a value of the domain here, or a sentence that says why not.

extension VLANID {
    init(checking number: Int) throws(Refusal) {
        guard let vlan = UInt16(exactly: number).flatMap(VLANID.init) else {
            let why = number == 4095 ? "is reserved by IEEE 802.1Q" : "does not exist"
            throw Refusal("VLAN \(number) \(why): use 0 to 4094")
        }
        self = vlan
    }
}

extension MACAddress {
    /// An address that one station can have.
    init(checkingStation text: String) throws(Refusal) {
        guard let address = MACAddress(text) else {
            throw Refusal("'\(text)' is not a MAC address: write it as 52:54:00:12:34:56")
        }
        guard address.isStation else {
            throw Refusal("\(address) is no station's address: give one whose first octet is even and that is not zero")
        }
        self = address
    }
}

extension VLANOptions {
    /// - Throws: `Refusal` for a VLAN, mode or combination that cannot be.
    func policy() throws(Refusal) -> VLANPolicy {
        var checked: VLANMode?
        if let mode {
            checked = VLANMode(rawValue: mode)
            guard checked != nil else {
                let names = VLANMode.allCases.map(\.rawValue).joined(separator: ", ")
                throw Refusal("VLAN mode '\(mode)' is unknown: use one of \(names)")
            }
        }
        var carried: Set<VLANID> = []
        for number in trunks ?? [] { carried.insert(try VLANID(checking: number)) }
        return try VLANPolicy(mode: checked, tag: try tag.map(VLANID.init(checking:)), trunks: carried)
    }
}

/// - Throws: `Refusal` unless `name` is 1 to 64 of the characters A-Z, a-z, 0-9, '_', '.', '-'.
func checkName(_ name: String, of noun: String) throws(Refusal) {
    guard name.utf8.count <= 64, name.wholeMatch(of: /[A-Za-z0-9_.\-]+/) != nil else {
        throw Refusal("\(noun) name '\(name.prefix(80))' is not a name: use 1 to 64 letters, digits, '_', '.', '-'")
    }
}
