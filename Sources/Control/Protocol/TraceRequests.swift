public import Dataplane

/// What would happen to a packet now; nothing is learned, counted or sent.
public struct Trace: Request {
    public static let method = "trace"

    public struct Response: Codable, Hashable, Sendable {
        /// The packet as flow text; absent when its headers could not be read.
        public let packet: String?
        public let steps: [Step]
        /// Some steps are left out.
        public let cut: Bool
        /// What is done with the packets of this kind, in one line: edits and ports, or "drop".
        public let actions: String
        /// The packets that `actions` are good for.
        public let megaflow: String
        /// The ports that it leaves through, in order.
        public let outputs: [Output]
        /// The name of a `DropReason` when there are none.
        public let drop: String?
    }

    public struct Output: Codable, Hashable, Sendable {
        public let port: String
        /// "up" or "down": what is sent to a port that is down is dropped there.
        public let link: String
    }

    /// What happened, in order.
    public struct Step: Codable, Hashable, Sendable {
        public enum Kind: String, Codable, Sendable {
            /// The packet is on a bridge now: `bridge`, `port`, and `patch`, the port of the bridge before.
            case bridge
            /// It was looked up: `table`, and `flow` with `n_packets` if there was one.
            case table
            /// An action ran, and made `changes`.
            case action
            /// What the action before came to.
            case note
        }

        /// How far in: a table that is entered by a flow's last action lies beside that flow's, by another one below.
        public let depth: Int
        public let kind: Kind
        public let text: String
        public var bridge: String?
        public var port: String?
        public var patch: String?
        public var table: Int?
        public var flow: String?
        public var packetCount: UInt64?
        public var changes: [FieldChange]?

        enum CodingKeys: String, CodingKey {
            case depth, kind, text, bridge, port, patch, table, flow, changes
            case packetCount = "n_packets"
        }

        init(_ depth: Int, _ kind: Kind, _ text: String) {
            self.depth = depth
            self.kind = kind
            self.text = text
        }
    }

    public var bridge: String
    /// Flow text with an in_port: "in_port=vm1,tcp,nw_dst=10.0.0.1". Either this or `frame`.
    public var packet: String?
    /// A frame, or its beginning, in hexadecimal.
    public var frame: String?
    /// Bytes of the whole frame; as many as `frame` has when absent.
    public var length: Int?
    /// Name or number of the port that `frame` comes from.
    public var port: String?
    /// What the tracker says each time that the packet is tracked to go on in a table, as in "trk,est"; what it says indeed
    /// when there are no more.
    public var ctNext: [String]?

    enum CodingKeys: String, CodingKey {
        case bridge, packet, frame, length, port
        case ctNext = "ct_next"
    }

    public init(bridge: String, packet: String, ctNext: [String]? = nil) {
        self.bridge = bridge
        self.packet = packet
        self.ctNext = ctNext
    }

    public init(bridge: String, frame: String, length: Int? = nil, port: String, ctNext: [String]? = nil) {
        self.bridge = bridge
        self.frame = frame
        self.length = length
        self.port = port
        self.ctNext = ctNext
    }

    /// The longest frame, in bytes.
    public static let longestFrame = 65_536
}
