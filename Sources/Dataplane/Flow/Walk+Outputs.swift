public import Flows
public import Wire

/// What NORMAL made of a packet.
public enum NormalDecision: Hashable, Sendable {
    /// To the port behind which the station is.
    case station(port: UInt16, vlan: UInt16)
    /// To every other port of the VLAN.
    case flooded(vlan: UInt16)
    case dropped(DropReason)
}

/// What an action came to, beside changes of the packet. Ports are `PortIndex` values unless they are called numbers.
public enum WalkNote: Hashable, Sendable {
    case sent(to: UInt16)
    case decided(NormalDecision)
    /// The packet came from there: that takes IN_PORT.
    case keptFromOrigin(number: UInt16)
    case hasNoPort(number: UInt16)
    /// The port carries the packet's VLAN, but not its customer's.
    case keptFromCustomer(port: UInt16)
    /// The time to live ran out: the rest of the flow's actions is left out.
    case expired
    /// All of the walk ends, or all of it behind the last patch.
    case failed(DropReason)
    /// What the tracker said, `TrackBits`.
    case tracked(zone: UInt16, bits: UInt8, isAssumed: Bool)
    /// The packet became what its connection says.
    case translated(zone: UInt16)
    /// The packet's sender is told so, by a router.
    case rejected(IPAddress)
    /// A fragment waits there for the others of its datagram, which is tracked as a whole.
    case waits
    /// A flow that is added or refreshed for a packet of a worker.
    case learns(Flow)
    /// Timeouts that the flow gets, in seconds, unless it has shorter ones; 0 for none.
    case finishes(idle: UInt16, hard: UInt16)
}

extension Walk {
    // MARK: - Outputs

    /// Not to where it came from: that takes IN_PORT (ovs-actions(7), 'output').
    mutating func output(_ number: UInt16) {
        guard number != key.port else {
            if Observer.isActive { observer.noted(.keptFromOrigin(number: number)) }
            return
        }
        send(to: context.state.bridges[Int(bridge)].port(numbered: number), number: number)
    }

    /// To the port that a field names, reserved ones too (ovs-actions(7), 'output'). Beyond 16 bits there is none.
    mutating func output(toField value: UInt128) {
        switch value {
        case 0xfff8: outputToOrigin()
        case 0xfffa: normal()
        // FLOOD and ALL.
        case 0xfffb, 0xfffc: flood()
        case 0...0xffff: output(UInt16(truncatingIfNeeded: value))
        default: return
        }
    }

    /// The same with what is behind `maxLength` bytes cut off; not through a patch (as in Open vSwitch).
    mutating func output(_ number: UInt16, maxLength: UInt32) {
        let port = context.state.bridges[Int(bridge)].port(numbered: number)
        guard number != key.port, port != PortEntry.noPort, context.state.ports[Int(port)].leadsToDevice else {
            return
        }
        recordEdits()
        record(.outputTruncated(port, maxLength: maxLength))
    }

    mutating func outputToOrigin() {
        send(to: context.state.bridges[Int(bridge)].port(numbered: key.port), number: key.port)
    }

    /// To every port but the one it came from, whatever VLANs they carry.
    mutating func flood() {
        let entry = context.state.bridges[Int(bridge)]
        for member in 0..<entry.memberCount {
            let port = entry.members[member]
            if context.state.ports[Int(port)].number != key.port { send(to: port) }
        }
    }

    private mutating func send(to port: UInt16, number: UInt16) {
        guard port == PortEntry.noPort else { return send(to: port) }
        if Observer.isActive { observer.noted(.hasNoPort(number: number)) }
    }

    private mutating func send(to port: UInt16) {
        let entry = context.state.ports + Int(port)
        guard entry.pointee.peer == PortEntry.noPort else { return cross(to: entry.pointee.peer) }
        guard entry.pointee.tunnel == Underlay.none else {
            return encapsulate(context.state.underlay.tunnels[Int(entry.pointee.tunnel)])
        }
        guard entry.pointee.endpoint == Underlay.none || context.state.ports[Int(origin)].facesUnderlay else {
            return decide(.dropped(.endpointForbidden))
        }
        if Observer.isActive { observer.noted(.sent(to: port)) }
        recordEdits()
        record(.output(port))
    }

    mutating func record(_ step: Program.Step) {
        guard program.count < Program.capacity else { return fail(.flowTooLong) }
        program.steps[program.count] = step
        program.count += 1
    }

