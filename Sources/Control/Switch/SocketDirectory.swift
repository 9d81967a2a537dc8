import Glibc

/// The directory of the guests' sockets that documents may name: who writes documents has no say over other files.
public struct SocketDirectory: Sendable {
    public let path: String
    private let reserved: Set<String>

    /// - Parameter reserved: files that are no guest's, though they may be there.
    public init(_ path: String, reserved: Set<String> = []) {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        self.path = path
        self.reserved = reserved
    }

    /// Why a document must not name this socket, and the mend; nil when it may.
    ///
    /// Whoever writes in the directory can make a link later: that is for its rights to prevent.
    func objection(to socket: String) -> String? {
        let shown = socket.prefix(120)
        let prefix = Array((path == "/" ? path : path + "/").utf8)
        let name = Array(socket.utf8.dropFirst(prefix.count))
        let hasName = !name.isEmpty && name != Array(".".utf8) && name != Array("..".utf8)
        guard socket.utf8.starts(with: prefix), hasName, !name.contains(UInt8(ascii: "/")) else {
            return "path '\(shown)' is not directly in \(path): put the socket there, or set vif-dir"
        }
        if reserved.contains(socket) { return "path '\(shown)' is martletd's own: take another one" }
        for file in [path, socket] where Self.isLink(file) {
            return "path '\(shown)' goes through a symbolic link, '\(file.prefix(120))': name the place itself"
        }
        return nil
    }

    private static func isLink(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }
}
