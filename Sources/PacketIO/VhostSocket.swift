import Dataplane
import Glibc

/// The Unix socket that a guest's vhost-user messages come over.
enum VhostSocket {
    /// Makes sure that a path can be opened, and removes the socket that a dead process left there.
    static func claim(_ path: String, mode: PortType.VhostMode) throws(Refusal) {
        let directory = directory(of: path)
        guard access(directory, F_OK) == 0 else {
            throw Refusal("directory '\(directory)' of socket '\(path)' does not exist: make it first")
        }
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw Refusal("'\(path)' exists and is no socket: move it away or choose another path")
        }
        guard mode == .server else { return }
        guard !isListening(path) else {
            throw Refusal("'\(path)' is in use by another process: use mode=client, or choose another path")
        }
        // bind(2) would refuse it.
        unlink(path)
    }

    /// - Parameter path: an absolute one.
    static func directory(of path: String) -> String {
        let directory = path[..<path.lastIndex(of: "/")!]
        return directory.isEmpty ? "/" : String(directory)
    }

    private static func isListening(_ path: String) -> Bool {
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { Glibc.close(socket) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
    }

    /// Has librte_vhost hang up on a guest that sends half a message, or that never reads its replies.
    ///
    /// It talks to all guests on one thread, with calls that block; an honest guest's message is whole when it comes,
    /// and its socket never holds more than one reply.
    static func limitWaiting(on path: String) {
        for descriptor in openDescriptors() where isConnection(descriptor, on: path) {
            var limit = timeval(tv_sec: 0, tv_usec: 50_000)
            for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
                setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
            }
        }
    }

    private static func openDescriptors() -> [Int32] {
        guard let directory = opendir("/proc/self/fd") else { return [] }
        defer { closedir(directory) }
        var descriptors: [Int32] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let descriptor = Int32(name) { descriptors.append(descriptor) }
        }
        return descriptors
    }

    /// librte_vhost does not tell a connection's descriptor; its address does: the switch's own end has the path if the
    /// switch listens, the guest's end if the guest does.
    private static func isConnection(_ descriptor: Int32, on path: String) -> Bool {
        Self.path(descriptor, getpeername) == path || Self.path(descriptor, getsockname) == path
    }

    private static func path(
        _ descriptor: Int32,
        _ end: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> String? {
        var address = sockaddr_un()
        var length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { end(descriptor, $0, &length) }
        }
        guard status == 0, address.sun_family == sa_family_t(AF_UNIX) else { return nil }
        return withUnsafeBytes(of: &address.sun_path) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}
