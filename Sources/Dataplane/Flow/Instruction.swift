import Flows

/// One step of a flow's actions as workers run it: trivial, so that a walk through the tables counts no references.
///
/// Fields are places in the flow key: `word`, and `mask` with the bits there. A field of 128 bits takes two instructions.
struct Instruction: BitwiseCopyable {
    enum Kind: UInt8 {
        /// To port `value`; to the port whose number is in `from`; where the packet came from.
        case output, outputField, inPort
        /// To port `value`, cut to `mask` bytes.
        case outputTruncated
        case normal, flood, all
        /// The bits `mask` of `word` become those of `value`.
        case set
        /// `width` bits move from `from` to `to`.
        case move
        /// The same where the packet has a tag; `pushes` gives it one otherwise.
        case setTag
        case pushTag, popTag
        case decrementTTL
        /// The bits of `from`, onto the walk's stack; from there into `to`.
        case push, pop
        /// Table `table`, or the one at hand when it is 255, with `value` for the packet's port, or its own when that is
        /// beyond 16 bits. With a `word` the flows there see the first packet's addresses and ports.
        case resubmit
        /// Table `table`, and nothing of this flow after it.
        case goto
        /// The next `count` instructions, and then the packet as it was before them.
        case clone
        /// To the action set: the next `count` instructions, which are its members: each `member`, of kind `table`, with
        /// the `count` instructions it consists of behind it.
        case writeActions, member
        case clearActions
        /// The group whose cell is at the address `value`.
        case group
        /// The same of a meter.
        case meter
        /// The bit `to` says whether the packet is longer than `value` bytes, for the rest of this flow.
        case checkLength
        /// Learn action `value` (`LearnTable`) makes a flow of `width` words that the next `count` instructions name: each
        /// `source`, with `width` bits of `from`.
        case learn, source
        /// The packet is tracked in zone `value`, or in that of `width` bits of `from`; table `table` sees what comes of it,
        /// unless it is 255. `word` is a `TrackRequest`. Of the next `count` instructions, the first may be the words of a
        /// `TranslationRange`, each `translation`; the others write to the connection.
        case track, translation
        case clearTrack
        /// The flow gets timeouts when its packet ends a connection: idle in the lower 16 bits of `value`, hard above.
        case finish
        /// A packet that goes nowhere from here on is dropped as `value` says (`DropReason`). First of all, and no action's.
        case blame
        /// The packet's sender is told why it does not arrive: type `table` and code `word` of ICMP, from the address `mask`
        /// and `value`, the less significant half.
        case reject
        /// Nothing of the next `count` instructions for a packet that does not meet the `Precondition` in `table`.
        case require
        case exit
    }

    /// `width` bits of a key, `shift` bits above the least significant one of the 64 or 128 bits from `word` on.
    struct Place: BitwiseCopyable {
        var word: UInt8 = 0
        var shift: UInt8 = 0
        /// The bits lie in two words, the more significant first.
        var isWide = false
    }

    var kind: Kind
    var pushes = false
    var table: UInt8 = 0
    var word: UInt8 = 0
    var width: UInt8 = 0
    var from = Place()
    var to = Place()
    var count: UInt16 = 0
    var value: UInt64 = 0
    var mask: UInt64 = 0

    init(_ kind: Kind) { self.kind = kind }
}

extension Instruction {
    static func blame(_ reason: DropReason) -> Instruction {
        var instruction = Instruction(.blame)
        instruction.value = UInt64(reason.rawValue)
        return instruction
    }

    /// The instructions of a flow's actions.
    /// - Throws: `Refusal` for an action that the switch cannot run.
    static func compiled(_ actions: [Action], _ context: ActionContext) throws(Refusal) -> [Instruction] {
        var instructions: [Instruction] = []
        for action in actions {
            if Precondition.all(of: action).contains(where: \.canEnd) {
                instructions += try conditional(action, context)
            } else {
                try append(action, to: &instructions, context)
            }
        }
        return instructions
    }

