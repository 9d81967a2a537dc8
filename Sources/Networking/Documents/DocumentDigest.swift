import CCrypto

/// SHA-256 of a document's canonical text without its revision, or the exclusive-or of several documents', which does not
/// depend on their order.
public struct DocumentDigest: Hashable, Sendable, BitwiseCopyable {
    private var words: InlineWords

    private struct InlineWords: Hashable, Sendable, BitwiseCopyable {
        var (first, second, third, fourth): (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    }

    /// That of no document.
    static let zero = DocumentDigest(words: InlineWords())

    private init(words: InlineWords) { self.words = words }

    init(of text: [UInt8]) {
        words = InlineWords()
        // The words are as many bytes as a digest of SHA-256 has, and nothing else is written.
        let isDone = withUnsafeMutableBytes(of: &words) { words in
            EVP_Digest(text, text.count, words.bindMemory(to: UInt8.self).baseAddress, nil, EVP_sha256(), nil)
        }
        precondition(isDone == 1, "libcrypto has no SHA-256")
    }

    static func ^= (left: inout DocumentDigest, right: DocumentDigest) {
        left.words.first ^= right.words.first
        left.words.second ^= right.words.second
        left.words.third ^= right.words.third
        left.words.fourth ^= right.words.fourth
    }
}

extension DocumentDigest: CustomStringConvertible {
    /// 64 hexadecimal digits.
    public var description: String {
        withUnsafeBytes(of: words) { bytes in
            String(unsafeUninitializedCapacity: 2 * bytes.count) { text in
                for (place, byte) in bytes.enumerated() {
                    text[2 * place] = Self.digit(byte >> 4)
                    text[2 * place + 1] = Self.digit(byte & 0xf)
                }
                return 2 * bytes.count
            }
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}

/// What is held of a set of documents.
public struct DocumentSetDigest: Hashable, Sendable {
    public private(set) var count = 0
    public private(set) var digest = DocumentDigest.zero

    fileprivate mutating func add(_ digest: DocumentDigest) {
        count += 1
        self.digest ^= digest
    }

    fileprivate mutating func remove(_ digest: DocumentDigest) {
        count -= 1
        self.digest ^= digest
    }
}

/// The digests of all documents that are held, by type and by network, kept up to date by what changes.
struct DocumentDigests: Sendable {
    struct Entry: Sendable {
        let digest: DocumentDigest
        let revision: UInt64
        /// The network in whose set it is.
        let network: String?
    }

    private(set) var documents: [DocumentKey: Entry] = [:]
    private(set) var types: [DocumentType: DocumentSetDigest] = [:]
    private(set) var networks: [String: DocumentSetDigest] = [:]

    /// Puts entries in the place of those of their documents; nil is none.
    /// - Returns: what to exchange to be where it was.
    mutating func exchange(_ entries: [(DocumentKey, Entry?)]) -> [(DocumentKey, Entry?)] {
        entries.map { ($0.0, put($0.1, for: $0.0)) }
    }

    private mutating func put(_ entry: Entry?, for key: DocumentKey) -> Entry? {
        let former = documents[key]
        if let former {
            types[key.type]!.remove(former.digest)
            if let network = former.network { remove(former.digest, fromNetwork: network) }
        }
        documents[key] = entry
        if let entry {
            types[key.type, default: DocumentSetDigest()].add(entry.digest)
            if let network = entry.network { networks[network, default: DocumentSetDigest()].add(entry.digest) }
        }
        return former
    }

    private mutating func remove(_ digest: DocumentDigest, fromNetwork network: String) {
        networks[network]!.remove(digest)
        if networks[network]!.count == 0 { networks[network] = nil }
    }
}

extension NetworkState {
    /// What is held of each type.
    public var typeDigests: [DocumentType: DocumentSetDigest] {
        Dictionary(uniqueKeysWithValues: DocumentType.allCases.map { ($0, digests.types[$0] ?? DocumentSetDigest()) })
    }

    /// What is held of each network: itself, its subnets and its ports.
    public var networkDigests: [String: DocumentSetDigest] { digests.networks }

    /// The documents of a network.
    public func digests(ofNetwork network: String) -> [DocumentKey: DocumentDigest] {
        digests.documents.filter { $0.value.network == network }.mapValues(\.digest)
    }

    public func digests(of type: DocumentType) -> [DocumentKey: DocumentDigest] {
        digests.documents.filter { $0.key.type == type }.mapValues(\.digest)
    }
}
