import Flows

/// What becomes of a packet: the walk through the tables, recorded. Edits come before the outputs that see them.
///
/// A view of memory that the next walk overwrites.
struct Program {
    enum Step: Equatable, BitwiseCopyable {
        /// The bits `mask` of a key's word become those of `value`, in the packet too.
        case rewrite(word: Int, value: UInt64, mask: UInt64)
        case pushTag(type: UInt16, control: UInt16)
        case popTag
        /// To a port of the bridge, by its OpenFlow number.
        case output(UInt16)
        case normal
        /// To every port but the one it came from; `flood` leaves those out that take no floods.
        case flood, all
    }

    static let capacity = 256

    let steps: UnsafeMutablePointer<Step>
    var count = 0
    /// Why the walk ended early, if it did: there are no steps then.
    var end: WalkEnd?
    /// The bits of the packet's key that the program depends on.
    var mask = FlowKey()

    init(steps: UnsafeMutablePointer<Step>) { self.steps = steps }
}

/// What a worker's walks need beside the stack: allocated once.
struct WalkMemory {
    static let stackLimit = 64
    let steps: UnsafeMutablePointer<Program.Step>
    let stack: UnsafeMutablePointer<UInt128>

    init() {
        steps = .allocate(capacity: Program.capacity)
        stack = .allocate(capacity: Self.stackLimit)
    }

    func free() {
        steps.deallocate()
        stack.deallocate()
    }
}
