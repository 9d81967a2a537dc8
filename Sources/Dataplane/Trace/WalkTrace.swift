public import Flows
import Wire

/// What a worker would do with a packet now, and why: see `Dataplane.trace`.
public struct WalkTrace: Sendable {
    /// Steps beyond it are left out, though the walk goes on.
    public static let stepLimit = 10_000

    /// What happened, in order. A table that is entered by the last action of a flow lies as deep as that flow's; by
    /// any other action, one deeper.
    public var steps: [Step] = []
    /// Some steps are left out.
    public var isCut = false
    /// As it came in.
    public var packet = FlowKey()
    public var program: [ProgramWord] = []
    /// The packets that the program is good for.
    public var match = Match()
    /// Why the packet goes nowhere, where `outputs` is empty.
    public var drop = DropReason.flowDrop

    /// The ports that it leaves through, in order.
    public var outputs: [PortIndex] {
        program.compactMap { if case .output(let port) = $0 { port } else { nil } }
    }

    public struct Step: Sendable {
        public let depth: Int
        public internal(set) var event: Event
    }

    public enum Event: Sendable {
        /// The packet is on a bridge, from a port of it; through the patch port `from` of the last bridge.
        case bridge(String, number: UInt16, from: PortIndex?)
        /// A look-up, and what it found.
        case table(UInt8, InstalledFlow?)
        /// An action that ran, nil for the absence of any, and what it changed of the packet.
        case action(Action?, [FieldChange])
        /// What the action before came to.
        case note(WalkNote)
    }
}

/// A field before and after an action, as text.
public struct FieldChange: Hashable, Sendable, Codable {
    public let field: String
    public let before: String
    public let after: String
}

/// A step of a program, for people.
public enum ProgramWord: Hashable, Sendable {
    /// Such as "push_vlan(vid=1,pcp=0)".
    case edit(String)
    case output(PortIndex)

    /// - Parameter type: a key that has the packet's Ethernet type and IP protocol: fields have their names by it.
    static func words(of steps: [Program.Step], type: FlowKey) -> [ProgramWord] {
        steps.indices.flatMap { index in
            guard case .encapsulate(let header) = steps[index] else { return words(of: steps[index], type: type) }
            return [.edit(header.words(steps[(index + 1)...].prefix(header.octetSteps)))]
        }
    }

    private static func words(of step: Program.Step, type: FlowKey) -> [ProgramWord] {
        switch step {
        case .output(let port): return [.output(PortIndex(port))]
        case .outputTruncated(let port, let maxLength):
            return [.edit("trunc(\(maxLength))"), .output(PortIndex(port))]
        case .commit(let commit): return [.edit(commit.words)]
        case .translate(let zone): return [.edit("nat(zone=\(zone))")]
        case .restore(let zone): return [.edit("restore(zone=\(zone))")]
        case .encapsulate, .octets: return []
        case .noStation: return [.edit("drop(\(DropReason.neighborUnknown.name))")]
        case .meter(let cell): return [.edit("meter(\(cell.pointee.identifier))")]
        case .popTag: return [.edit("pop_vlan")]
        case .pushTag(let type, let control):
            let kind = type == 0x8100 ? "" : "tpid=0x\(String(type, radix: 16)),"
            return [.edit("push_vlan(\(kind)vid=\(control & 0xfff),pcp=\(control >> 13))")]
        case .rewrite(let value, let mask, let word):
            var (values, masks) = (FlowKey(), FlowKey())
            (values[Int(word)], masks[Int(word)]) = (value, mask)
            return values.writes(under: masks, type: type).map { .edit($0) }
        }
    }
}

extension TunnelHeader {
    /// Such as "encapsulate(vxlan,dst=192.0.2.2,key=102)".
    /// - Parameter steps: that hold the octets, all of them.
    fileprivate func words(_ steps: ArraySlice<Program.Step>) -> String {
        var octets: [UInt8] = []
        for case .octets(let first, let second) in steps {
            withUnsafeBytes(of: (first, second)) { octets += $0 }
        }
        octets.removeFirst(octets.count - Int(length))
        return octets.withUnsafeBytes { bytes in
            let network = HeaderBytes(unchecked: bytes.baseAddress! + Self.ethernetLength)
            let destination =
                isIPv4
                ? IPAddress(IPv4Address(value: network.number32(at: 16)))
                : IPAddress(IPv6Address(value: network.number128(at: 24)))
            var fault: HeaderFault?
            let rest = UnsafeRawBufferPointer(rebasing: bytes[carried...])
            let key: UInt32? =
                switch type {
                case .vxlan: VXLAN(rest, fault: &fault)?.vni.value
                case .geneve: Geneve(rest, fault: &fault)?.vni.value
                case .gre: GRE(rest, fault: &fault)?.key
                }
            return "encapsulate(\(type.rawValue),dst=\(destination)" + (key.map { ",key=\($0)" } ?? "") + ")"
        }
    }
}

extension Commit {
    /// Such as "ct(commit,zone=1,mark=0x1/0x1)".
    fileprivate var words: String {
        var words = begins ? ["commit"] : []
        if forces { words.append("force") }
        words.append("zone=\(zone)")
        if markMask != 0 { words.append("mark=0x\(String(mark, radix: 16))/0x\(String(markMask, radix: 16))") }
        if hasLabel { words.append("label") }
        return "ct(\(words.joined(separator: ",")))"
    }
}
