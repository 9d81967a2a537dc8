public import struct Foundation.Data

/// Starts to copy packets of a port to this connection, as `CaptureData` notifications.
public struct CaptureStart: Request {
    public static let method = "capture.start"

    public struct Response: Codable, Hashable, Sendable {
        /// Names the capture on its connection.
        public let capture: Int
    }

    public var port: String
    /// both (the default), receive or transmit, as the switch sees it.
    public var direction: String?
    /// pcap-filter(7).
    public var filter: String?
    /// The most bytes kept of a packet; 65,535 when absent.
    public var snapLength: Int?

    public init(port: String, direction: String? = nil, filter: String? = nil, snapLength: Int? = nil) {
        self.port = port
        self.direction = direction
        self.filter = filter
        self.snapLength = snapLength
    }

    enum CodingKeys: String, CodingKey {
        case port, direction, filter
        case snapLength = "snap_length"
    }
}

public struct CaptureStop: Request {
    public static let method = "capture.stop"

    public struct Response: Codable, Hashable, Sendable {
        /// Packets sent to the client.
        public let captured: UInt64
        /// Packets that matched and found the capture's buffer full.
        public let lost: UInt64
    }

    public var capture: Int

    public init(capture: Int) { self.capture = capture }
}

/// What the daemon sends unasked. One kind of parameters per notification method.
public protocol Notification: Codable, Sendable {
    static var method: String { get }
}

public struct CaptureData: Notification, Hashable {
    public static let method = "capture.data"

    public let capture: Int
    /// The next piece of a pcapng file: whole blocks, base64 on the wire.
    public let bytes: Data
    /// Packets in this piece.
    public let packets: Int
    /// Packets lost since the capture began.
    public let lost: UInt64
}

/// The last word of a capture whose port went away.
public struct CaptureEnd: Notification, Hashable {
    public static let method = "capture.end"

    public let capture: Int
    public let captured: UInt64
    public let lost: UInt64
    /// Why it ended, in words.
    public let reason: String
}
