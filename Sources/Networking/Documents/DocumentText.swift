public import Foundation
import Wire

/// Documents as text: JSON, one a line (README.md beside this folder lists the keys).
public enum DocumentText {
    /// The version of the documents' schema that is read.
    public static let schema = 1
    /// Bytes of a line: room for a security group with all its rules.
    public static let greatestLineLength = 262_144
    /// Every number up to here is the same in all that reads JSON (RFC 8259 section 6).
    public static let greatestRevision: UInt64 = (1 << 53) - 1

    /// Reads documents, empty lines left out.
    /// - Throws: the first mistake.
    public static func changes(_ text: String) throws(DocumentRefusal) -> [DocumentChange] {
        var changes: [DocumentChange] = []
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where line.contains(where: { $0 > UInt8(ascii: " ") }) {
            changes.append(try change(Substring(line), number: index + 1))
        }
        return changes
    }

    /// Reads the one document of a body.
    /// - Parameters:
    ///   - type, id: which document it is to be; the body may leave them out.
    /// - Throws: the first mistake.
    public static func change(
        _ body: Data,
        type: DocumentType,
        id: String
    ) throws(DocumentRefusal) -> DocumentChange {
        let key = DocumentKey(type, id)
        try check(body.count, "the document", key)
        guard let text = String(data: body, encoding: .utf8) else {
            throw DocumentRefusal(key, "it is not UTF-8: send JSON in that")
        }
        do throws(DocumentRefusal) {
            let json = try named(try json(Substring(text)), key)
            var canonical: [UInt8] = []
            json.write(to: &canonical)
            return try change(json, text: Substring(String(decoding: canonical, as: UTF8.self)), line: nil)
        } catch {
            throw DocumentRefusal(error.key ?? key, field: error.field, error.reason)
        }
    }

    /// A change that takes a document away.
    /// - Throws: `DocumentRefusal` for an id or a revision that cannot be.
    public static func removal(
        of type: DocumentType,
        id: String,
        revision: UInt64
    ) throws(DocumentRefusal) -> DocumentChange {
        let key = DocumentKey(type, id)
        guard DocumentKey.isID(id) else {
            throw DocumentRefusal(key, field: "id", "id '\(id.prefix(80))' is not a name")
        }
        guard revision <= greatestRevision else {
            throw DocumentRefusal(key, field: "revision", "revision \(revision) is outside 0 to \(greatestRevision)")
        }
        return DocumentChange(key: key, revision: revision, document: nil, text: "", digest: .zero, line: nil)
    }

    // MARK: - Reading

    private static func change(_ line: Substring, number: Int) throws(DocumentRefusal) -> DocumentChange {
        do throws(DocumentRefusal) {
            try check(line.utf8.count, "the line", nil)
            return try change(try json(line), text: line, line: number)
        } catch {
            throw DocumentRefusal(error.key, line: number, field: error.field, error.reason)
        }
    }

    private static func check(_ length: Int, _ what: String, _ key: DocumentKey?) throws(DocumentRefusal) {
        guard length <= greatestLineLength else {
            throw DocumentRefusal(key, "\(what) has \(length) bytes; allowed are \(greatestLineLength)")
        }
    }

    private static func json(_ text: Substring) throws(DocumentRefusal) -> JSON {
        do throws(JSONFault) {
            return try JSON(parsing: text)
        } catch {
            throw DocumentRefusal(nil, field: error.field, error.reason)
        }
    }

    /// An object with the type and the id that it is to have.
    private static func named(_ json: JSON, _ key: DocumentKey) throws(DocumentRefusal) -> JSON {
        guard case .object(var members) = json else { return json }
        for (name, value) in [("type", key.type.rawValue), ("id", key.id)] {
            guard let given = members.first(where: { $0.name == name })?.value else {
                members.append(JSON.Member(name: name, value: .text(value)))
                continue
            }
            guard String(given) == value else {
                let said = String(given).map { "'\($0.prefix(80))'" } ?? "no text"
                let reason = "its \(name) is \(said), and that of the path '\(value)'"
                throw DocumentRefusal(key, field: name, reason)
            }
        }
        return .object(JSON.sorted(members))
    }