    /// What NORMAL finds again is recorded once, so that a flow with NORMAL that loops ends where others do. Not across
    /// another station that the bridge learned: it may be the same one, elsewhere.
    mutating func record(_ check: Program.Check) {
        if let station = check.station {
            for former in (0..<program.checkCount).reversed() {
                let known = program.checks[former]
                if known == check { return }
                if case .learn(let name, _) = known, name.bridge == station.bridge { break }
            }
        }
        guard program.checkCount < Program.checkCapacity else { return fail(.flowTooLong) }
        program.checks[program.checkCount] = check
        program.checkCount += 1
    }

    // MARK: - Edits

    /// Brings the packet to what the flows have made of it: tags first, then every word that was written.
    mutating func recordEdits() {
        recordTags()
        while pendingWords != 0 {
            let word = pendingWords.trailingZeroBitCount
            pendingWords &= pendingWords - 1
            // Only what headers hold is edited; the rest is the walk's own.
            let mask = pending[word] & memory.editable[word]
            pending[word] = 0
            guard mask != 0 else { continue }
            record(.rewrite(value: key[word] & mask, mask: mask, word: UInt8(word)))
            recorded[word] |= mask
        }
    }

    private mutating func recordTags() {
        tags.tags = key.tags
        let mask = pending[0] & 0xffff
        pending[0] &= ~0xffff
        if hasOtherTags {
            replaceTags()
        } else if mask != 0 {
            record(.rewrite(value: key[0] & mask, mask: mask, word: 0))
            recorded[0] |= mask
        }
        (wireTags, hasOtherTags) = (tags, false)
    }

    /// All of the first two tags is known here: `dependOnTags`.
    private mutating func replaceTags() {
        let common = tags.commonCount(with: wireTags)
        for _ in common..<wireTags.count { record(.popTag) }
        for depth in (0..<tags.count - common).reversed() {
            record(.pushTag(type: tags[depth].type, control: tags[depth].control))
        }
    }

    // MARK: - NORMAL

    /// What the bridge does without flows: admits the frame into a VLAN, learns where it came from, and sends it to where
    /// its destination is (IEEE Std 802.1Q-2022 clause 8.6).
    mutating func normal() {
        depend(on: 0xffff_0000 | UInt64(FlowKey.vlanPresent) | 0x0fff, word: 0)
        depend(on: ~0xffff, word: 1)
        depend(on: ~0xffff, word: 2)
        let entry = context.state.bridges[Int(bridge)]
        let port = entry.port(numbered: key.port)
        guard port != PortEntry.noPort else { return decide(.dropped(.noBridge)) }
        var fault = DropReason.flowDrop
        guard let tag = admit(on: port, entry, fault: &fault) else { return decide(.dropped(fault)) }
        guard !entry.hasEndpoint || !forgesEndpoint(vlan: tag.vlan, on: port) else {
            return decide(.dropped(.endpointForbidden))
        }
        learn(on: port, entry, vlan: tag.vlan)
        if MACAddress(value: key.destination).isGroup { return flood(tag, from: port, entry) }
        let name = stationName(word: 1, vlan: tag.vlan)
        let station = ForwardingDatabase.Key(vlan: tag.vlan, mac: key.destination)
        let value = entry.fdb.lookup(station, bucket: entry.fdb.bucket(of: station))
        record(.found(name, value.place))
        // A walk with effects has just learned it.
        if !context.hasEffects && key.destination == key.source && !(value.isPresent && value.isStatic) {
            return decide(.dropped(.samePort))
        }
        // A station behind a port that no longer carries its VLAN is an unknown one.
        guard value.isPresent, context.state.ports[Int(value.port)].bridge == bridge,
            context.state.ports[Int(value.port)].carried.contains(tag.vlan)
        else { return flood(tag, from: port, entry) }
        guard value.port != port else { return decide(.dropped(.samePort)) }
        decide(.station(port: value.port, vlan: tag.vlan))
        send(tag, to: value.port)
    }

    mutating func decide(_ decision: NormalDecision) {
        if case .dropped(let reason) = decision { program.drop = reason }
        if Observer.isActive { observer.noted(.decided(decision)) }
    }

    /// The VLAN that the port takes the frame into; nil when it does not.
    private func admit(on port: UInt16, _ entry: BridgeEntry, fault: inout DropReason) -> Tag? {
        let ingress = context.state.ports + Int(port)
        // Flows may write a tag's bits without the one that says that there is a tag.
        let control = isTagged ? key.tags.outer : 0
        fault = .vlanNotCarried
        if control == 0 && isTagType(key[0] >> 16) {
            fault = .truncatedTag
        } else if !MACAddress(value: key.source).isStation {
            fault = .invalidSource
        } else if MACAddress(value: key.destination).isLinkLocalReserved && !entry.forwardsReserved {
            fault = .reservedAddress
        } else if control == 0 {
            return ingress.pointee.takesUntagged ? ingress.pointee.untagged : nil
        } else if control & 0x0fff == 0x0fff {
            fault = .reservedVLAN
        } else {
            program.mask[18] |= FrameLayout.tagTypeMask
            return ingress.pointee.classify(type: tags.outerType, control: control)
        }
        return nil
    }

