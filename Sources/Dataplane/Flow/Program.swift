import Flows

/// What becomes of a packet: the walk through the tables, recorded. Edits come before the outputs that see them.
///
/// A view of memory that the next walk overwrites.
struct Program {
    enum Step: Equatable, BitwiseCopyable {
        /// The bits `mask` of a key's word become those of `value`, in the packet too. The word is last: then a step has 24
        /// bytes, and not 32.
        case rewrite(value: UInt64, mask: UInt64, word: UInt8)
        case pushTag(type: UInt16, control: UInt16)
        case popTag
        /// To a port of the switch.
        case output(UInt16)
        /// The same with what is behind `maxLength` bytes cut off.
        case outputTruncated(UInt16, maxLength: UInt32)
        /// Nothing of what follows for a packet beyond the meter's rates. The cell stays as long as a rule would.
        case meter(UnsafePointer<MeterCell>)
        /// The steps behind it, `count` of them, are for a copy behind a tunnel's headers; first of all come the headers.
        case encapsulate(TunnelHeader)
        /// Sixteen octets of what stands before: headers, as they lie in memory, or numbers.
        case octets(UInt64, UInt64)
        /// The packet's connection in a zone begins, or gets a mark or a label.
        case commit(Commit)
        /// The packet becomes what its connection in a zone says.
        case translate(UInt16)
        /// What of that is in no field of flows is undone: the identifier of a query, the packet that a message quotes.
        case restore(UInt16)
        /// A copy ends here, for the station of a tunnel port's next hop is not known yet. Without a cell nobody asks.
        case noStation(UInt16, NeighborTable.Cell?)

        /// The port that the step sends to, or would.
        var port: UInt16? {
            switch self {
            case .output(let port), .outputTruncated(let port, _), .noStation(let port, _): port
            default: nil
            }
        }
    }

    /// What NORMAL found out on the way: done, or held to be still so, before the steps. And what the control plane is to
    /// be told of the flows.
    enum Check: Equatable, BitwiseCopyable {
        /// The station sent a frame from the port.
        case learn(StationName, port: UInt16)
        /// The station is where it was.
        case found(StationName, ForwardingDatabase.Value.Place)
        /// A message, and then its words.
        case tell(Telling)
        case word(UInt64)
        /// A next hop has the station that it had.
        case neighbor(NeighborTable.Cell, station: UInt64)
        /// The tracker says the same of the packet; and the last connection has a label like that.
        case track(TrackCheck)
        /// The last connection is the same one, and as it was.
        case connection(UInt32, stamp: UInt32)
        case labelHigh(value: UInt64, mask: UInt64)
        case labelLow(value: UInt64, mask: UInt64)

        /// What NORMAL found out is about.
        var station: StationName? {
            switch self {
            case .learn(let name, _), .found(let name, _): name
            case .tell, .word, .neighbor, .track, .connection, .labelHigh, .labelLow: nil
            }
        }
    }

    /// A station of a bridge and VLAN: the packet's own address as it came in, or, where flows have written it, `address`.
    struct StationName: Equatable, BitwiseCopyable {
        let bridge: UInt16
        let vlan: UInt16
        let isPackets: Bool
        let address: UInt64
    }

    /// A look-up in a table, and what it found, in one word.
    struct Visit: Equatable, BitwiseCopyable {
        /// The place above the number of the rule's cache line: addresses in user space have 48 bits, and the last six of a
        /// rule's are zero.
        let word: UInt64

        private static var lineShift: UInt64 { 6 }
        private static var placeShift: UInt64 { 48 - lineShift }

        @inline(__always)
        init(place: TablePlace, rule: UnsafeMutablePointer<Rule>?) {
            word = UInt64(place.value) &<< Self.placeShift | UInt64(UInt(bitPattern: rule)) &>> Self.lineShift
        }

        @inline(__always) var place: TablePlace {
            TablePlace(value: UInt32(truncatingIfNeeded: word &>> Self.placeShift))
        }

        @inline(__always) var rule: UnsafeMutablePointer<Rule>? {
            let line = word & (1 &<< Self.placeShift &- 1)
            return UnsafeMutablePointer(bitPattern: UInt(line &<< Self.lineShift))
        }
    }

    /// A flood to all ports of a switch, each with another tag.
    static let capacity = 4096
    /// Those of a flood to many tunnels: one for each next hop.
    static let checkCapacity = 1024

    let steps: UnsafeMutablePointer<Step>
    let checks: UnsafeMutablePointer<Check>
    let visits: UnsafeMutablePointer<Visit>
    var count = 0
    var checkCount = 0
    var visitCount = 0
    /// Other packets may have another one, whatever their key.
    var isSingular = false
    /// It is for packets of one connection, whose addresses are translated.
    var isOfConnection = false
    /// The packet is a fragment that waits for others: nothing is done to it.
    var waits = false
    /// Why the packet goes nowhere, if it does.
    var drop = DropReason.flowDrop
    /// What its sender is told, if something.
    var rejection: Rejection?
    /// Packets up to so many bytes fit a port that they are sent to; longer ones are looked at.
    var longest = UInt16.max
    /// The bits of the packet's key that the program depends on.
    let mask: KeyWords
    /// Those that were others when tables were searched than the packet has.
    let altered: KeyWords

    /// The steps alone: what a packet is run by.
    struct Sequence {
        let steps: UnsafeMutablePointer<Step>
        let count: Int
        let drop: DropReason

        /// What comes after it is seen by nobody.
        var lastOutput: Int? {
            var index = count - 1
            while index >= 0 {
                if steps[index].port != nil { return index }
                index -= 1
            }
            return nil
        }

