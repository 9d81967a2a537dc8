import Flows
import Wire

@testable import Networking

/// A frame, as far as filters look at it. What a family does not have is ignored.
struct Packet: CustomStringConvertible {
    enum Family { case arp, ipv4, ipv6, other }

    var source = MACAddress(value: 0)
    var destination = MACAddress(value: 0)
    var family = Family.ipv4
    var from = IPAddress.unspecified
    var to = IPAddress.unspecified
    var number: UInt8 = 0
    /// Ports, or type and code of ICMP.
    var first: UInt16 = 0
    var second: UInt16 = 0
    /// Of ARP and neighbor discovery: who the sender says it is.
    var hardware = MACAddress(value: 0)
    var target = IPAddress.unspecified
    var operation: UInt8 = 1
    var tag: UInt16 = 0

    var isICMP: Bool { family == .ipv4 && number == 1 || family == .ipv6 && number == 58 }

    var description: String {
        "\(source) > \(destination) \(family) \(from) > \(to) \(number) \(first) \(second) \(hardware) \(target) \(tag)"
    }

    /// As flows see it.
    func key(inPort port: UInt32) -> FlowKey {
        var key = FlowKey()
        key.set(.inPort, UInt128(port))
        key.set(.ethSource, UInt128(source.value))
        key.set(.ethDestination, UInt128(destination.value))
        key.set(.vlanTCI, tag == 0 ? 0 : UInt128(0x1000 | tag))
        switch family {
        case .arp:
            key.set(.ethType, 0x0806)
            key.set(.arpSPA, from.value & 0xffff_ffff)
            key.set(.arpTPA, to.value & 0xffff_ffff)
            key.set(.arpSHA, UInt128(hardware.value))
            key.set(.arpOp, UInt128(operation))
        case .ipv4:
            key.set(.ethType, 0x0800)
            key.set(.ipSource, from.value & 0xffff_ffff)
            key.set(.ipDestination, to.value & 0xffff_ffff)
        case .ipv6:
            key.set(.ethType, 0x86dd)
            key.set(.ipv6Source, from.value)
            key.set(.ipv6Destination, to.value)
        case .other: key.set(.ethType, 0x88cc)
        }
        guard family == .ipv4 || family == .ipv6 else { return key }
        key.set(.nwProto, UInt128(number))
        key.set(.tcpSource, UInt128(first))
        key.set(.tcpDestination, UInt128(second))
        guard family == .ipv6, number == 58, second == 0, first == 135 || first == 136 else { return key }
        key.set(.ndTarget, target.value)
        key.set(first == 135 ? .ndSLL : .ndTLL, UInt128(hardware.value))
        return key
    }
}

/// What a tracker knows of a packet's conversation.
enum Conversation: CaseIterable {
    case new, established, reply, related, invalid, markedReply

    /// ct_state's bits beside +trk (ovs-fields(7)).
    var state: UInt128 {
        switch self {
        case .new: 0x01
        case .established: 0x02
        case .reply, .markedReply: 0x0a
        case .related: 0x04
        case .invalid: 0x10
        }
    }

    var mark: UInt128 { self == .markedReply ? 1 : 0 }
}

/// Runs the flows of br-int as their text says, one at a time: slow, and nothing of the dataplane is in it.
struct FlowMachine {
    private let tables: [UInt8: [Entry]]
    private let sets: [String: Set<IPPrefix>]
    let portNumbers: [String: UInt32]

    struct Outcome: Hashable {
        /// Numbers of ports; nil is NORMAL.
        var outputs: [UInt32?] = []
        /// The marks of what was committed.
        var commits: [UInt128] = []
        /// Why the packet is dropped, if it is.
        var refusal: FilterRefusal?

        var isDropped: Bool { outputs.isEmpty }
    }

    private struct Entry {
        let flow: Flow
        let refusal: FilterRefusal?
    }

    init(_ said: [BridgeFlow], sets: [String: Set<IPPrefix>], ports: [String]) throws {
        let numbers = Dictionary(uniqueKeysWithValues: zip(ports, UInt32(2)...))
        let flows = try said.map { Entry(flow: try FlowText.flow($0.line) { numbers[$0] }, refusal: $0.refusal) }
        tables = Dictionary(grouping: flows, by: \.flow.table)
            .mapValues { $0.sorted { $0.flow.priority > $1.flow.priority } }
        self.sets = sets
        portNumbers = numbers
    }

    /// What becomes of a packet that reaches table 60.
    func run(_ packet: Packet, inPort: UInt32, _ conversation: Conversation) -> Outcome {
        var outcome = Outcome()
        var key = packet.key(inPort: inPort)
        look(60, &key, conversation, &outcome)
        return outcome
    }

