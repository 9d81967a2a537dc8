import Foundation
import Glibc
import Testing

@testable import Control

@Suite struct ListeningSocketTests {
    private let home = TemporaryDirectory()
    private var path: String { home.path + "/s" }

    @Test func isForItsOwnerAndGroupOnly() throws {
        let socket = try ListeningSocket(path: path)
        defer { close(socket.descriptor) }
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o660)
        #expect(socket.group == status.st_gid)
    }

    @Test func replacesTheSocketOfADeadDaemon() throws {
        let dead = try ListeningSocket(path: path)
        close(dead.descriptor)
        let socket = try ListeningSocket(path: path)
        // The dead one's file is gone: it must not take the new one's.
        dead.unlinkFile()
        #expect(fileKind(path) == S_IFSOCK)
        socket.unlinkFile()
        #expect(fileKind(path) == nil)
        close(socket.descriptor)
    }

    @Test func leavesALiveDaemonAlone() throws {
        let live = try ListeningSocket(path: path)
        defer { close(live.descriptor) }
        let error = #expect(throws: SocketError.self) { try ListeningSocket(path: path) }
        #expect(error?.description.contains("another martletd listens on '\(path)'") == true)
        #expect(fileKind(path) == S_IFSOCK)
    }

    @Test func leavesARegularFileAlone() throws {
        try Data("precious".utf8).write(to: URL(filePath: path))
        let error = #expect(throws: SocketError.self) { try ListeningSocket(path: path) }
        #expect(error?.description.contains("'\(path)' is a regular file and no socket: remove it") == true)
        #expect(try Data(contentsOf: URL(filePath: path)) == Data("precious".utf8))
    }

    @Test func refusesALongPathAndAMissingDirectory() {
        let long = "/tmp/" + String(repeating: "x", count: 103)
        let error = #expect(throws: SocketError.self) { try ListeningSocket(path: long) }
        #expect(error?.description.contains("has 108 bytes: the kernel takes 107 at most") == true)
        let missing = #expect(throws: SocketError.self) { try ListeningSocket(path: "/nowhere/s") }
        #expect(missing?.description.contains("create its directory") == true)
    }

    @Test func knowsItsPeer() throws {
        var pair: [CInt] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        defer { for end in pair { close(end) } }
        let peer = try #require(Peer(descriptor: pair[0]))
        #expect(peer.user == geteuid())
        #expect(peer.process == getpid())
        #expect(peer.mayControl(group: .max))
    }

    @Test func admitsRootItselfAndTheGroup() {
        #expect(Peer(user: 0, process: 1, groups: []).mayControl(group: 5))
        #expect(Peer(user: geteuid(), process: 1, groups: []).mayControl(group: 5))
        #expect(Peer(user: 4_000_000, process: 1, groups: [4, 5]).mayControl(group: 5))
        #expect(!Peer(user: 4_000_000, process: 1, groups: [4, 6]).mayControl(group: 5))
    }
}
