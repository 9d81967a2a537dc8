import Control
public import Dataplane
import Foundation
import NIOCore
import NIOSSL

/// Where the endpoint listens, and whom it lets in.
public struct EndpointSettings: Hashable, Sendable {
    /// `ADDRESS:PORT`, with an IPv6 address in brackets; nil: there is no endpoint.
    public var address: String?
    /// PEM file with the certificate that it shows, and those that lead to its issuer.
    public var certificate: String?
    /// PEM file with its private key.
    public var key: String?
    /// PEM file with the authorities whose clients are let in.
    public var clientAuthority: String?
    /// Whether it speaks HTTP without TLS beyond loopback, to whoever asks.
    public var isPlain = false

    public init() {}

    /// What it was asked for, checked; certificates and key are read.
    public struct Listening: CustomStringConvertible, Sendable {
        let host: String
        let port: Int
        /// nil: without TLS.
        let tls: TLSConfiguration?

        public var description: String {
            "\(tls == nil ? "http" : "https")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        }
    }

    /// - Throws: `Refusal` that names the setting and its value; nil when there is to be no endpoint.
    public func listening() throws(Refusal) -> Listening? {
        guard let address else {
            guard [certificate, key, clientAuthority].allSatisfy({ $0 == nil }), !isPlain else {
                throw Refusal("endpoint-certificate and its like need 'endpoint': give it as ADDRESS:PORT")
            }
            return nil
        }
        let (host, port) = try Self.parts(of: address)
        guard let files = try files() else {
            try checkPlain(host)
            return Listening(host: host, port: port, tls: nil)
        }
        return Listening(host: host, port: port, tls: try Self.tls(files))
    }

    private static func parts(of address: String) throws(Refusal) -> (String, Int) {
        guard let colon = address.lastIndex(of: ":"), let port = Int(address[address.index(after: colon)...]),
            (1...65_535).contains(port)
        else {
            let mend = "write it as 10.0.0.1:8883 or [2001:db8::1]:8883"
            throw Refusal("endpoint '\(address)' is no ADDRESS:PORT: \(mend)")
        }
        var host = String(address[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard (try? SocketAddress(ipAddress: host, port: port)) != nil else {
            throw Refusal("endpoint '\(address)' has no IP address before its port: '\(host)'")
        }
        return (host, port)
    }

    // MARK: - TLS

    private typealias Files = (certificate: String, key: String, authority: String)

    /// All three, or none.
    private func files() throws(Refusal) -> Files? {
        let named = [
            ("endpoint-certificate", certificate), ("endpoint-key", key), ("endpoint-client-ca", clientAuthority),
        ]
        guard named.contains(where: { $0.1 != nil }) else { return nil }
        if let missing = named.first(where: { $0.1 == nil }) {
            let all = "endpoint-certificate, endpoint-key and endpoint-client-ca"
            throw Refusal("\(missing.0) is missing: TLS needs \(all)")
        }
        guard !isPlain else {
            throw Refusal("endpoint-plain and endpoint-certificate exclude each other: leave one out")
        }
        return (certificate!, key!, clientAuthority!)
    }

    private func checkPlain(_ host: String) throws(Refusal) {
        let isLoopback = host == "::1" || host.hasPrefix("127.")
        guard isLoopback || isPlain else {
            throw Refusal(
                "endpoint '\(host)' would let in whoever reaches it: give endpoint-certificate, endpoint-key and "
                    + "endpoint-client-ca, or endpoint-plain where the network is trusted"
            )
        }
    }

    /// TLS 1.2 at least, and clients with a certificate of one of the authorities. Clients are drivers, whose addresses
    /// change, so that their names are not looked at.
    private static func tls(_ files: Files) throws(Refusal) -> TLSConfiguration {
        let chain = try read(files.certificate, of: "endpoint-certificate", NIOSSLCertificate.fromPEMFile)
        let key = try read(files.key, of: "endpoint-key") { try NIOSSLPrivateKey(file: $0, format: .pem) }
        let authorities = try read(files.authority, of: "endpoint-client-ca", NIOSSLCertificate.fromPEMFile)
        guard !chain.isEmpty, !authorities.isEmpty else {
            let empty = chain.isEmpty ? files.certificate : files.authority
            throw Refusal("'\(empty)' has no certificate: give a PEM file")
        }
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(key)
        )
        tls.minimumTLSVersion = .tlsv12
        tls.certificateVerification = .noHostnameVerification
        tls.trustRoots = .certificates(authorities)
        tls.applicationProtocols = ["http/1.1"]
        do {
            _ = try NIOSSLContext(configuration: tls)
        } catch {
            let pair = "endpoint-key '\(files.key)' does not belong to '\(files.certificate)'"
            throw Refusal("\(pair): give the pair (\(error))")
        }
        return tls
    }

    private static func read<Content>(
        _ path: String,
        of setting: String,
        _ body: (String) throws -> Content
    ) throws(Refusal) -> Content {
        do {
            return try body(path)
        } catch {
            throw Refusal("\(setting) '\(path)' cannot be read as PEM: check the file and its rights (\(error))")
        }
    }
}
