// Actions in the forms of `ovs-ofctl dump-flows`.
extension TextOutput {
    /// A list; none at all is `drop`.
    mutating func actions(_ actions: [Action]) {
        guard !actions.isEmpty else { return put("drop") }
        for (index, action) in actions.enumerated() {
            if index > 0 { put("," as Unicode.Scalar) }
            self.action(action)
        }
    }

    private mutating func action(_ action: Action) {
        switch action {
        case .output(let port):
            if port.isOrdinary { put("output:") }
            self.port(port)
        case .outputSubfield(let subfield): named("output:") { $0.subfield(subfield) }
        case .outputTruncated(let port, let maxLength):
            named("output(port=") { $0.port(port) }
            named(",max_len=") { $0.decimal(maxLength) }
            put(")" as Unicode.Scalar)
        case .inPort: put("IN_PORT")
        case .normal: put("NORMAL")
        case .flood: put("FLOOD")
        case .all: put("ALL")
        case .group(let number): named("group:") { $0.decimal(number) }
        case .meter(let number): named("meter:") { $0.decimal(number) }
        case .enqueue(let port, let queue):
            named("enqueue:") { $0.port(port) }
            named(":") { $0.decimal(queue) }
        case .setQueue(let queue): named("set_queue:") { $0.decimal(queue) }
        case .popQueue: put("pop_queue")
        case .setVLANID, .setVLANPriority, .stripVLAN, .popVLAN, .pushVLAN, .setEthernetSource,
            .setEthernetDestination, .setIPv4Source, .setIPv4Destination, .setTOS, .setECN, .setTTL,
            .setTransportSource, .setTransportDestination, .decrementTTL:
            header(action)
        case .setField, .load, .move, .push, .pop, .setTunnel, .checkPacketLarger, .writeMetadata: field(action)
        case .resubmit(let port, let table, let withTuple): resubmit(port, table, withTuple)
        case .gotoTable(let table): named("goto_table:") { $0.decimal(table) }
        case .writeActions(let inner): nested("write_actions(", inner)
        case .clearActions: put("clear_actions")
        case .clone(let inner): nested("clone(", inner)
        case .exit: put("exit")
        case .conntrack(let conntrack): self.conntrack(conntrack)
        case .conntrackClear: put("ct_clear")
        case .learn(let learn): self.learn(learn)
        case .conjunction(let id, let clause, let count): put("conjunction(\(id),\(clause)/\(count))")
        case .finTimeout(let idle, let hard): finTimeout(idle, hard)
        case .note(let bytes): note(bytes)
        case .reject(let reject): put("reject(type=\(reject.type),code=\(reject.code),source=\(reject.source))")
        }
    }

    private mutating func named(_ name: StaticString, _ body: (inout TextOutput) -> Void) {
        put(name)
        body(&self)
    }

    private mutating func nested(_ name: StaticString, _ actions: [Action]) {
        put(name)
        self.actions(actions)
        put(")" as Unicode.Scalar)
    }

    private mutating func header(_ action: Action) {
        switch action {
        case .setVLANID(let vid, let pushes): named(pushes ? "mod_vlan_vid:" : "set_vlan_vid:") { $0.decimal(vid) }
        case .setVLANPriority(let priority, let pushes):
            named(pushes ? "mod_vlan_pcp:" : "set_vlan_pcp:") { $0.decimal(priority) }
        case .stripVLAN: put("strip_vlan")
        case .popVLAN: put("pop_vlan")
        case .pushVLAN(let tpid): named("push_vlan:") { $0.hexadecimal(tpid.rawValue) }
        case .setEthernetSource(let address): named("mod_dl_src:") { $0.macAddress(UInt128(address.value)) }
        case .setEthernetDestination(let address): named("mod_dl_dst:") { $0.macAddress(UInt128(address.value)) }
        case .setIPv4Source(let address): named("mod_nw_src:") { $0.ipv4(UInt128(address)) }
        case .setIPv4Destination(let address): named("mod_nw_dst:") { $0.ipv4(UInt128(address)) }
        case .setTOS(let tos): named("mod_nw_tos:") { $0.decimal(tos) }
        case .setECN(let ecn): named("mod_nw_ecn:") { $0.decimal(ecn) }
        case .setTTL(let ttl): named("mod_nw_ttl:") { $0.decimal(ttl) }
        case .setTransportSource(let port): named("mod_tp_src:") { $0.decimal(port) }
        case .setTransportDestination(let port): named("mod_tp_dst:") { $0.decimal(port) }
        case .decrementTTL(let controllers):
            put("dec_ttl")
            if !controllers.isEmpty { put("(\(controllers.map { String($0) }.joined(separator: ",")))") }
        default: break  // `action` sends no other.
        }
    }

    private mutating func field(_ action: Action) {
        switch action {
        case .setField(let write):
            named("set_field:") { $0.value(of: write.field, write.value, mask: write.mask) }
            put("->")
            put(write.field.name)
        case .load(let load):
            named("load:") { $0.hexadecimal(load.value) }
            named("->") { $0.subfield(load.destination) }
        case .move(let move):
            named("move:") { $0.subfield(move.source) }
            named("->") { $0.subfield(move.destination) }
        case .push(let subfield): named("push:") { $0.subfield(subfield) }
        case .pop(let subfield): named("pop:") { $0.subfield(subfield) }
        case .setTunnel(let id, let isWide):
            named(isWide ? "set_tunnel64:" : "set_tunnel:") { $0.hexadecimal(id) }
        case .checkPacketLarger(let length, let destination):
            named("check_pkt_larger(") { $0.decimal(length) }
            named(")->") { $0.subfield(destination) }
        case .writeMetadata(let value, let mask):
            named("write_metadata:") { $0.hexadecimal(value) }
            if mask != .max { named("/") { $0.hexadecimal(mask) } }
        default: break  // `action` sends no other.
        }
    }

    private mutating func resubmit(_ port: FlowPort?, _ table: UInt8?, _ withTuple: Bool) {
        if let port, table == nil, !withTuple { return named("resubmit:") { $0.port(port) } }
        put("resubmit(")
        if let port { self.port(port) }
        put("," as Unicode.Scalar)
        if let table { decimal(table) }
        if withTuple { put(",ct") }
        put(")" as Unicode.Scalar)
    }

    private mutating func finTimeout(_ idle: UInt16, _ hard: UInt16) {
        put("fin_timeout(")
        if idle != 0 { put("idle_timeout=\(idle),") }
        if hard != 0 { put("hard_timeout=\(hard),") }
        dropComma()
        put(")" as Unicode.Scalar)
    }

    private mutating func note(_ bytes: [UInt8]) {
        put("note:")
        for (index, byte) in bytes.enumerated() {
            if index > 0 { put("." as Unicode.Scalar) }
            padded(byte, 2)
        }
    }
}
