import Wire

// Numbers and addresses, as C's strtoull with base 0 and ovs-ofctl read them.
extension FlowSource {
    /// A number of up to 128 bits: decimal, hexadecimal after `0x`, octal after `0`.
    func number(_ slice: Slice) -> UInt128? {
        guard !slice.isEmpty else { return nil }
        let isPrefixed = slice.count > 1 && self[slice.start] == UInt8(ascii: "0")
        guard isPrefixed else { return digits(slice, base: 10) }
        guard self[slice.start + 1].lowercased == UInt8(ascii: "x") else {
            return digits(Slice(start: slice.start + 1, end: slice.end), base: 8)
        }
        return digits(Slice(start: slice.start + 2, end: slice.end), base: 16)
    }

    /// Digits of `base`, at least one.
    func digits(_ slice: Slice, base: UInt8) -> UInt128? {
        guard !slice.isEmpty else { return nil }
        var offset = slice.start
        // Numbers of up to 15 digits, nearly all of them, cannot overflow 64 bits in any of the bases.
        var small: UInt64 = 0
        let fast = min(slice.end, slice.start + 15)
        while offset < fast {
            guard let digit = self[offset].hexadecimalValue, digit < base else { return nil }
            small = small &* UInt64(base) &+ UInt64(digit)
            offset += 1
        }
        var value = UInt128(small)
        while offset < slice.end {
            guard let digit = self[offset].hexadecimalValue, digit < base else { return nil }
            let (product, overflows) = value.multipliedReportingOverflow(by: UInt128(base))
            let (sum, carries) = product.addingReportingOverflow(UInt128(digit))
            if overflows || carries { return nil }
            value = sum
            offset += 1
        }
        return value
    }

    /// A number from 0 to `greatest`; `what` names it in the error.
    func number<T: FixedWidthInteger & UnsignedInteger>(
        _ slice: Slice,
        _ what: String,
        atLeast least: T = 0,
        atMost greatest: T = .max
    ) throws(FlowSyntaxError) -> T {
        guard let value = number(slice), value >= least, value <= greatest else {
            throw error(slice, "\(quoted(slice)) is not \(what); allowed is a number from \(least) to \(greatest)")
        }
        return T(truncatingIfNeeded: value)
    }

    /// A cookie: 64 bits, where a minus sign wraps as in C, so that `-1` is a mask of ones.
    func cookie(_ slice: Slice) throws(FlowSyntaxError) -> UInt64 {
        if !slice.isEmpty, self[slice.start] == UInt8(ascii: "-") {
            return 0 &- (try number(Slice(start: slice.start + 1, end: slice.end), "a cookie") as UInt64)
        }
        return try number(slice, "a cookie")
    }

    /// Six pairs of hexadecimal digits, of which the first may be left out.
    func macAddress(_ slice: Slice) -> MACAddress? {
        var value: UInt64 = 0
        var octets = 0
        var part = slice
        while true {
            part.end = firstIndex(of: UInt8(ascii: ":"), in: Slice(start: part.start, end: slice.end)) ?? slice.end
            guard part.count <= 2, let octet = digits(part, base: 16) else { return nil }
            value = value << 8 | UInt64(truncatingIfNeeded: octet)
            octets += 1
            guard octets <= 6 else { return nil }
            if part.end == slice.end { return octets == 6 ? MACAddress(value: value) : nil }
            part.start = part.end + 1
        }
    }

    /// Four decimal octets.
    func ipv4Address(_ slice: Slice) -> UInt32? {
        var value: UInt32 = 0
        var octets = 0
        var part = slice
        while true {
            part.end = firstIndex(of: UInt8(ascii: "."), in: Slice(start: part.start, end: slice.end)) ?? slice.end
            guard part.count <= 3, let octet = digits(part, base: 10), octet <= 255 else { return nil }
            value = value << 8 | UInt32(truncatingIfNeeded: octet)
            octets += 1
            guard octets <= 4 else { return nil }
            if part.end == slice.end { return octets == 4 ? value : nil }
            part.start = part.end + 1
        }
    }

    /// An IPv6 address (RFC 4291, section 2.2, all three forms).
    func ipv6Address(_ slice: Slice) -> UInt128? {
        guard slice.count >= 2, slice.count <= 45 else { return nil }
        var head: UInt128 = 0
        var groups = 0
        var gap: Int?
        var part = slice
        if self[slice.start] == UInt8(ascii: ":") {
            guard self[slice.start + 1] == UInt8(ascii: ":") else { return nil }
            gap = 0
            part.start += 2
        }
        while part.start < slice.end {
            part.end = firstIndex(of: UInt8(ascii: ":"), in: Slice(start: part.start, end: slice.end)) ?? slice.end
            if part.isEmpty {
                guard gap == nil, groups > 0 else { return nil }
                gap = groups
            } else if let address = part.end == slice.end ? ipv4Address(part) : nil {
                head = head << 32 | UInt128(address)
                groups += 2
            } else {
                guard part.count <= 4, let group = digits(part, base: 16) else { return nil }
                head = head << 16 | group
                groups += 1
            }
            guard groups <= 8 else { return nil }
            // A colon at the very end is right only as the second of `::`.
            if part.end == slice.end - 1, gap != groups || !part.isEmpty { return nil }
            part.start = part.end + 1
        }
        return expand(head, groups: groups, gap: gap)
    }

    /// Puts the zeros of `::` in after `gap` groups.
    private func expand(_ head: UInt128, groups: Int, gap: Int?) -> UInt128? {
        guard let gap else { return groups == 8 ? head : nil }
        guard groups < 8 else { return nil }
        let tail = UInt128(16 * (groups - gap))
        let low = tail == 0 ? 0 : head & (UInt128.max >> (128 - tail))
        let high = gap == 0 ? 0 : (head >> tail) << UInt128(128 - 16 * gap)
        return high | low
    }

    /// What stands before and after the first slash.
    func splitAtSlash(_ slice: Slice) -> (value: Slice, mask: Slice?) {
        guard let slash = firstIndex(of: UInt8(ascii: "/"), in: slice) else { return (slice, nil) }
        return (Slice(start: slice.start, end: slash), Slice(start: slash + 1, end: slice.end))
    }

    /// The length of a prefix, as a mask over `width` bits.
    func prefixMask(_ slice: Slice, width: Int) -> UInt128? {
        guard let length = digits(slice, base: 10), length <= UInt128(width) else { return nil }
        return length == 0 ? 0 : (UInt128.max << (UInt128(width) - length)) & (UInt128.max >> UInt128(128 - width))
    }
}
