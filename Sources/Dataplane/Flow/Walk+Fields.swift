import Flows
import Wire

/// Which bits of a key packets carry: see `WalkMemory`.
enum PacketWords {
    /// Those that actions edit in the packet, tags aside.
    static let editable = mask(of: [
        .ethSource, .ethDestination, .ipSource, .ipDestination, .ipv6Source, .ipv6Destination, .ipv6Label,
        .arpOp, .arpSHA, .arpTHA, .nwTOS, .nwECN, .nwTTL, .tcpSource, .tcpDestination, .ndTarget,
        .ndReserved, .ndOptionsType,
    ])

    /// Those that a bridge knows of a packet and its neighbor does not: registers, metadata, tunnel, connection.
    static let own: FlowKey = {
        var mask = PacketWords.mask(of: [
            .tunID, .tunSource, .tunDestination, .tunIPv6Source, .tunIPv6Destination, .tunTOS, .tunTTL, .metadata,
            .conjID, .actsetOutput,
            .ctState, .ctZone, .ctMark, .ctLabel, .ctNWSource, .ctNWDestination, .ctNWProto, .ctTPSource,
            .ctTPDestination, .ctIPv6Source, .ctIPv6Destination,
        ])
        for word in 9...16 { mask[word] = .max }
        return mask
    }()

    private static func mask(of fields: [Field]) -> FlowKey {
        var mask = FlowKey()
        for field in fields { mask[field.slot] |= field.slot.mask }
        return mask
    }
}

extension Walk {
    // MARK: - Fields

    mutating func write(_ word: UInt8, _ value: UInt64, _ mask: UInt64) {
        if word == 0 && mask & 0xffff != 0 {
            return writeTag(UInt16(truncatingIfNeeded: value), mask: UInt16(truncatingIfNeeded: mask))
        }
        let index = Int(word)
        key[index] = key[index] & ~mask | value
        written[index] |= mask
        pending[index] |= mask
        pendingWords |= 1 << UInt64(index)
    }

    mutating func write(_ place: Instruction.Place, _ width: UInt8, _ value: UInt128) {
        let limit: UInt128 = width == 128 ? .max : (1 << UInt128(width)) - 1
        let (bits, mask) = ((value & limit) << UInt128(place.shift), limit << UInt128(place.shift))
        guard place.isWide else {
            return write(place.word, UInt64(truncatingIfNeeded: bits), UInt64(truncatingIfNeeded: mask))
        }
        write(place.word, UInt64(truncatingIfNeeded: bits >> 64), UInt64(truncatingIfNeeded: mask >> 64))
        write(place.word + 1, UInt64(truncatingIfNeeded: bits), UInt64(truncatingIfNeeded: mask))
    }

    mutating func read(_ place: Instruction.Place, _ width: UInt8) -> UInt128 {
        let limit: UInt128 = width == 128 ? .max : (1 << UInt128(width)) - 1
        let mask = limit << UInt128(place.shift)
        let word = Int(place.word)
        guard place.isWide else {
            depend(on: UInt64(truncatingIfNeeded: mask), word: word)
            return UInt128(key[word]) >> UInt128(place.shift) & limit
        }
        depend(on: UInt64(truncatingIfNeeded: mask >> 64), word: word)
        depend(on: UInt64(truncatingIfNeeded: mask), word: word + 1)
        return (UInt128(key[word]) << 64 | UInt128(key[word + 1])) >> UInt128(place.shift) & limit
    }

    /// - Returns: false for a packet that has lived long enough: its way ends here.
    mutating func decrementTTL() -> Bool {
        depend(on: 0xffff_0000, word: 0)
        guard key.isIP else { return true }
        depend(on: 0xff, word: 4)
        let ttl = key[4] & 0xff
        guard ttl > 1 else {
            program.drop = .timeToLive
            if Observer.isActive { observer.noted(.expired) }
            return false
        }
        write(4, ttl - 1, 0xff)
        return true
    }

    // MARK: - Tags

    /// The packet has a tag. The other bits of one may be there without it: flows can write them.
    var isTagged: Bool { key.tags.outer & FlowKey.vlanPresent != 0 }

    /// Writes bits of the outermost tag. The one that says that there is a tag gives the packet one, or takes it off;
    /// without it the others are of the key only, as in Open vSwitch.
    private mutating func writeTag(_ value: UInt16, mask: UInt16) {
        depend(on: UInt64(FlowKey.vlanPresent), word: 0)
        let next = key.tags.outer & ~mask | value
        switch (isTagged, next & FlowKey.vlanPresent != 0) {
        case (false, true): pushTag(TPID.customer.rawValue, control: next)
        case (true, false):
            popTag()
            if !isTagged { key.tags.outer = next }
        case (let isTagged, _):
            let bits = UInt64(mask & ~FlowKey.vlanPresent)
            key[0] = key[0] & ~bits | UInt64(next) & bits
            written[0] |= bits
            guard isTagged else { return }
            pending[0] |= bits
            pendingWords |= 1
        }
    }

    mutating func setTag(_ instruction: Instruction) {
        depend(on: UInt64(FlowKey.vlanPresent), word: 0)
        guard isTagged || instruction.pushes else { return }
        let present = UInt64(FlowKey.vlanPresent)
        write(0, instruction.value | present, instruction.mask | present)
    }

    mutating func pushTag(_ type: UInt16, control: UInt16) {
        dependOnTags()
        guard tags.push(type: type, control: control) else { return fail(.flowTooLong) }
        key.tags = tags.tags
    }

    mutating func popTag() {
        depend(on: UInt64(FlowKey.vlanPresent), word: 0)
        guard isTagged else { return }
        dependOnTags()
        tags.pop()
        key.tags = tags.tags
    }

    private mutating func dependOnTags() {
        // Also bits that were written: tags are replaced as they are on the wire.
        program.mask[0] |= 0xffff
        program.mask[1] |= 0xffff
        program.mask[18] |= FrameLayout.tagTypeMask
        tags.tags = key.tags
        hasOtherTags = true
        tagChanges += 1
    }
}
