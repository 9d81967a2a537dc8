import Flows
import Wire

/// Which bits of a key packets carry: see `WalkMemory`.
enum PacketWords {
    /// Those that actions edit in the packet, tags aside.
    static var editable: FlowKey {
        mask(of: [
            .ethSource, .ethDestination, .ipSource, .ipDestination, .ipv6Source, .ipv6Destination, .ipv6Label,
            .arpOp, .arpSHA, .arpTHA, .nwTOS, .nwECN, .nwTTL, .tcpSource, .tcpDestination, .ndTarget,
        ])
    }

    /// Those that a bridge knows of a packet and its neighbour does not: registers, metadata, tunnel, connection.
    static var own: FlowKey {
        var mask = mask(of: [
            .tunID, .tunSource, .tunDestination, .tunIPv6Source, .tunIPv6Destination, .metadata, .conjID, .actsetOutput,
            .ctState, .ctZone, .ctMark, .ctLabel, .ctNWSource, .ctNWDestination, .ctNWProto, .ctTPSource,
            .ctTPDestination, .ctIPv6Source, .ctIPv6Destination,
        ])
        for word in 9...16 { mask[word] = .max }
        return mask
    }

    private static func mask(of fields: [Field]) -> FlowKey {
        var mask = FlowKey()
        for field in fields { mask[field.slot] |= field.slot.mask }
        return mask
    }
}

extension Walk {
    // MARK: - Fields

    mutating func write(_ word: UInt8, _ value: UInt64, _ mask: UInt64) {
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
            return false
        }
        write(4, ttl - 1, 0xff)
        return true
    }

    // MARK: - Tags

    mutating func setTag(_ instruction: Instruction) {
        depend(on: UInt64(FlowKey.vlanPresent), word: 0)
        if key.tags.outer == 0 {
            guard instruction.pushes else { return }
            pushTag(TPID.customer.rawValue, control: FlowKey.vlanPresent)
        }
        write(0, instruction.value, instruction.mask)
    }

    mutating func pushTag(_ type: UInt16, control: UInt16) {
        dependOnTags()
        guard tags.push(type: type, control: control) else { return fail(.flowTooLong) }
        key.tags = tags.tags
    }

    mutating func popTag() {
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