    /// Whether a packet says to come from an endpoint of the bridge and does not: only the endpoint says that, and nobody
    /// at all says to have its station's address.
    private func forgesEndpoint(vlan: UInt16, on port: UInt16) -> Bool {
        let underlay = context.state.underlay
        let addresses = IPAddress(IPv4Address(value: UInt32(truncatingIfNeeded: key[3] >> 32)))
        for place in 0..<underlay.endpointCount {
            let endpoint = underlay.endpoints + place
            guard endpoint.pointee.bridge == bridge, endpoint.pointee.vlan == vlan, endpoint.pointee.port != port
            else { continue }
            if key.source == endpoint.pointee.mac.value { return true }
            // Other hosts on the wire may claim the address, and learn that it is taken; who is behind other ports may not.
            guard !context.state.ports[Int(origin)].facesUnderlay else { continue }
            depend(on: 0xffff_0000, word: 0)
            let type = UInt16(truncatingIfNeeded: key[0] >> 16)
            if type == EtherType.ipv4 || type == EtherType.arp {
                depend(on: .max << 32, word: 3)
                if addresses == endpoint.pointee.address { return true }
            } else if type == EtherType.ipv6 {
                depend(on: .max, word: 19)
                depend(on: .max, word: 20)
                if UInt128(key[19]) << 64 | UInt128(key[20]) == endpoint.pointee.address.value { return true }
            }
        }
        return false
    }

    private func isTagType(_ word: UInt64) -> Bool {
        let type = UInt16(truncatingIfNeeded: word)
        return type == TPID.customer.rawValue || type == TPID.service.rawValue
    }

    private mutating func learn(on port: UInt16, _ entry: BridgeEntry, vlan: UInt16) {
        record(.learn(stationName(word: 2, vlan: vlan), port: port))
        guard context.hasEffects else { return }
        let station = ForwardingDatabase.Key(vlan: vlan, mac: key.source)
        entry.fdb.learn(station, bucket: entry.fdb.bucket(of: station), port: port, now: context.now)
    }

    /// - Parameter word: of the address within the key.
    private func stationName(word: Int, vlan: UInt16) -> Program.StationName {
        let isPackets = written[word] >> 16 == 0
        return Program.StationName(
            bridge: bridge,
            vlan: vlan,
            isPackets: isPackets,
            address: isPackets ? 0 : key[word] >> 16
        )
    }

    private mutating func flood(_ tag: Tag, from port: UInt16, _ entry: BridgeEntry) {
        decide(.flooded(vlan: tag.vlan))
        program.drop = .noOtherPort
        for member in 0..<entry.memberCount {
            let output = entry.members[member]
            if output != port && context.state.ports[Int(output)].carried.contains(tag.vlan) { send(tag, to: output) }
        }
    }

    /// Sends the frame with the tag that a port sends, and goes on with the tag as it was.
    private mutating func send(_ tag: Tag, to output: UInt16) {
        let egress = context.state.ports + Int(output)
        if egress.pointee.limitsCustomers && !egress.pointee.customers.contains(customer(tag)) {
            program.drop = .transmitNotCarried
            if Observer.isActive { observer.noted(.keptFromCustomer(port: output)) }
            return
        }
        switch Lane.TagEdit(tag, egress).action {
        case .keep: send(to: output)
        case .pop:
            scoped { walk in
                walk.popTag()
                walk.send(to: output)
            }
        case .push:
            scoped { walk in
                walk.pushTag(tag.type, control: tag.control | FlowKey.vlanPresent)
                walk.send(to: output)
            }
        case .rewrite where key.tags.outer & 0x0fff == tag.control & 0x0fff: send(to: output)
        case .rewrite:
            scoped { walk in
                walk.write(0, UInt64(tag.control & 0x0fff), 0x0fff)
                walk.send(to: output)
            }
        }
    }

    /// The customer's VLAN of a frame: behind the switch's own tag, if it has one.
    private func customer(_ tag: Tag) -> UInt16 {
        depend(on: 0xffff, word: tag.isPresent ? 1 : 0)
        let control = tag.isPresent ? key.tags.inner : isTagged ? key.tags.outer : 0
        return control & 0x0fff
    }
}
