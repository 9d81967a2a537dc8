import CDPDK
import Dataplane
import Glibc
import PacketIO
import Synchronization
import Testing

/// The one packet engine of the test process: DPDK starts once. Its worker polls lcore 1.
///
/// Without root, or with one processor only, every test that asks for it fails with the engine's own words.
enum Engine {
    private static let result: Result<PacketEngine, Refusal> = {
        var options = PacketEngineOptions()
        options.eal.withoutHugepages = true
        options.eal.socketMemory = [128]
        options.eal.filePrefix = "martlet-tests-\(getpid())"
        // The other tests of this process want the processor as well.
        options.idleSleep = 100
        do throws(Refusal) { return .success(try PacketEngine(options)) } catch { return .failure(error) }
    }()

    static func shared() throws -> PacketEngine { try result.get() }

    /// Packet pools that DPDK has for the engine.
    static var poolCount: Int {
        var count = 0
        while rte_mempool_lookup("martlet_buffers_\(count)") != nil { count += 1 }
        return count
    }

    /// Packet buffers that somebody holds: in a queue of a device or of the switch.
    static var buffersInUse: Int {
        (0..<poolCount).reduce(0) { $0 + Int(rte_mempool_in_use_count(rte_mempool_lookup("martlet_buffers_\($1)"))) }
    }
}

/// Waits for a condition that workers bring about.
/// - Returns: whether it came within ten seconds.
func eventually(_ condition: () -> Bool) async -> Bool {
    let limit = ContinuousClock.now + .seconds(10)
    while !condition() {
        guard ContinuousClock.now < limit else { return false }
        try? await Task.sleep(for: .milliseconds(1))
    }
    return true
}

/// A directory of a test's own, gone with it.
final class Scratch {
    let path: String

    init() {
        var template = Array("/tmp/martlet-tests-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template)!)
    }

    deinit {
        for name in ["in.pcap", "out.pcap", "file", "a.sock"] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// Capture files of the old format (pcap-savefile(5)): 24 bytes, then 16 and the frame for each.
enum Savefile {
    static func write(_ frames: [[UInt8]], to path: String) throws {
        var bytes: [UInt8] = number(0xa1b2_c3d4) + [2, 0, 4, 0] + number(0) + number(0) + number(65_535) + number(1)
        for frame in frames {
            bytes += number(0) + number(0) + number(UInt32(frame.count)) + number(UInt32(frame.count)) + frame
        }
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        try #require(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    static func read(_ path: String) throws -> [[UInt8]] {
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        var rest = bytes[..<fread(&bytes, 1, bytes.count, file)]
        rest = bytes[24..<rest.endIndex]
        var frames: [[UInt8]] = []
        while rest.count >= 16 {
            let length = (0..<4).reduce(0) { $0 | Int(rest[rest.startIndex + 8 + $1]) << (8 * $1) }
            frames.append(Array(rest.dropFirst(16).prefix(length)))
            rest = rest.dropFirst(16 + length)
        }
        return frames
    }

    private static func number(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}

/// An Ethernet frame of 60 bytes and more, with the last octets of its addresses and a number in its payload.
func frame(to destination: UInt8, from source: UInt8, type: [UInt8] = [8, 0], _ number: Int, length: Int = 60)
    -> [UInt8]
{
    let head: [UInt8] = [2, 0, 0, 0, 0, destination, 2, 0, 0, 0, 0, source] + type
    return head + [UInt8(number >> 8), UInt8(number & 0xff)] + .init(repeating: 0x5a, count: length - 16)
}
