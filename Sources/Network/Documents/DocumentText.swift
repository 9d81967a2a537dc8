import Foundation
import Wire

/// Documents as text: JSON, one a line (README.md beside this folder lists the keys).
public enum DocumentText {
    /// The version of the documents' schema that is read.
    public static let schema = 1
    /// Bytes of a line.
    public static let greatestLineLength = 65_536

    /// Reads documents, empty lines left out.
    /// - Throws: the first mistake.
    public static func changes(_ text: String) throws(DocumentRefusal) -> [DocumentChange] {
        var changes: [DocumentChange] = []
        let decoder = JSONDecoder()
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where line.contains(where: { $0 > UInt8(ascii: " ") }) {
            changes.append(try change(Substring(line), number: index + 1, decoder))
        }
        return changes
    }

    private static func change(
        _ line: Substring,
        number: Int,
        _ decoder: JSONDecoder
    ) throws(DocumentRefusal) -> DocumentChange {
        guard line.utf8.count <= greatestLineLength else {
            let reason = "the line has \(line.utf8.count) bytes; allowed are \(greatestLineLength)"
            throw DocumentRefusal(nil, line: number, reason)
        }
        do {
            let read = try decoder.decode(ReadDocument.self, from: Data(line.utf8))
            return DocumentChange(
                key: read.key,
                revision: read.revision,
                document: read.document,
                text: line,
                line: number
            )
        } catch let error as DocumentRefusal {
            throw DocumentRefusal(error.key, line: number, error.reason)
        } catch {
            throw DocumentRefusal(nil, line: number, words(for: error))
        }
    }

    private static func words(for error: any Error) -> String {
        switch error as? DecodingError {
        case .keyNotFound(let key, _): "key '\(key.stringValue)' is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "key '\(context.codingPath.map(\.stringValue).joined(separator: "."))' has a value of another kind"
        case .dataCorrupted, nil: "it is not JSON: write one object a line"
        @unknown default: "it cannot be read"
        }
    }
}

/// A document, or the key of one that is to go, as JSON has it.
private struct ReadDocument: Decodable {
    let key: DocumentKey
    let revision: UInt64
    let document: Document?

    init(from decoder: any Decoder) throws {
        var fields = try Fields(decoder)
        let type = try fields.given(try fields.word("type", DocumentType.self), "type")
        let id = try fields.given(try fields.identifier("id"), "id")
        key = DocumentKey(type, id)
        fields.key = key
        revision = try fields.value("revision") ?? 0
        let schema: Int = try fields.value("schema") ?? DocumentText.schema
        guard schema == DocumentText.schema else {
            throw fields.refusal("schema \(schema) is unknown; this martletd reads \(DocumentText.schema)")
        }
        if try fields.value("deleted") ?? false {
            document = nil
        } else {
            document = try Self.document(type, id, revision, &fields)
        }
        try fields.refuseRest()
    }

    private static func document(
        _ type: DocumentType,
        _ id: String,
        _ revision: UInt64,
        _ fields: inout Fields
    ) throws -> Document {
        switch type {
        case .host: .host(try HostDocument(id, revision, &fields))
        case .network: .network(try NetworkDocument(id, revision, &fields))
        case .port: .port(try PortDocument(id, revision, &fields))
        }
    }
}

extension HostDocument {
    fileprivate init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws {
        self.id = id
        self.revision = revision
        tunnelAddress = try fields.address("tunnel_address")
        tunnelTypes = Set(try fields.words("tunnel_types", TunnelNetworkType.self) ?? TunnelNetworkType.allCases)
        bridgeMappings = try fields.value("bridge_mappings") ?? [:]
        hasL2Population = try fields.value("l2_population") ?? true
        hasARPResponder = try fields.value("arp_responder") ?? true
        unknownAddresses = try fields.word("unknown_addresses", UnknownAddressPolicy.self) ?? .flood
        guard Set(bridgeMappings.values).count == bridgeMappings.count else {
            throw fields.refusal("bridge_mappings give two physical networks one bridge")
        }
    }
}

extension NetworkDocument {
    fileprivate init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws {
        self.id = id
        self.revision = revision
        name = try fields.value("name") ?? ""
        mtu = try fields.number("mtu", in: 68...9000) ?? 1500
        segment = try Segment(&fields)
    }
}

extension Segment {
    fileprivate init(_ fields: inout Fields) throws {
        let type: String = try fields.needed("network_type")
        let physical: String? = try fields.value("physical_network")
        let number: Int? = try fields.value("segmentation_id")
        switch type {
        case "local": self = .local
        case "flat": self = .flat(physicalNetwork: try fields.given(physical, "physical_network"))
        case "vlan":
            let vlan = try fields.checked(try fields.given(number, "segmentation_id"), "segmentation_id", in: 1...4094)
            self = .vlan(physicalNetwork: try fields.given(physical, "physical_network"), VLANID(UInt16(vlan))!)
        default:
            guard let tunnel = TunnelNetworkType(rawValue: type) else {
                throw fields.refusal(
                    "network_type '\(type.prefix(80))' is unknown: use local, flat, vlan, vxlan, gre or geneve"
                )
            }
            let key = try fields.given(number, "segmentation_id")
            let range = 1...Int(tunnel.greatestKey)
            self = .tunnel(tunnel, key: UInt32(try fields.checked(key, "segmentation_id", in: range)))
        }
        if physical != nil && physicalNetwork == nil {
            throw fields.refusal("a network of type \(type) has no physical_network")
        }
        if number != nil && self.number == nil {
            throw fields.refusal("a network of type \(type) has no segmentation_id")
        }
    }
}

extension PortDocument {
    fileprivate init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws {
        self.id = id
        self.revision = revision
        network = try fields.given(try fields.identifier("network_id"), "network_id")
        mac = try fields.given(try fields.station("mac_address"), "mac_address")
        addresses = try fields.addresses("fixed_ips")
        host = try fields.identifier("host")
        isUp = try fields.value("admin_state_up") ?? true
        interface = try fields.value("vif", [String: String].self).map(Self.interface)
    }

    private static func interface(_ options: [String: String]) -> Interface {
        var options = options
        let type = options.removeValue(forKey: "type") ?? "vhost-user"
        return Interface(type: type, options: options)
    }
}
