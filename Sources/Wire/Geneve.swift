/// A Geneve header, behind UDP and before an Ethernet frame (RFC 8926 section 3.4).
///
///      0               1               2               3
///     +---+-----------+-+-+-----------+-------------------------------+
///   0 | 0 |  length   |O|C|  reserved |    protocol type, 0x6558      |
///   4 |                      VNI                      |   reserved    |
///   8 |                options, `length` words of 32 bits             |
///     +---------------------------------------------------------------+
///
/// What is reserved is zero when sent and ignored when received.
public struct Geneve: Sendable {
    public var vni: VNI
    /// In bytes: a multiple of 4, at most 252.
    public var optionsLength: Int
    /// One of the options must be understood by whoever takes the frame out.
    public var hasCriticalOption: Bool

    /// Without options, in bytes.
    @inlinable public static var baseLength: Int { 8 }

    /// The destination port that IANA assigned.
    @inlinable public static var port: UInt16 { 6081 }

    /// With options, in bytes: 8 to 260.
    @inlinable public var length: Int { Self.baseLength &+ optionsLength }

    @inlinable
    public init(vni: VNI, optionsLength: Int = 0, hasCriticalOption: Bool = false) {
        self.vni = vni
        self.optionsLength = optionsLength
        self.hasCriticalOption = hasCriticalOption
    }

    /// Reads a header, and checks that each of its options lies within it. A critical option must be one of `known`; the
    /// others are the caller's to read or to leave (RFC 8926 section 3.5).
    /// - Parameters:
    ///   - bytes: from the header's start on.
    ///   - fault: set to `truncated`, `version`, `control`, `protocolType`, `option` or `criticalOption` when there is no
    ///     header.
    @inlinable
    public init?(
        _ bytes: UnsafeRawBufferPointer,
        known: UnsafeBufferPointer<GeneveOption.Kind> = .init(start: nil, count: 0),
        fault: inout HeaderFault?
    ) {
        guard let header = HeaderBytes(bytes, Self.baseLength, fault: &fault) else { return nil }
        let first = header.number16(at: 0)
        if let refusal = Self.refusal(first, type: header.number16(at: 2)) {
            fault = refusal
            return nil
        }
        vni = VNI(word: header.number32(at: 4))
        optionsLength = Int(first &>> 8 & 0x3f) &* 4
        hasCriticalOption = false
        guard length <= bytes.count else {
            fault = .truncated
            return nil
        }
        var options = GeneveOptions(UnsafeRawBufferPointer(rebasing: bytes[Self.baseLength..<length]))
        while let option = options.next() {
            guard option.kind.isCritical else { continue }
            hasCriticalOption = true
            guard Self.isIn(known, option.kind) else {
                fault = .criticalOption
                return nil
            }
        }
        guard options.isAtEnd else {
            fault = .option
            return nil
        }
    }

    @inlinable
    static func isIn(_ known: UnsafeBufferPointer<GeneveOption.Kind>, _ kind: GeneveOption.Kind) -> Bool {
        for one in known where one.optionClass == kind.optionClass && one.type == kind.type { return true }
        return false
    }

    @inlinable
    static func refusal(_ first: UInt16, type: UInt16) -> HeaderFault? {
        if first &>> 14 != 0 { return .version }
        if first & 0x80 != 0 { return .control }
        return type == EtherType.ethernet ? nil : .protocolType
    }

    /// Writes the header up to its options: the caller writes those behind it.
    /// - Parameter space: room for `Geneve.baseLength` bytes.
    @inlinable
    public func write(to space: UnsafeMutableRawPointer) {
        let header = HeaderSpace(space)
        let first = UInt16(truncatingIfNeeded: optionsLength &>> 2) &<< 8 | (hasCriticalOption ? 0x40 : 0)
        header.put16(first, at: 0)
        header.put16(EtherType.ethernet, at: 2)
        header.put32(vni.word, at: 4)
    }
}

/// An option of a Geneve header (RFC 8926 section 3.5).
///
///      0               1               2               3
///     +-------------------------------+-+-------------+-----+---------+
///     |             class             |C|    type     |  0  | length  |
///     |                value, `length` words of 32 bits               |
///     +---------------------------------------------------------------+
public struct GeneveOption {
    /// What tells options apart.
    public struct Kind: Hashable, Sendable {
        public let optionClass: UInt16
        /// The critical bit among them.
        public let type: UInt8

        @inlinable
        public init(optionClass: UInt16, type: UInt8) {
            self.optionClass = optionClass
            self.type = type
        }

        /// Whoever does not know the option must drop the packet.
        @inlinable public var isCritical: Bool { type & 0x80 != 0 }
    }

    public let kind: Kind
    /// A multiple of 4 bytes, at most 124. Valid as long as the header's memory.
    public let value: UnsafeRawBufferPointer

    @inlinable
    public init(kind: Kind, value: UnsafeRawBufferPointer) {
        self.kind = kind
        self.value = value
    }

    /// With its value, in bytes.
    @inlinable public var length: Int { 4 &+ value.count }

    /// - Parameter space: room for `length` bytes.
    @inlinable
    public func write(to space: UnsafeMutableRawPointer) {
        let header = HeaderSpace(space)
        header.put16(kind.optionClass, at: 0)
        header.put8(kind.type, at: 2)
        header.put8(UInt8(truncatingIfNeeded: value.count &>> 2), at: 3)
        guard let start = value.baseAddress else { return }
        (space + 4).copyMemory(from: start, byteCount: value.count)
    }
}

/// The options of a Geneve header, one after the other.
public struct GeneveOptions {
    @usableFromInline var rest: UnsafeRawBufferPointer

    /// - Parameter bytes: what lies between the base header and the frame.
    @inlinable
    public init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    /// Every option was read: none claims more than there is.
    @inlinable public var isAtEnd: Bool { rest.isEmpty }

    /// Nil at the end, and when an option does not lie within the header.
    @inlinable
    public mutating func next() -> GeneveOption? {
        guard let header = HeaderBytes(rest, 4) else { return nil }
        let length = 4 &+ Int(header.number8(at: 3) & 0x1f) &* 4
        guard length <= rest.count else { return nil }
        let value = UnsafeRawBufferPointer(rebasing: rest[4..<length])
        rest = UnsafeRawBufferPointer(rebasing: rest[length...])
        return GeneveOption(
            kind: .init(optionClass: header.number16(at: 0), type: header.number8(at: 2)),
            value: value
        )
    }
}
