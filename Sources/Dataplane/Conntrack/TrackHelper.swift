import CPacket
import Flows
import Wire

/// What listens to a connection for others that it announces (ovs-actions(7), 'The ct action', alg).
enum TrackHelper: UInt8 {
    case none, ftp, tftp

    init(_ helper: Conntrack.Helper?) {
        switch helper {
        case nil: self = .none
        case .ftp: self = .ftp
        case .tftp: self = .tftp
        }
    }

    /// As flows name it.
    var name: String? {
        switch self {
        case .none: nil
        case .ftp: Conntrack.Helper.ftp.rawValue
        case .tftp: Conntrack.Helper.tftp.rawValue
        }
    }

    /// Whether it understands what a connection carries.
    func listens(to tuple: ConnectionTuple) -> Bool {
        switch self {
        case .none: false
        case .ftp: tuple.isTCP
        case .tftp: tuple.protocolNumber == IPProtocol.udp
        }
    }
}

/// What a segment of FTP's control connection says of a data connection: that its sender waits for one at a port.
enum FTPAnnouncement: Equatable {
    case nothing
    /// It begins as one, and is not: cut short, or of an address that is not the sender's, which would have others open ports
    /// of third parties (RFC 2577 section 3).
    case invalid
    case port(UInt16)

    /// The client's commands PORT (RFC 959 section 4.1.2) and EPRT (RFC 2428 section 2), and the server's replies 227 and
    /// 229 (RFC 959 section 4.2, RFC 2428 section 3).
    ///
    /// - Parameters:
    ///   - line: the segment's bytes, of which `longest` are enough.
    ///   - isReply: it comes from the server.
    init(_ line: UnsafeRawBufferPointer, isReply: Bool, from sender: ConnectionTuple) {
        var text = FTPText(line)
        let port: UInt16?
        if text.takes(isReply ? "229" : "EPRT") {
            port = isReply ? text.extendedPort() : text.extendedAddress(of: sender) ? text.extendedPort() : nil
        } else if !sender.isIPv6, text.takes(isReply ? "227" : "PORT") {
            port = text.address(of: sender) ? text.port() : nil
        } else {
            self = .nothing
            return
        }
        self = port.map { $0 == 0 ? .invalid : .port($0) } ?? .invalid
    }

    static var longest: Int { 128 }
}

/// A line that is read from its beginning.
private struct FTPText {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    /// Goes behind a word that it begins with, in capitals or small letters, and to the space behind that.
    mutating func takes(_ word: StaticString) -> Bool {
        guard bytes.count >= word.utf8CodeUnitCount else { return false }
        for index in 0..<word.utf8CodeUnitCount {
            let (byte, wanted) = (bytes[index], word.utf8Start[index])
            let isLetter = wanted >= 0x41
            guard byte == wanted || isLetter && byte == wanted | 0x20 else { return false }
        }
        offset = word.utf8CodeUnitCount
        while let byte = next, byte != 0x20 { offset += 1 }
        return true
    }

    private mutating func skipToDigit() { while let byte = next, !Self.isDigit(byte) { offset += 1 } }

    /// A number and the byte behind it, without which there may be more of it in another segment.
    private mutating func number(to greatest: Int) -> Int? {
        var value: Int?
        while let byte = next, Self.isDigit(byte) {
            value = (value ?? 0) * 10 + Int(byte - 0x30)
            guard value.unsafelyUnwrapped <= greatest else { return nil }
            offset += 1
        }
        guard next != nil else { return nil }
        offset += 1
        return value
    }

    /// Four numbers that are a sender's IPv4 address, and two that are a port, wherever they begin (RFC 1123 section
    /// 4.1.2.6).
    mutating func address(of sender: ConnectionTuple) -> Bool {
        skipToDigit()
        var address: UInt64 = 0
        for _ in 0..<4 {
            guard let octet = number(to: 255), bytes[offset - 1] == Self.comma else { return false }
            address = address << 8 | UInt64(octet)
        }
        return address == sender.sourceLow
    }

    private static var comma: UInt8 { 0x2c }

    mutating func port() -> UInt16? {
        guard let high = number(to: 255), bytes[offset - 1] == Self.comma, let low = number(to: 255) else { return nil }
        return UInt16(high) << 8 | UInt16(low)
    }

    /// A family and an address of it, between any three bytes that are the same.
    mutating func extendedAddress(of sender: ConnectionTuple) -> Bool {
        guard offset + 1 < bytes.count else { return false }
        let bar = bytes[offset + 1]
        offset += 2
        guard number(to: 2) == (sender.isIPv6 ? 2 : 1), bytes[offset - 1] == bar else { return false }
        let start = offset
        while let byte = next, byte != bar { offset += 1 }
        guard next == bar, Self.isAddress(bytes[start..<offset], of: sender) else { return false }
        offset += 1
        return true
    }

    private static func isAddress(_ text: Slice<UnsafeRawBufferPointer>, of sender: ConnectionTuple) -> Bool {
        let start = UnsafeRawPointer(text.base.baseAddress.unsafelyUnwrapped + text.startIndex)
        var address = InlineArray<2, UInt64>(repeating: 0)
        let bytes = start.assumingMemoryBound(to: UInt8.self)
        guard martlet_read_address(bytes, UInt32(text.count), sender.isIPv6, &address) else { return false }
        let (high, low) = (UInt64(bigEndian: address[0]), UInt64(bigEndian: address[1]))
        return sender.isIPv6
            ? high == sender.sourceHigh && low == sender.sourceLow : high >> 32 == sender.sourceLow
    }

    mutating func extendedPort() -> UInt16? {
        skipToDigit()
        return number(to: 65535).map { UInt16($0) }
    }
}