    static func append(
        _ action: Action,
        to list: inout [Instruction],
        _ context: ActionContext
    ) throws(Refusal) {
        switch action {
        case .output(let port), .enqueue(let port, _): list.append(output(port))
        case .outputSubfield(let field):
            var instruction = Instruction(.outputField)
            instruction.from = place(field)
            instruction.width = width(field)
            list.append(instruction)
        case .outputTruncated(let port, let maxLength):
            // Open vSwitch sends nothing to IN_PORT here, and LOCAL is no port of ours.
            guard port.isOrdinary else { throw Refusal("'\(FlowText.print([action]))': only to a port of the bridge") }
            var instruction = Instruction(.outputTruncated)
            instruction.value = UInt64(port.rawValue)
            instruction.mask = UInt64(maxLength)
            list.append(instruction)
        case .checkPacketLarger(let length, let bit):
            var instruction = Instruction(.checkLength)
            instruction.value = UInt64(length)
            instruction.to = place(bit)
            list.append(instruction)
        case .inPort: list.append(Instruction(.inPort))
        case .normal: list.append(Instruction(.normal))
        case .flood: list.append(Instruction(.flood))
        case .all: list.append(Instruction(.all))
        case .setVLANID, .setVLANPriority, .stripVLAN, .popVLAN, .pushVLAN: list.append(tagging(action))
        case .setEthernetSource, .setEthernetDestination, .setIPv4Source, .setIPv4Destination, .setTOS, .setECN,
            .setTTL, .setTransportSource, .setTransportDestination, .setTunnel, .setField, .load, .writeMetadata:
            list += writes(action)
        case .decrementTTL: list.append(Instruction(.decrementTTL))
        case .move(let move):
            var instruction = Instruction(.move)
            instruction.from = place(move.source)
            instruction.to = place(move.destination)
            instruction.width = min(width(move.source), width(move.destination))
            list.append(instruction)
        case .push(let field), .pop(let field):
            var instruction = Instruction(action == .push(field) ? .push : .pop)
            instruction.from = place(field)
            instruction.to = place(field)
            instruction.width = width(field)
            list.append(instruction)
        case .resubmit(let port, let table, let withOriginalTuple):
            var instruction = Instruction(.resubmit)
            instruction.table = table ?? thisTable
            instruction.word = withOriginalTuple ? 1 : 0
            instruction.value = port.flatMap { $0 == .inPort ? nil : UInt64($0.rawValue) } ?? samePort
            list.append(instruction)
        case .gotoTable(let table):
            var instruction = Instruction(.goto)
            instruction.table = table
            list.append(instruction)
        case .clone(let actions): try appendClone(actions, to: &list, context)
        case .writeActions(let actions): list += try actionSetWrites(actions, context)
        case .clearActions: list.append(Instruction(.clearActions))
        case .group(let identifier):
            var instruction = Instruction(.group)
            instruction.value = UInt64(UInt(bitPattern: try context.cell(identifier)))
            list.append(instruction)
        case .meter(let identifier):
            var instruction = Instruction(.meter)
            instruction.value = UInt64(UInt(bitPattern: try context.meter(identifier)))
            list.append(instruction)
        case .exit: list.append(Instruction(.exit))
        // Kept and dumped; Martlet has no queues to choose, and a note is for people.
        case .note, .setQueue, .popQueue: break
        // A rule's clauses are beside its instructions: `RuleCode`.
        case .conjunction: break
        case .reject(let reject): list.append(rejecting(reject))
        case .learn(let learn): list += try learning(learn, context)
        case .finTimeout(let idle, let hard): list.append(finishing(idle: idle, hard: hard))
        case .conntrack(let conntrack): list += try tracking(conntrack, context)
        case .conntrackClear: list.append(Instruction(.clearTrack))
        }
    }

    static let thisTable: UInt8 = 255
    static let samePort: UInt64 = .max

    private static func output(_ port: FlowPort) -> Instruction {
        switch port {
        case .inPort: return Instruction(.inPort)
        case .normal: return Instruction(.normal)
        case .flood: return Instruction(.flood)
        case .all: return Instruction(.all)
        default:
            var instruction = Instruction(.output)
            instruction.value = UInt64(port.rawValue)
            return instruction
        }
    }

