import Flows

/// A flow key in memory, or a mask of one: what a walk works on without copies.
struct KeyWords: BitwiseCopyable {
    let words: UnsafeMutablePointer<UInt64>

    static func allocated() -> KeyWords {
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: FlowKey.wordCount)
        words.initialize(repeating: 0, count: FlowKey.wordCount)
        return KeyWords(words: words)
    }

    @inline(__always)
    subscript(word: Int) -> UInt64 {
        get { words[word] }
        nonmutating set { words[word] = newValue }
    }

    /// All words at once.
    @inline(__always)
    var all: FlowKey {
        get { UnsafeRawPointer(words).loadUnaligned(as: FlowKey.self) }
        nonmutating set { UnsafeMutableRawPointer(words).storeBytes(of: newValue, as: FlowKey.self) }
    }

    @inline(__always)
    func clear() { words.update(repeating: 0, count: FlowKey.wordCount) }

    /// The port that the packet came from, by its OpenFlow number.
    var port: UInt16 {
        @inline(__always) get { UInt16(truncatingIfNeeded: words[0] >> 32) }
        nonmutating set { words[0] = words[0] & ~Self.portMask | UInt64(newValue) << 32 }
    }

    static var portMask: UInt64 { 0xffff_0000_0000 }

    /// Where conj_id lies.
    static var conjunctionWord: Int { 17 }
    static var conjunctionMask: UInt64 { 0xffff_ffff }

    /// Where nd_options_type lies in word 4.
    static var optionTypeMask: UInt64 { 0xff_0000 }

    /// Where actset_output lies, in the upper half.
    static var actionSetWord: UInt8 { 18 }

    /// The control information of the two tags, 0 where there is none.
    var tags: (outer: UInt16, inner: UInt16) {
        get { (UInt16(truncatingIfNeeded: words[0]), UInt16(truncatingIfNeeded: words[1])) }
        nonmutating set {
            words[0] = words[0] & ~0xffff | UInt64(newValue.outer)
            words[1] = words[1] & ~0xffff | UInt64(newValue.inner)
        }
    }

    var isIP: Bool {
        let type = UInt16(truncatingIfNeeded: words[0] >> 16)
        return type == 0x0800 || type == 0x86dd
    }

    /// The addresses as numbers, the first octet the most significant of 48 bits.
    var destination: UInt64 { words[1] >> 16 }
    var source: UInt64 { words[2] >> 16 }
}