        /// The longest packet that fits any port that it is sent to, in bytes as it comes in.
        /// - Parameter tags: how many VLAN tags it has at least. With more of them it may be longer by one.
        func longest(tags: Int, _ ports: UnsafeMutablePointer<PortEntry>) -> UInt32 {
            var frame = LongestFrame(tags: tags)
            var outside = frame
            var tunnelEnd = count
            for index in 0..<count {
                if index == tunnelEnd { frame.leaveTunnel(outside) }
                switch steps[index] {
                case .pushTag: frame.pushTag()
                case .popTag: frame.popTag()
                case .output(let port): frame.fit(ports[Int(port)].frameLength)
                case .outputTruncated(let port, let maxLength):
                    frame.fit(ports[Int(port)].frameLength, cutTo: maxLength)
                case .encapsulate(let header):
                    (outside, tunnelEnd) = (frame, index + 1 + Int(header.count))
                    frame.enterTunnel(header.length, frameLength: ports[Int(header.port)].frameLength)
                case .rewrite, .meter, .octets, .commit, .translate, .restore, .noStation: break
                }
            }
            return frame.longest ?? .max
        }

        /// The port of the first output among steps; nil when there is none.
        static func output(of steps: UnsafePointer<Step>, _ range: ClosedRange<Int>) -> UInt16? {
            for index in range {
                if let port = steps[index].port { return port }
            }
            return nil
        }
    }

    /// Checks of what the tracker says, and of labels.
    var trackCount: Int {
        var count = 0
        for index in 0..<checkCount {
            switch checks[index] {
            case .track, .labelHigh: count += 1
            default: break
            }
        }
        return count
    }

    /// It begins a connection for packets that have none.
    var isForFirst: Bool {
        var zone: UInt16?
        for index in 0..<checkCount {
            if case .track(let check) = checks[index], check.asksForNew { zone = check.zone }
        }
        guard let zone else { return false }
        for index in 0..<count {
            if case .commit(let commit) = steps[index], commit.begins, commit.zone == zone { return true }
        }
        return false
    }

    /// `altered` by the places of a cache key, a bit for each 16, the lowest first.
    var alteredParts: UInt64 {
        var parts: UInt64 = 0
        for place in 0..<CacheKey.length {
            let bits = altered[CacheKey.word(at: place)]
            for part in UInt64(0)..<4 where bits >> (16 * part) & 0xffff != 0 {
                parts |= 1 << (UInt64(place) * 4 + part)
            }
        }
        return parts
    }

    var sequence: Sequence { Sequence(steps: steps, count: count, drop: drop) }

    init(_ memory: WalkMemory) {
        steps = memory.steps
        checks = memory.checks
        visits = memory.visits
        mask = memory.mask
        altered = memory.altered
    }
}

/// What a worker's walks need beside the stack: allocated once.
struct WalkMemory {
    /// Enough for a loop that pushes in each of its turns, in two clones each, within those of the turns before.
    static let stackLimit = 2 * WalkLimit.depth * WalkLimit.depth
    /// For Ethernet, IPv6 and GRE with all that it can have.
    static let octetCount = 80

    let steps: UnsafeMutablePointer<Program.Step>
    let checks: UnsafeMutablePointer<Program.Check>
    let visits: UnsafeMutablePointer<Program.Visit>
    let stack: UnsafeMutablePointer<UInt128>
    let soft: UnsafeMutablePointer<SoftMatch>
    let path: SearchPath
    let actionSet: UnsafeMutablePointer<ActionSetMember>
    /// The headers of a tunnel while they are made.
    let octets: UnsafeMutableRawPointer
    let tracker: PacketTracker
    let interests: UnsafeMutablePointer<TrackInterest>
    /// The packet's key as it came in, and as it is by now.
    let packet: KeyWords
    let key: KeyWords
    let mask: KeyWords
    let altered: KeyWords
    let written: KeyWords
    let pending: KeyWords
    let recorded: KeyWords
    /// The bits of the packet's addresses and ports that were asked for before they were translated.
    let tuple: KeyWords
    /// The bits that actions edit in packets, tags aside.
    let editable: KeyWords
    /// The bits that a bridge knows of a packet and its neighbor does not.
    let own: KeyWords

    init(_ tracker: PacketTracker) {
        self.tracker = tracker
        interests = .allocate(capacity: PacketTracker.trackLimit)
        steps = .allocate(capacity: Program.capacity)
        checks = .allocate(capacity: Program.checkCapacity)
        visits = .allocate(capacity: WalkLimit.flows + 1)
        stack = .allocate(capacity: Self.stackLimit)
        soft = .allocate(capacity: SoftMatch.capacity)
        path = SearchPath()
        actionSet = .allocate(capacity: ActionSetMember.capacity)
        octets = .allocate(byteCount: Self.octetCount, alignment: 16)
        packet = .allocated()
        key = .allocated()
        mask = .allocated()
        altered = .allocated()
        written = .allocated()
        pending = .allocated()
        recorded = .allocated()
        tuple = .allocated()
        editable = .allocated()
        editable.all = PacketWords.editable
        own = .allocated()
        own.all = PacketWords.own
    }

    func free() {
        steps.deallocate()
        checks.deallocate()
        visits.deallocate()
        stack.deallocate()
        soft.deallocate()
        path.free()
        actionSet.deallocate()
        octets.deallocate()
        tracker.free()
        interests.deallocate()
        for words in [packet, key, mask, altered, written, pending, recorded, tuple, editable, own] {
            words.words.deallocate()
        }
    }
}
