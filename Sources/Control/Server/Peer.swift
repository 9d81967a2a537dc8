import Glibc

/// Who is at the other end of a Unix socket: unix(7), SO_PEERCRED and SO_PEERGROUPS.
struct Peer {
    let user: uid_t
    let process: pid_t
    private let groups: Set<gid_t>

    /// From Linux 4.13, asm-generic/socket.h; glibc's header has it behind a macro that does not import.
    private static let peerGroups: CInt = 59

    init(user: uid_t, process: pid_t, groups: Set<gid_t>) {
        self.user = user
        self.process = process
        self.groups = groups
    }

    /// - Returns: nil when the kernel does not say.
    init?(descriptor: CInt) {
        // struct ucred: also behind a macro.
        var credentials: (process: pid_t, user: uid_t, group: gid_t) = (0, 0, 0)
        var length = socklen_t(MemoryLayout.size(ofValue: credentials))
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        user = credentials.user
        process = credentials.process
        // NGROUPS_MAX is 65,536; who has more groups than this is judged by the first.
        var list = [gid_t](repeating: 0, count: 1024)
        length = socklen_t(list.count * MemoryLayout<gid_t>.size)
        let answered = getsockopt(descriptor, SOL_SOCKET, Self.peerGroups, &list, &length) == 0
        let supplementary = answered ? Int(length) / MemoryLayout<gid_t>.size : 0
        groups = Set(list.prefix(supplementary)).union([credentials.group])
    }

    /// Root, the daemon's own user, or a member of the socket's group.
    func mayControl(group: gid_t) -> Bool {
        user == 0 || user == geteuid() || groups.contains(group)
    }
}
