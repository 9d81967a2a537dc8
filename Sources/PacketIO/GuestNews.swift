import Glibc
import Synchronization

/// What happens to guests between two looks at all of them: one connects or leaves, or a socket comes up that one listens on.
///
/// librte_vhost looks once a second for a guest that was not there, which is long for one that just started.
final class GuestNews: Sendable {
    private let hasLinkNews = Atomic(false)
    /// inotify(7); -1 when the kernel has no instance left, and sockets are found within librte_vhost's second.
    private let descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// A guest has connected, or has left.
    func noteLink() { hasLinkNews.store(true, ordering: .releasing) }

    /// Follows what comes into a directory, for good: there are few.
    /// - Returns: false when nobody will hear of it.
    func follow(_ directory: String) -> Bool {
        inotify_add_watch(descriptor, directory, UInt32(IN_CREATE | IN_MOVED_TO)) >= 0
    }

    /// Takes what there is since the last call. A system call, for any thread.
    /// - Returns: whether there was anything. What it was is looked for, so that events which are left for the next call do
    ///   no harm.
    func take() -> Bool {
        let hasLink = hasLinkNews.exchange(false, ordering: .acquiring)
        let hasSocket = withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            read(descriptor, buffer.baseAddress!, buffer.count) > 0
        }
        return hasLink || hasSocket
    }
}
