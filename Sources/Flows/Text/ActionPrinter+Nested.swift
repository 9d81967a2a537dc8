// ct, nat and learn.
extension TextOutput {
    mutating func conntrack(_ conntrack: Conntrack) {
        put("ct(")
        if conntrack.commits { put("commit,") }
        if conntrack.forces { put("force,") }
        if let table = conntrack.table { put("table=\(table),") }
        switch conntrack.zone {
        case .number(0): break
        case .number(let zone): put("zone=\(zone),")
        case .subfield(let zone):
            put("zone=")
            subfield(zone)
            put("," as Unicode.Scalar)
        }
        if let nat = conntrack.nat { self.nat(nat) }
        if !conntrack.actions.isEmpty {
            put("exec(")
            actions(conntrack.actions)
            put("),")
        }
        if let helper = conntrack.helper { put("alg=\(helper.rawValue)") }
        dropComma()
        put(")" as Unicode.Scalar)
    }

    private mutating func nat(_ nat: NAT) {
        put("nat")
        if let direction = nat.direction {
            put("(" as Unicode.Scalar)
            put(direction.rawValue)
            if let addresses = nat.addresses {
                put("=" as Unicode.Scalar)
                range(addresses, nat.ports)
                put("," as Unicode.Scalar)
                if nat.isPersistent { put("persistent,") }
                if let selection = nat.selection { put("\(selection.rawValue),") }
            }
            dropComma()
            put(")" as Unicode.Scalar)
        }
        put("," as Unicode.Scalar)
    }

    private mutating func range(_ addresses: AddressRange, _ ports: ClosedRange<UInt16>?) {
        switch addresses {
        case .ipv4(let range):
            ipv4(UInt128(range.lowerBound))
            if range.count > 1 {
                put("-" as Unicode.Scalar)
                ipv4(UInt128(range.upperBound))
            }
        case .ipv6(let range):
            bracketed(range.lowerBound, ports != nil)
            if range.lowerBound != range.upperBound {
                put("-" as Unicode.Scalar)
                bracketed(range.upperBound, ports != nil)
            }
        }
        guard let ports else { return }
        put(":\(ports.lowerBound)")
        if ports.count > 1 { put("-\(ports.upperBound)") }
    }

    /// In brackets where a port follows.
    private mutating func bracketed(_ address: UInt128, _ hasPort: Bool) {
        if hasPort { put("[" as Unicode.Scalar) }
        ipv6(address)
        if hasPort { put("]" as Unicode.Scalar) }
    }

    mutating func learn(_ learn: Learn) {
        put("learn(table=\(learn.table)")
        if learn.idleTimeout != 0 { put(",idle_timeout=\(learn.idleTimeout)") }
        if learn.hardTimeout != 0 { put(",hard_timeout=\(learn.hardTimeout)") }
        if learn.finIdleTimeout != 0 { put(",fin_idle_timeout=\(learn.finIdleTimeout)") }
        if learn.finHardTimeout != 0 { put(",fin_hard_timeout=\(learn.finHardTimeout)") }
        if learn.priority != Flow.defaultPriority { put(",priority=\(learn.priority)") }
        if learn.sendsFlowRemoved { put(",send_flow_rem") }
        if learn.deletesLearned { put(",delete_learned") }
        if learn.cookie != 0 {
            put(",cookie=")
            hexadecimal(learn.cookie)
        }
        if learn.limit != 0 { put(",limit=\(learn.limit)") }
        if let result = learn.result {
            put(",result_dst=")
            subfield(result)
        }
        for specification in learn.specifications {
            put("," as Unicode.Scalar)
            self.specification(specification)
        }
        put(")" as Unicode.Scalar)
    }

    private mutating func specification(_ specification: Learn.Specification) {
        switch specification {
        case .matchValue(let target, let value) where target.isWholeField:
            put(target.field.name)
            put("=" as Unicode.Scalar)
            self.value(of: target.field, value, mask: target.field.fullMask)
        case .matchValue(let target, let value):
            subfield(target)
            put("=" as Unicode.Scalar)
            hexadecimal(value)
        case .matchField(let target, let source):
            subfield(target)
            if source.field != target.field || source.offset != target.offset {
                put("=" as Unicode.Scalar)
                subfield(source)
            }
        case .loadValue(let target, let value):
            put("load:")
            hexadecimal(value)
            put("->")
            subfield(target)
        case .loadField(let target, let source):
            put("load:")
            subfield(source)
            put("->")
            subfield(target)
        case .output(let source):
            put("output:")
            subfield(source)
        }
    }
}
