import Glibc

/// Why the control socket cannot listen: one sentence with its path and what to do.
public struct SocketError: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// The file that clients connect to.
struct ListeningSocket {
    let path: String
    let descriptor: CInt
    /// The group whose members may connect, besides root and the daemon's user.
    let group: gid_t
    private let identity: FileIdentity

    /// Binds `path` with mode 0660 and listens. A socket that a dead daemon left is replaced.
    ///
    /// Nobody can connect before `listen`, so nobody connects before the mode is set.
    /// - Throws: `SocketError` for a path that is too long or something else, or when a daemon listens there.
    init(path: String) throws {
        try Self.clear(path)
        let descriptor = socket(AF_UNIX, streamType, 0)
        guard descriptor >= 0 else { throw SocketError("control socket: \(Self.lastError)") }
        do {
            let failed = try withSocketAddress(path) { bind(descriptor, $0, $1) != 0 }
            guard !failed, chmod(path, 0o660) == 0, listen(descriptor, Self.backlog) == 0 else {
                throw SocketError(
                    "control socket '\(path)' cannot be made (\(Self.lastError)): create its directory, with rights to "
                        + "write, or give another --socket"
                )
            }
        } catch {
            close(descriptor)
            throw error
        }
        var status = stat()
        _ = stat(path, &status)
        self.path = path
        self.descriptor = descriptor
        group = status.st_gid
        identity = FileIdentity(status)
    }

    /// Removes the file, unless it is another daemon's by now.
    func unlinkFile() {
        var status = stat()
        if stat(path, &status) == 0, FileIdentity(status) == identity { unlink(path) }
    }

    /// Clients that may wait to be accepted: as many as may be connected.
    private static let backlog: CInt = 64

    /// Inode numbers are used again at once; the time of creation, which chmod(1) and chgrp(1) leave alone, is not.
    private struct FileIdentity: Equatable {
        let inode: ino_t
        let seconds: Int
        let nanoseconds: Int

        init(_ status: stat) {
            inode = status.st_ino
            seconds = status.st_mtim.tv_sec
            nanoseconds = status.st_mtim.tv_nsec
        }
    }

    private static func clear(_ path: String) throws {
        guard let kind = fileKind(path) else { return }
        guard kind == S_IFSOCK else {
            throw SocketError("'\(path)' is \(fileKindWords(kind)) and no socket: remove it or give another --socket")
        }
        let probe = socket(AF_UNIX, streamType, 0)
        defer { close(probe) }
        let refused = try withSocketAddress(path) { connect(probe, $0, $1) != 0 && errno == ECONNREFUSED }
        guard refused else {
            throw SocketError("another martletd listens on '\(path)': stop it or give another --socket")
        }
        unlink(path)
    }

    private static var lastError: String { String(cString: strerror(errno)) }
}

/// A stream socket that never blocks and is not inherited: socket(2).
private let streamType = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)

/// Calls `body` with the address of a Unix socket.
/// - Throws: `SocketError` for a path of more than 107 bytes.
func withSocketAddress<Result>(
    _ path: String,
    _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) throws -> Result {
    var address = sockaddr_un()
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard path.utf8.count < capacity else {
        throw SocketError(
            "socket path '\(path)' has \(path.utf8.count) bytes: the kernel takes \(capacity - 1) at most"
        )
    }
    address.sun_family = sa_family_t(AF_UNIX)
    // The path and its terminating zero fit, as checked above; the rest of the field is zero already.
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
}