    private func look(_ table: UInt8, _ key: inout FlowKey, _ conversation: Conversation, _ outcome: inout Outcome) {
        guard let found = tables[table]?.first(where: { matches($0.flow.match, key) }) else { return }
        outcome.refusal = found.refusal ?? outcome.refusal
        for action in found.flow.actions { run(action, &key, conversation, &outcome) }
    }

    private func matches(_ match: Match, _ key: FlowKey) -> Bool {
        match.matches(key)
            && match.addressSets.allSatisfy { reference in
                let value = key.get(reference.field)
                let isIPv4 = reference.field == .ipSource || reference.field == .ipDestination
                let address = isIPv4 ? IPAddress(IPv4Address(value: UInt32(value))) : IPAddress(value: value)
                return sets[reference.name]!.contains { $0.contains(address) }
            }
    }

    private func run(_ action: Action, _ key: inout FlowKey, _ conversation: Conversation, _ outcome: inout Outcome) {
        switch action {
        case .setField(let set): key.set(set.field, key.get(set.field) & ~set.mask | set.value)
        case .stripVLAN: key.set(.vlanTCI, 0)
        case .gotoTable(let table), .resubmit(port: nil, table: let table?, withOriginalTuple: false):
            look(table, &key, conversation, &outcome)
        case .output(let port): outcome.outputs.append(port.rawValue)
        case .outputSubfield(let field): outcome.outputs.append(UInt32(key.get(field.field)))
        case .normal: outcome.outputs.append(nil)
        case .conntrack(let tracking):
            if tracking.commits {
                let marks = tracking.actions.compactMap { if case .setField(let set) = $0 { set.value } else { nil } }
                outcome.commits.append(marks.first ?? 0)
            }
            guard let table = tracking.table else { return }
            var tracked = key
            tracked.set(.ctState, 0x20 | conversation.state)
            tracked.set(.ctMark, conversation.mark)
            tracked.set(.ctZone, key.get(.reg6))
            look(table, &tracked, conversation, &outcome)
        default: fatalError("no flow of the firewall has \(action)")
        }
    }
}

/// What documents mean, read without flows.
struct FirewallReference {
    let state: NetworkState

    /// What a port's station may send: who it says it is, and what its groups allow.
    func mayLeave(_ packet: Packet, _ port: PortDocument, _ conversation: Conversation) -> Bool {
        guard port.isFiltered else { return true }
        guard packet.tag == 0 else { return false }
        let macs = [port.mac] + port.security.addressPairs.compactMap(\.mac)
        guard macs.contains(packet.source) else { return false }
        let own = prefixes(of: packet.source, port)
        let isOwn = own.contains { $0.contains(packet.from) }
        switch packet.family {
        case .other: return false
        case .arp:
            let isProbe = packet.from.value & 0xffff_ffff == 0 && packet.operation == 1
            return packet.hardware == packet.source && (isOwn || isProbe)
        case .ipv4 where packet.number == 17 && (packet.first, packet.second) == (68, 67):
            return isOwn || packet.from.value & 0xffff_ffff == 0
        case .ipv4 where packet.number == 17 && (packet.first, packet.second) == (67, 68): return false
        case .ipv6 where packet.number == 17 && (packet.first, packet.second) == (546, 547): return isOwn
        case .ipv6 where packet.number == 17 && (packet.first, packet.second) == (547, 546): return false
        case .ipv6 where packet.number == 58:
            if let verdict = mayDiscover(packet, own, isOwn) { return verdict }
        default: break
        }
        return isOwn && isAllowed(packet, .egress, port, conversation)
    }

    /// nil for what is no neighbor discovery.
    private func mayDiscover(_ packet: Packet, _ own: [IPPrefix], _ isOwn: Bool) -> Bool? {
        let isTarget = own.contains { $0.contains(packet.target) }
        let isOption = packet.hardware == packet.source || packet.hardware.value == 0
        switch packet.first {
        case 130: return isOwn
        case 133: return isOwn || packet.from.value == 0
        case 143: return packet.from.value == 0 ? true : nil
        case 134: return false
        case 135 where packet.second == 0: return packet.from.value == 0 ? isTarget : isOwn && isOption
        case 136 where packet.second == 0:
            // Both of one claim, or from the address of the link.
            let sources = own.filter { $0.contains(packet.target) } + [linkLocal(packet.source)]
            return isTarget && isOption && sources.contains { $0.contains(packet.from) }
        case 135, 136: return false
        default: return nil
        }
    }