    private static func change(_ json: JSON, text: Substring, line: Int?) throws(DocumentRefusal) -> DocumentChange {
        let read = try ReadDocument(json)
        var digest = DocumentDigest.zero
        if read.document != nil {
            var canonical: [UInt8] = []
            canonical.reserveCapacity(text.utf8.count)
            json.write(to: &canonical, omitting: "revision")
            digest = DocumentDigest(of: canonical)
        }
        return DocumentChange(
            key: read.key,
            revision: read.revision,
            document: read.document,
            text: text,
            digest: digest,
            line: line
        )
    }
}

/// A document, or the key of one that is to go, as JSON has it.
private struct ReadDocument {
    let key: DocumentKey
    let revision: UInt64
    let document: Document?

    init(_ json: JSON) throws(DocumentRefusal) {
        var fields = try Fields(json)
        let type = try fields.given(try fields.word("type", DocumentType.self), "type")
        let id = try fields.given(try fields.identifier("id"), "id")
        key = DocumentKey(type, id)
        fields.key = key
        revision = UInt64(try fields.number("revision", in: 0...Int(DocumentText.greatestRevision)) ?? 0)
        let schema: Int = try fields.value("schema") ?? DocumentText.schema
        guard schema == DocumentText.schema else {
            throw fields.refusal("schema", "schema \(schema) is unknown; this martletd reads \(DocumentText.schema)")
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
    ) throws(DocumentRefusal) -> Document {
        switch type {
        case .host: .host(try HostDocument(id, revision, &fields))
        case .network: .network(try NetworkDocument(id, revision, &fields))
        case .subnet: .subnet(try SubnetDocument(id, revision, &fields))
        case .port: .port(try PortDocument(id, revision, &fields))
        case .securityGroup: .securityGroup(try SecurityGroupDocument(id, revision, &fields))
        case .router: .router(try RouterDocument(id, revision, &fields))
        case .floatingIP: .floatingIP(try FloatingIPDocument(id, revision, &fields))
        }
    }
}

extension HostDocument {
    fileprivate init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws(DocumentRefusal) {
        self.id = id
        self.revision = revision
        tunnelAddress = try fields.address("tunnel_address")
        tunnelTypes = Set(try fields.words("tunnel_types", TunnelNetworkType.self) ?? TunnelNetworkType.allCases)
        bridgeMappings = try fields.value("bridge_mappings") ?? [:]
        hasL2Population = try fields.value("l2_population") ?? true
        hasARPResponder = try fields.value("arp_responder") ?? true
        unknownAddresses = try fields.word("unknown_addresses", UnknownAddressPolicy.self) ?? .flood
        guard Set(bridgeMappings.values).count == bridgeMappings.count else {
            throw fields.refusal("bridge_mappings", "bridge_mappings give two physical networks one bridge")
        }
    }
}

extension NetworkDocument {
    fileprivate init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws(DocumentRefusal) {
        self.id = id
        self.revision = revision
        name = try fields.name()
        mtu = try fields.number("mtu", in: 68...9000) ?? 1500
        segment = try Segment(&fields)
    }
}

extension Segment {
    fileprivate init(_ fields: inout Fields) throws(DocumentRefusal) {
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
                let words = "is unknown: use local, flat, vlan, vxlan, gre or geneve"
                throw fields.refusal("network_type", "network_type '\(type.prefix(80))' \(words)")
            }
            let key = try fields.given(number, "segmentation_id")
            let range = 1...Int(tunnel.greatestKey)
            self = .tunnel(tunnel, key: UInt32(try fields.checked(key, "segmentation_id", in: range)))
        }
        if physical != nil && physicalNetwork == nil {
            throw fields.refusal("physical_network", "a network of type \(type) has no physical_network")
        }
        if number != nil && self.number == nil {
            throw fields.refusal("segmentation_id", "a network of type \(type) has no segmentation_id")
        }
    }
}
