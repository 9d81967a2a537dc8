/// A field whose value must be a member of a set of addresses, written `nw_src=$name`.
public struct AddressSetReference: Hashable, Sendable {
    public let field: Field
    /// The set's name, without the dollar sign.
    public let name: String

    public init(field: Field, name: String) {
        self.field = field
        self.name = name
    }
}

/// Which packets a flow is for: values and masks over the words of a `FlowKey`, kept only for words that are matched.
///
/// Canonical: a value has no bit outside its mask and a word whose mask is zero is absent, so that equal matches are
/// equal values. A match of n words takes 24 bytes and, unless it matches every packet, 32 + 16n on the heap.
public struct Match: Hashable, Sendable {
    /// Bit n says that word n of the key is matched.
    public private(set) var bitmap: UInt64
    /// A value and its mask for each bit of `bitmap`, from the least significant.
    @usableFromInline var packed: [UInt64]
    /// References to address sets, ordered by field; the classifier expands them.
    public private(set) var addressSets: [AddressSetReference]

    /// Matches every packet.
    public init() {
        bitmap = 0
        packed = []
        addressSets = []
    }

    /// Packs the words of `value` under those of `mask`.
    public init(value: FlowKey, mask: FlowKey, addressSets: [AddressSetReference] = []) {
        var bitmap: UInt64 = 0
        for index in 0..<FlowKey.wordCount where mask[index] != 0 { bitmap |= 1 << UInt64(index) }
        self.bitmap = bitmap
        self.addressSets = addressSets.sorted { $0.field.rawValue < $1.field.rawValue }
        packed = []
        packed.reserveCapacity(2 * bitmap.nonzeroBitCount)
        while bitmap != 0 {
            let index = bitmap.trailingZeroBitCount
            packed.append(value[index] & mask[index])
            packed.append(mask[index])
            bitmap &= bitmap - 1
        }
    }

    /// Packs words that are at hand.
    /// - Parameter word: the place of one, below `count`, of its value and of its mask.
    /// - Precondition: places ascend, no mask is zero and no value has a bit outside its mask.
    public init(
        wordCount count: Int,
        addressSets: [AddressSetReference],
        _ word: (Int) -> (index: Int, value: UInt64, mask: UInt64)
    ) {
        var bitmap: UInt64 = 0
        packed = []
        packed.reserveCapacity(2 * count)
        for number in 0..<count {
            let (index, value, mask) = word(number)
            bitmap |= 1 << UInt64(index)
            packed.append(value)
            packed.append(mask)
        }
        self.bitmap = bitmap
        self.addressSets = addressSets
    }

    /// The number of words that are matched.
    public var wordCount: Int { bitmap.nonzeroBitCount }

    /// Visits the matched words in ascending order.
    @inlinable public func forEachWord(_ body: (_ index: Int, _ value: UInt64, _ mask: UInt64) -> Void) {
        var rest = bitmap
        var position = 0
        while rest != 0 {
            body(rest.trailingZeroBitCount, packed[position], packed[position + 1])
            rest &= rest - 1
            position += 2
        }
    }

    /// The values as a key; bits that are not matched are zero.
    public var value: FlowKey {
        var key = FlowKey()
        forEachWord { index, value, _ in key[index] = value }
        return key
    }

    /// The masks as a key.
    public var mask: FlowKey {
        var key = FlowKey()
        forEachWord { index, _, mask in key[index] = mask }
        return key
    }

    /// Whether the masked values are those of `key`. Says nothing of address sets, whose members are not known here.
    public func matches(_ key: FlowKey) -> Bool {
        var isEqual = true
        forEachWord { index, value, mask in isEqual = isEqual && key[index] & mask == value }
        return isEqual
    }

    /// Whether every packet that `other` matches is matched here too.
    ///
    /// An address set covers itself only: its members may change at any time.
    public func covers(_ other: Match) -> Bool {
        guard bitmap & ~other.bitmap == 0, addressSets.allSatisfy(other.addressSets.contains) else { return false }
        let (theirValue, theirMask) = (other.value, other.mask)
        var isCovered = true
        forEachWord { index, value, mask in
            isCovered = isCovered && mask & ~theirMask[index] == 0 && theirValue[index] & mask == value
        }
        return isCovered
    }

    /// Whether some packet may be matched by both; address sets are taken to share members.
    public func overlaps(_ other: Match) -> Bool {
        guard bitmap & other.bitmap != 0 else { return true }
        let (theirValue, theirMask) = (other.value, other.mask)
        var isPossible = true
        forEachWord { index, value, mask in
            isPossible = isPossible && (value ^ theirValue[index]) & mask & theirMask[index] == 0
        }
        return isPossible
    }
}

/// A match while it is written, all words at hand.
public struct MatchBuilder: Sendable {
    public private(set) var value = FlowKey()
    public private(set) var mask = FlowKey()
    private var addressSets: [AddressSetReference] = []

    public init() {}

    /// The match as it stands.
    public var match: Match { Match(value: value, mask: mask, addressSets: addressSets) }

    /// Matches a field; what was said of the same bits before is forgotten, as by ovs-ofctl.
    ///
    /// `dl_vlan` 0xffff matches packets without a tag (OpenFlow 1.0).
    public mutating func set(_ field: Field, _ newValue: UInt128, mask newMask: UInt128) {
        let present = UInt128(FlowKey.vlanPresent)
        switch field {
        case .dlVLAN where newValue == 0xffff: write(Field.vlanTCI.slot, 0, 0xffff, over: 0xffff)
        case .dlVLAN:
            let bits: UInt128 = newMask == 0 ? 0 : 0x1fff
            write(Field.vlanTCI.slot, newValue | present, bits, over: 0x1fff)
        case .dlVLANPCP, .vlanPCP:
            let bits: UInt128 = newMask == 0 ? 0 : 0xf000
            write(Field.vlanTCI.slot, newValue << 13 | present, bits, over: 0xf000)
        case .inPortOXM: write(Field.inPort.slot, newValue, newMask & 0xffff, over: 0xffff)
        case .nwTOS: write(field.slot, newValue, newMask & 0xfc, over: 0xfc)
        // Exact for a field of fewer bits than its slot is exact for the slot: ICMP type and code fill a port.
        case _ where newMask == field.fullMask: write(field.slot, newValue, field.slot.mask, over: field.slot.mask)
        default: write(field.slot, newValue, newMask, over: field.slot.mask)
        }
        addressSets.removeAll { $0.field.slot == field.slot }
    }

    /// Matches some bits of a field beside those that are matched already: `reg0[0..3]=5`.
    public mutating func set(_ subfield: Subfield, _ bits: UInt128) {
        let shift = UInt128(subfield.offset)
        let slot = subfield.field.slot
        let covered = subfield.mask & slot.mask
        write(slot, bits << shift, covered, over: covered)
    }

    /// Matches the members of a set.
    public mutating func set(_ field: Field, addressSet name: String) {
        write(field.slot, 0, 0, over: field.slot.mask)
        addressSets.removeAll { $0.field.slot == field.slot }
        addressSets.append(AddressSetReference(field: field, name: name))
    }

    private mutating func write(_ slot: FieldSlot, _ newValue: UInt128, _ newMask: UInt128, over: UInt128) {
        value[slot] = value[slot] & ~over | newValue & newMask
        mask[slot] = mask[slot] & ~over | newMask
    }
}