    /// What is wrong with a packet that may not leave.
    func reason(_ packet: Packet, from port: PortDocument, _ conversation: Conversation) -> FilterRefusal {
        guard packet.tag == 0 else { return .guestTag }
        switch packet.family {
        case .other: return .infrastructure
        case .ipv4 where packet.number == 17 && (packet.first, packet.second) == (67, 68): return .dhcpServer
        case .ipv6 where packet.number == 17 && (packet.first, packet.second) == (547, 546): return .dhcpServer
        case .ipv6 where packet.number == 58 && packet.first == 134: return .routerAdvertisement
        case .ipv6 where packet.number == 58 && [133, 135, 136].contains(packet.first): return .spoofedND
        default: break
        }
        let macs = [port.mac] + port.security.addressPairs.compactMap(\.mac)
        guard macs.contains(packet.source) else { return .spoofedMAC }
        guard packet.family != .arp else { return .spoofedARP }
        let isOwn = prefixes(of: packet.source, port).contains { $0.contains(packet.from) }
        return isOwn ? reason(.noEgressRule, port, conversation) : .spoofedIP
    }

    /// What is wrong with a packet that may not arrive.
    func reason(_ packet: Packet, for port: PortDocument, _ conversation: Conversation) -> FilterRefusal {
        packet.family == .other ? .notIP : reason(.noIngressRule, port, conversation)
    }

    private func reason(
        _ usual: FilterRefusal,
        _ port: PortDocument,
        _ conversation: Conversation
    ) -> FilterRefusal {
        guard port.security.groups.contains(where: { state.securityGroups[$0]!.isStateful }) else { return usual }
        return switch conversation {
        case .invalid: .invalidState
        case .markedReply, .established: .endedConnection
        case .new, .reply, .related: usual
        }
    }

    /// What a port's station may receive.
    func mayArrive(_ packet: Packet, _ port: PortDocument, _ conversation: Conversation) -> Bool {
        switch packet.family {
        case .other: false
        case .arp: true
        case .ipv4 where packet.number == 17 && (packet.first, packet.second) == (67, 68): true
        case .ipv6 where packet.number == 17 && (packet.first, packet.second) == (547, 546): true
        case .ipv6 where packet.number == 58 && [130, 134, 135, 136].contains(packet.first): true
        case .ipv4, .ipv6: isAllowed(packet, .ingress, port, conversation)
        }
    }

    private func isAllowed(
        _ packet: Packet,
        _ direction: PortDocument.Direction,
        _ port: PortDocument,
        _ conversation: Conversation
    ) -> Bool {
        let groups = port.security.groups.map { state.securityGroups[$0]! }
        func isAllowed(_ group: SecurityGroupDocument) -> Bool {
            group.rules.contains { $0.direction == direction && allows($0, packet) }
        }
        if groups.contains(where: { !$0.isStateful && isAllowed($0) }) { return true }
        guard groups.contains(where: \.isStateful) else { return false }
        switch conversation {
        case .invalid, .markedReply: return false
        case .reply, .related: return true
        case .new, .established: return groups.contains { $0.isStateful && isAllowed($0) }
        }
    }

    private func allows(_ rule: SecurityGroupDocument.Rule, _ packet: Packet) -> Bool {
        guard (rule.family == .ipv4) == (packet.family == .ipv4) else { return false }
        if let number = rule.protocolNumber {
            guard number == packet.number, rule.ports == nil || hasPorts(rule.ports!, packet) else { return false }
        }
        let other = rule.direction == .ingress ? packet.from : packet.to
        switch rule.remote {
        case nil: return true
        case .prefix(let prefix): return prefix.contains(other)
        case .group(let id):
            let members = state.ports.values.filter { $0.security.groups.contains(id) }
            return members.contains { port in
                port.addresses.contains(other) || port.security.addressPairs.contains { $0.prefix.contains(other) }
            }
        }
    }

    private func hasPorts(_ ports: SecurityGroupDocument.Ports, _ packet: Packet) -> Bool {
        if packet.isICMP {
            return Int(packet.first) == ports.least && (ports.greatest ?? Int(packet.second)) == Int(packet.second)
        }
        guard [6, 17, 132].contains(packet.number) else { return false }
        return Int(packet.second) >= ports.least ?? 0 && Int(packet.second) <= ports.greatest ?? 65_535
    }

    private func prefixes(of mac: MACAddress, _ port: PortDocument) -> [IPPrefix] {
        let pairs = port.security.addressPairs.filter { ($0.mac ?? port.mac) == mac }.map(\.prefix)
        let fixed = mac == port.mac ? port.addresses.map { IPPrefix($0, length: $0.width)! } : []
        return pairs + fixed + [linkLocal(mac)]
    }

    /// fe80::/64 and the MAC address with ff:fe in the middle and the seventh bit the other way (RFC 4291 appendix A).
    private func linkLocal(_ mac: MACAddress) -> IPPrefix {
        var octets = "\(mac)".split(separator: ":").map { UInt16($0, radix: 16)! }
        octets[0] ^= 2
        octets.insert(contentsOf: [0xff, 0xfe], at: 3)
        let groups = stride(from: 0, to: 8, by: 2).map { String(octets[$0] << 8 | octets[$0 + 1], radix: 16) }
        return IPPrefix("fe80::\(groups.joined(separator: ":"))/128")!
    }
}
