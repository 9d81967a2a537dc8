import Dataplane

// A patch is a wire between two bridges: two ports without a device, each of which names the other. Until both are
// there, one alone is a port whose link is down.
extension Switch {
    /// The other end of a patch that is joined; nil for any other port.
    func peer(of port: Port) -> Port? {
        guard case .patch(let name) = port.record.type, let peer = ports[name],
            case .patch(port.record.name) = peer.record.type, peer.record.bridge != port.record.bridge
        else { return nil }
        return peer
    }

    /// Why a patch is not joined, and the mend.
    func reasonForNoPeer(of port: Port) -> String {
        let record = port.record
        guard case .patch(let name) = record.type else { return "it is no patch" }
        guard let peer = ports[name] else {
            return "port '\(name)' does not exist: add it to another bridge with --option peer=\(record.name)"
        }
        guard case .patch(let other) = peer.record.type else {
            return "port '\(name)' is of type \(peer.record.type.name) and not a patch: name another peer"
        }
        guard other == record.name else {
            return "port '\(name)' has '\(other)' for its peer: delete it and add it with --option peer=\(record.name)"
        }
        return "both ends are on bridge '\(record.bridge)': a patch joins two bridges"
    }

    /// Open vSwitch would join a bridge to itself, and NORMAL there would flood without end.
    func checkPeer(_ name: String, of record: PortRecord, beside others: [String: PortRecord]) throws(Refusal) {
        guard others[name]?.bridge == record.bridge else { return }
        throw Refusal(
            "peer '\(name)' is on bridge '\(record.bridge)' too: a patch joins two bridges, so add one end to another"
        )
    }
}
