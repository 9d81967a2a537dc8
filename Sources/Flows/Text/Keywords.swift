/// Finds words of a fixed vocabulary, in time independent of its size and without making strings.
struct Keywords<Value: Sendable>: Sendable {
    private var words: [[UInt8]] = []
    private var values: [Value] = []
    /// Index + 1 into `words`, by hash; 0 is free. A power of two at least twice the words.
    private var slots: [UInt16]
    private let foldsCase: Bool

    /// - Precondition: a word does not stand for two values.
    init(_ entries: [(String, Value)], foldsCase: Bool = false) {
        self.foldsCase = foldsCase
        var capacity = 16
        while capacity < 2 * entries.count { capacity *= 2 }
        slots = Array(repeating: 0, count: capacity)
        for (word, value) in entries {
            let bytes = word.utf8.map { foldsCase ? $0.lowercased : $0 }
            var slot = Self.hash(bytes) & (capacity - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (capacity - 1) }
            words.append(bytes)
            values.append(value)
            slots[slot] = UInt16(words.count)
        }
    }

    /// The value of the word that `slice` is.
    func lookUp(_ source: FlowSource, _ slice: Slice) -> Value? {
        var hash: UInt32 = 2_166_136_261
        for offset in slice.start..<slice.end { hash = Self.step(hash, fold(source[offset])) }
        var slot = Int(hash) & (slots.count - 1)
        while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            if isEqual(words[index], source, slice) { return values[index] }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private func isEqual(_ word: [UInt8], _ source: FlowSource, _ slice: Slice) -> Bool {
        guard word.count == slice.count else { return false }
        for index in 0..<word.count where word[index] != fold(source[slice.start + index]) { return false }
        return true
    }

    private func fold(_ byte: UInt8) -> UInt8 { foldsCase ? byte.lowercased : byte }

    /// FNV-1a.
    private static func hash(_ bytes: [UInt8]) -> Int { Int(bytes.reduce(2_166_136_261, step)) }
    private static func step(_ hash: UInt32, _ byte: UInt8) -> UInt32 { (hash ^ UInt32(byte)) &* 16_777_619 }
}
