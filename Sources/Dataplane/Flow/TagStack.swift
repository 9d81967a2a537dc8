import Flows
import Wire

/// The VLAN tags of a packet in the midst of a walk, the outermost first. A key has the first two of them.
///
/// Tags further in than those that were read or pushed are not known, and stay.
struct TagStack: BitwiseCopyable {
    static let capacity = 4

    private(set) var count: Int
    /// With `FlowKey.vlanPresent`.
    private var controls: InlineArray<4, UInt16>
    private var types: InlineArray<4, UInt16>

    init(_ tags: (outer: UInt16, inner: UInt16), types: (outer: UInt16, inner: UInt16)) {
        count = tags.outer == 0 ? 0 : tags.inner == 0 ? 1 : 2
        controls = [tags.outer, tags.inner, 0, 0]
        self.types = [types.outer, types.inner, 0, 0]
    }

    /// The TPID of the outermost tag.
    var outerType: UInt16 { types[0] }

    /// What a key has of the tags.
    var tags: (outer: UInt16, inner: UInt16) {
        get { (count > 0 ? controls[0] : 0, count > 1 ? controls[1] : 0) }
        set {
            controls[0] = newValue.outer
            controls[1] = newValue.inner
        }
    }

    /// - Returns: false when there are as many as can be.
    mutating func push(type: UInt16, control: UInt16) -> Bool {
        guard count < Self.capacity else { return false }
        for index in (0..<count).reversed() {
            controls[index + 1] = controls[index]
            types[index + 1] = types[index]
        }
        controls[0] = control
        types[0] = type
        count += 1
        return true
    }

    mutating func pop() {
        guard count > 0 else { return }
        for index in 1..<Self.capacity {
            controls[index - 1] = controls[index]
            types[index - 1] = types[index]
        }
        count -= 1
    }

    /// The tag at a depth, 0 the outermost.
    subscript(depth: Int) -> (type: UInt16, control: UInt16) { (types[depth], controls[depth]) }

    /// How many of the innermost known tags are the same.
    func commonCount(with other: TagStack) -> Int {
        var common = 0
        while common < min(count, other.count), self[count - 1 - common] == other[other.count - 1 - common] {
            common += 1
        }
        return common
    }
}
