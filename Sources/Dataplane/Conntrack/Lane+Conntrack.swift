import CPacket
import Flows

/// Packets whose way depends on what the tracker says of them.
extension Lane {
    /// Where the headers of a plain packet lie.
    private static var plainLayout: FrameLayout {
        var layout = FrameLayout()
        (layout.kind, layout.network, layout.transport) = (.ipv4, 14, 34)
        return layout
    }

    @inline(__always)
    private func layout(_ run: Int) -> FrameLayout { flows.runs[run].isPlain ? Self.plainLayout : flows.layouts[run] }

    /// Has the connections that runs' entries know on their way.
    @inline(__always)
    func fetchConnections(_ runCount: Int) {
        let tracker = flows.walk.tracker
        for run in 0..<runCount {
            tracker.fetch(KnownConnection(word: flows.cache.connection(flows.runs[run].candidate).pointee))
        }
    }

    /// A run with an exact entry that is current and whose program asks the tracker. As long as its packets are more of an
    /// established connection that the entry knows, none of them is looked up.
    @inline(never)
    func switchTracked(_ run: Int, _ burst: UnsafeMutablePointer<Burst>) {
        let (candidate, tracker, now) = (flows.runs[run].candidate, flows.walk.tracker, burst.pointee.context.now)
        let known = KnownConnection(word: flows.cache.connection(candidate).pointee)
        guard known.number != 0 else { return switchOther(run, burst) }
        let program = flows.cache.entry(candidate).pointee.program
        let header = flows.cache.programs.header(program)
        let (first, end) = (flows.runs[run].first, flows.runs[run &+ 1].first)
        let checkCount = Int(header.pointee.checkCount)
        // One is the tracker's.
        guard checkCount == 1 || passes(flows.cache.programs.checks(program), checkCount, first, burst) else {
            return switchOther(run, burst)
        }
        var index = first
        if flows.runs[run].isPlain {
            while index < end, tracker.passesPlain(burst.pointee.packets[index].unsafelyUnwrapped, known, now: now) {
                index &+= 1
            }
        } else if tracker.passes(burst.pointee.packets[index].unsafelyUnwrapped, flows.layouts[run], known, now: now) {
            // It is alone.
            index &+= 1
        }
        if index != first {
            flows.cache.entry(candidate).pointee.used = now
            // What its steps ask for.
            if header.pointee.output == ProgramStore.Header.noOutput {
                tracker.begin(burst.pointee.packets[first].unsafelyUnwrapped, known)
            }
            runAll(program, run, first, index, burst)
        }
        guard index < end else { return }
        flows.runs[run].first = index
        switchOther(run, burst)
    }

    /// Whether the tracker says of a packet what it said of the one whose walk left the checks.
    @inline(never)
    func passesTracks(
        _ checks: UnsafeMutablePointer<Program.Check>,
        _ count: Int,
        _ run: Int,
        _ index: Int,
        _ burst: UnsafeMutablePointer<Burst>
    ) -> Bool {
        let tracker = flows.walk.tracker
        tracker.begin(burst.pointee.packets[index].unsafelyUnwrapped, layout(run))
        var place = 0
        for index in 0..<count {
            switch checks[index] {
            case .track(let check):
                let now = burst.pointee.context.now
                let found =
                    check.isTranslated
                    ? tracker.track(zone: check.zone, translatedIn: check.former, now: now)
                    : tracker.track(zone: check.zone, now: now)
                guard let found, check.holds(tracker[found]) else { return false }
                place = found
            case .connection(let number, let stamp):
                guard tracker[place].number == number, tracker[place].stamp == stamp else { return false }
            case .labelHigh(let value, let mask):
                if UInt64(truncatingIfNeeded: tracker[place].label >> 64) & mask != value { return false }
            case .labelLow(let value, let mask):
                if UInt64(truncatingIfNeeded: tracker[place].label) & mask != value { return false }
            default: break
            }
        }
        return true
    }

    /// Has an entry know the connection of the packet at hand, if more packets of that say nothing new.
    func rememberConnection(_ entry: UInt32) {
        let cache = flows.cache
        guard cache.programs.header(cache.entry(entry).pointee.program).pointee.isTrackedOnce,
            let known = flows.walk.tracker.known
        else { return }
        cache.connection(entry).pointee = known.word
    }

    /// - Parameter octets: the steps behind it.
    /// - Returns: why no connection begins that should; else nil.
    func commit(_ commit: Commit, _ octets: UnsafePointer<Program.Step>, _ burst: UnsafeMutablePointer<Burst>)
        -> DropReason?
    {
        if commit.onlyBegins && flows.walk.tracker.isKnown { return nil }
        var (label, octets): ((value: UInt128, mask: UInt128), UnsafePointer<Program.Step>) = ((0, 0), octets)
        if commit.hasLabel {
            let (value, mask) = (octets[0].octetPair, octets[1].octetPair)
            label = (UInt128(value.0) << 64 | UInt128(value.1), UInt128(mask.0) << 64 | UInt128(mask.1))
            octets += 2
        }
        let range = commit.rangeCount == 0 ? TranslationRange() : TranslationRange { octets[$0].octetPair }
        return flows.walk.tracker.commit(commit, label: label, range, now: burst.pointee.context.now)
    }

    /// What packets that were sent, or go nowhere, do to their connections all the same.
    func commitAll(_ program: Program.Sequence, from first: Int, _ burst: UnsafeMutablePointer<Burst>) {
        for index in first..<program.count {
            guard case .commit(let commit) = program.steps[index] else { continue }
            _ = self.commit(commit, program.steps + index + 1, burst)
        }
    }
}

extension Program.Step {
    fileprivate var octetPair: (UInt64, UInt64) {
        guard case .octets(let first, let second) = self else { return (0, 0) }
        return (first, second)
    }
}