    private static func rejecting(_ reject: Reject) -> Instruction {
        var instruction = Instruction(.reject)
        (instruction.table, instruction.word) = (reject.type, reject.code)
        instruction.value = UInt64(truncatingIfNeeded: reject.source.value)
        instruction.mask = UInt64(truncatingIfNeeded: reject.source.value >> 64)
        return instruction
    }

    private static func appendClone(
        _ actions: [Action],
        to list: inout [Instruction],
        _ context: ActionContext
    ) throws(Refusal) {
        let inner = try compiled(actions, context)
        guard let count = UInt16(exactly: inner.count) else { throw Refusal("clone has more than 65535 actions") }
        var instruction = Instruction(.clone)
        instruction.count = count
        list.append(instruction)
        list += inner
    }

    private static func tagging(_ action: Action) -> Instruction {
        var instruction = Instruction(.setTag)
        switch action {
        case .setVLANID(let vid, let pushes):
            instruction.pushes = pushes
            instruction.value = UInt64(vid)
            instruction.mask = 0x0fff
        case .setVLANPriority(let priority, let pushes):
            instruction.pushes = pushes
            instruction.value = UInt64(priority) << 13
            instruction.mask = 0xe000
        case .pushVLAN(let type):
            instruction = Instruction(.pushTag)
            instruction.value = UInt64(type.rawValue)
        default: instruction = Instruction(.popTag)
        }
        return instruction
    }

    /// Actions that write constant bits.
    static func writes(_ action: Action) -> [Instruction] {
        switch action {
        case .setEthernetSource(let address): write(.ethSource, UInt128(address.value))
        case .setEthernetDestination(let address): write(.ethDestination, UInt128(address.value))
        case .setIPv4Source(let address): write(.ipSource, UInt128(address))
        case .setIPv4Destination(let address): write(.ipDestination, UInt128(address))
        case .setTOS(let tos): write(.nwTOS, UInt128(tos))
        case .setECN(let ecn): write(.nwECN, UInt128(ecn))
        case .setTTL(let ttl): write(.nwTTL, UInt128(ttl))
        case .setTransportSource(let port): write(.tcpSource, UInt128(port))
        case .setTransportDestination(let port): write(.tcpDestination, UInt128(port))
        case .setTunnel(let id, _): write(.tunID, UInt128(id))
        case .setField(let set): write(set.field, set.value, mask: set.mask)
        case .load(let load):
            write(
                load.destination.field,
                UInt128(load.value) << UInt128(load.destination.offset),
                mask: load.destination.mask
            )
        case .writeMetadata(let value, let mask): write(.metadata, UInt128(value), mask: UInt128(mask))
        default: []
        }
    }

    private static func write(_ field: Field, _ value: UInt128, mask: UInt128? = nil) -> [Instruction] {
        let slot = field.slot
        let shift = UInt128(slot.width == 128 ? 0 : slot.shift)
        // ARP's operation has 16 bits for actions and 8 in the key: what does not fit it is no operation anyway.
        let mask = ((mask ?? field.fullMask) & slot.mask) << shift
        let value = value << shift & mask
        let words =
            slot.width == 128
            ? [(slot.word, value >> 64, mask >> 64), (slot.word + 1, value, mask)] : [(slot.word, value, mask)]
        return words.map { word, value, mask in
            var instruction = Instruction(.set)
            instruction.word = UInt8(word)
            instruction.value = UInt64(truncatingIfNeeded: value)
            instruction.mask = UInt64(truncatingIfNeeded: mask)
            return instruction
        }.filter { $0.mask != 0 }
    }

    /// As many of a field's bits as the key has.
    static func width(_ field: Subfield) -> UInt8 {
        UInt8(min(Int(field.width), field.field.slot.width - Int(field.offset)))
    }

    static func place(_ field: Subfield) -> Place {
        let slot = field.field.slot
        let isWide = slot.width == 128
        return Place(
            word: UInt8(slot.word),
            shift: UInt8(isWide ? 0 : slot.shift) + field.offset,
            isWide: isWide
        )
    }
}
