import Control
import Dataplane
import Foundation
import HTTPTypes
import Hummingbird
import Networking
import ServiceLifecycle

/// What each path answers: openapi.yaml beside this says it for clients.
struct Routes: Sendable {
    /// Bytes of one document, and of a batch of them.
    static let greatestDocument = DocumentText.greatestLineLength
    static let greatestBatch = 16 << 20

    let control: Switch
    /// This host's document as its configuration has it.
    let host: String
    /// Of this run of the daemon.
    let instance = UUID().uuidString.lowercased()
    let clients = ClientCount()
    let latencies = RequestLatencies()
    private let bodies = BodyBudget()
    private let snapshot: SnapshotUpload

    init(control: Switch, host: String) {
        self.control = control
        self.host = host
        snapshot = SnapshotUpload(control: control)
    }

    func router() -> Router<BasicRequestContext> {
        let router = Router()
        router.add(middleware: Answering(latencies: latencies))
        router.get("healthz") { _, _ in try await health() }
        router.get("metrics") { _, _ in try await metrics() }
        router.get("v1/version") { _, _ in try await version() }
        router.get("v1/host") { _, _ in Response(text: host, type: "application/json") }
        router.get("v1/digest") { request, _ in try await digest(request) }
        router.get("v1/status") { request, _ in try await status(request) }
        router.get("v1/snapshot") { request, _ in try await received(request) }
        router.put("v1/snapshot") { request, _ in try await putSnapshot(request) }
        router.post("v1/batch") { request, _ in try await batch(request) }
        router.put("v1/{collection}/{id}") { try await put($0, named(by: $1)) }
        router.delete("v1/{collection}/{id}") { try await remove($0, named(by: $1)) }
        return router
    }

    // MARK: - Documents

    /// The document that a path names.
    private func named(by context: BasicRequestContext) throws -> DocumentKey {
        let collection = try context.parameters.require("collection")
        let id = try context.parameters.require("id")
        guard let type = DocumentType.allCases.first(where: { $0.collection == collection }) else {
            let known = DocumentType.allCases.map(\.collection).joined(separator: ", ")
            throw Problem(.notFound, "collection '\(collection.prefix(80))' is unknown: there are \(known)")
        }
        return DocumentKey(type, id.removingPercentEncoding ?? id)
    }

    private func put(_ request: Request, _ key: DocumentKey) async throws -> Response {
        let body = try await bodies.body(of: request, upTo: Self.greatestDocument)
        let change = try DocumentText.change(Data(body.readableBytesView), type: key.type, id: key.id)
        return try .json(await control.apply([change]))
    }

    private func remove(_ request: Request, _ key: DocumentKey) async throws -> Response {
        let query = try Query(request, of: ["revision"])
        let revision = try query.number("revision") ?? 0
        let change = try DocumentText.removal(of: key.type, id: key.id, revision: revision)
        return try .json(await control.apply([change]))
    }

    private func batch(_ request: Request) async throws -> Response {
        let body = try await bodies.body(of: request, upTo: Self.greatestBatch)
        let changes = try DocumentText.changes(String(buffer: body))
        return try .json(await control.apply(changes))
    }

    // MARK: - Snapshots

    private func putSnapshot(_ request: Request) async throws -> Response {
        let query = try Query(request, of: ["id", "revision"])
        let id = try query.needed("id")
        let revision = try query.number("revision")
        let isPiece = request.headers[.contentRange] != nil
        let limit = isPiece ? SnapshotUpload.greatestPiece : Self.greatestBatch
        let body = try await bodies.body(of: request, upTo: limit)
        let place = try SnapshotUpload.Place(
            contentRange: request.headers[.contentRange],
            length: body.readableBytes
        )
        switch try await snapshot.take(Array(body.readableBytesView), at: place, id: id, revision: revision) {
        case .received(let count): return try .json(Received(received: count), status: .accepted)
        case .applied(let answer): return try .json(answer)
        }
    }

    private func received(_ request: Request) async throws -> Response {
        let id = try Query(request, of: ["id"]).needed("id")
        return try .json(Received(received: await snapshot.received(id: id)))
    }

    private struct Received: Encodable { let received: Int }

    // MARK: - What is

    private func digest(_ request: Request) async throws -> Response {
        let query = try Query(request, of: ["network", "type"])
        return try .json(await control.networkDigest(NetworkDigest(network: query["network"], type: query["type"])))
    }

    /// Waits no longer than the daemon lives.
    private func status(_ request: Request) async throws -> Response {
        let query = try Query(request, of: ["since", "wait"])
        let question = NetworkStatus(since: query["since"], wait: try query.number("wait").map { Int(clamping: $0) })
        return try .json(await cancelWhenGracefulShutdown { try await control.networkStatus(question) })
    }

    private func version() async throws -> Response {
        try .json(
            EndpointVersion(
                version: Martlet.version,
                schema: DocumentText.schema,
                host: await control.hostName,
                vifDirectory: control.vifDirectory,
                instance: instance
            )
        )
    }

    private func health() async throws -> Response {
        // Whoever answers has carried out what was asked before.
        _ = await control.version()
        return try .json(["status": "ok"])
    }

    private func metrics() async throws -> Response {
        var text = MetricsText()
        text.add(try await control.metrics())
        text.add(latencies, connections: clients.connections)
        return Response(text: text.text, type: "text/plain; version=0.0.4; charset=utf-8")
    }
}

/// What `GET /v1/version` says.
struct EndpointVersion: Encodable {
    let version: String
    /// Of the documents.
    let schema: Int
    let host: String
    /// Where the sockets of guests may be.
    let vifDirectory: String
    let instance: String
    let documents = DocumentType.allCases.map(\.rawValue)
    /// What documents can ask for and is carried out.
    let capabilities = [
        "local", "flat", "vlan", "vxlan", "gre", "geneve", "l2population", "arp-responder", "nd-responder",
        "live-migration", "security-groups",
    ]

    enum CodingKeys: String, CodingKey {
        case version, schema, host, instance, documents, capabilities
        case vifDirectory = "vif_dir"
    }
}

extension DocumentType {
    /// Its documents in paths.
    var collection: String {
        switch self {
        case .host: "hosts"
        case .network: "networks"
        case .subnet: "subnets"
        case .port: "ports"
        case .securityGroup: "security-groups"
        case .router: "routers"
        case .floatingIP: "floating-ips"
        }
    }
}

extension Response {
    fileprivate init(text: String, type: String) {
        self.init(
            status: .ok,
            headers: [.contentType: type],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}
