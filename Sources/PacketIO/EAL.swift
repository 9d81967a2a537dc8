import CDPDK
import Dataplane
import Glibc
import Synchronization

/// How DPDK's environment abstraction layer starts: once a process.
public struct EALOptions: Sendable {
    /// The lcore that control threads run beside; it polls nothing.
    public var mainLcore = 0
    /// One worker each.
    public var workerLcores = [1]
    /// Memory without hugepages: slower, no `ring` ports.
    public var withoutHugepages = false
    /// Megabytes, one number for each NUMA node or one for all of them together.
    public var socketMemory = [512]
    /// Keeps two daemons on a machine apart.
    public var filePrefix = "martlet"
    /// Passed on as they are. `--lcores=MAP` places lcores on CPUs of other numbers: mainLcore and workerLcores name
    /// lcores of that map then.
    public var extra: [String] = []

    public init() {}

    private var placesLcores: Bool { extra.contains { $0.hasPrefix("--lcores") } }

    /// The arguments that `rte_eal_init` takes.
    var arguments: [String] {
        let lcores = placesLcores ? [] : ["-l", ([mainLcore] + workerLcores).map(String.init).joined(separator: ",")]
        let memory =
            withoutHugepages
            ? ["--no-huge", "--no-shconf", "-m", "\(socketMemory.reduce(0, +))"]
            : ["--socket-mem", socketMemory.map(String.init).joined(separator: ",")]
        return ["martletd"] + lcores + ["--main-lcore", "\(mainLcore)", "--file-prefix", filePrefix]
            // No device is taken unasked: an allow list with an address that names none.
            + ["-a", "0000:00:00.0", "--no-telemetry", "--log-level", "lib.eal:warning"]
            + memory + extra
    }

    /// - Throws: `Refusal` for what DPDK would refuse less clearly.
    public func validate() throws(Refusal) {
        guard geteuid() == 0 else {
            throw Refusal("martletd must run as root: DPDK needs it for hugepages and devices")
        }
        guard !workerLcores.isEmpty else { throw Refusal("no worker lcore: give --worker-lcores, for example 1") }
        guard Set(workerLcores).count == workerLcores.count else {
            throw Refusal("worker lcores \(workerLcores) name one twice")
        }
        guard !workerLcores.contains(mainLcore) else {
            throw Refusal("lcore \(mainLcore) cannot be both main and worker: change --main-lcore or --worker-lcores")
        }
        let count = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        for lcore in [mainLcore] + workerLcores where !placesLcores && (lcore < 0 || lcore >= count) {
            throw Refusal("lcore \(lcore) does not exist: this machine has lcores 0 to \(count - 1)")
        }
        guard !filePrefix.isEmpty, filePrefix.wholeMatch(of: /[A-Za-z0-9_.-]+/) != nil else {
            throw Refusal("file prefix '\(filePrefix)' is not a name: use letters, digits, '_', '.', '-'")
        }
    }
}

/// DPDK's environment, started.
enum EAL {
    /// Starts DPDK on the calling thread and gives the thread back every CPU that no worker polls on.
    /// - Throws: `Refusal` with what to do; the process cannot try again.
    static func start(_ options: EALOptions) throws(Refusal) {
        try options.validate()
        if !options.withoutHugepages {
            Hugepages.removeFiles(prefix: options.filePrefix)
            try Hugepages.validate(needed: options.socketMemory.reduce(0, +))
        }
        rte_openlog_stream(martlet_log_stream(EALLog.write))
        var affinity = cpu_set_t()
        pthread_getaffinity_np(pthread_self(), MemoryLayout<cpu_set_t>.size, &affinity)
        // DPDK keeps pointers into the arguments: they live as long as the process.
        var arguments = options.arguments.map { strdup($0) }
        let result = withoutOutput { martlet_eal_init(Int32(arguments.count), &arguments) }
        guard result >= 0 else {
            throw Refusal("DPDK did not start: \(EALLog.lastLine ?? EAL.words(martlet_errno())). Run martletctl doctor")
        }
        for lcore in options.workerLcores where rte_lcore_is_enabled(UInt32(lcore)) == 0 {
            throw Refusal("worker lcore \(lcore) is not in the map of --lcores: add it there")
        }
        releaseAffinity(affinity, workers: options.workerLcores.map { Int(rte_lcore_to_cpu_id(Int32($0))) })
    }

    /// DPDK prints its usage and its alarm past its own log; what is worth knowing of them is in the log as well.
    private static func withoutOutput(_ body: () -> Int32) -> Int32 {
        let former = [STDOUT_FILENO, STDERR_FILENO].map { dup($0) }
        let nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC)
        dup2(nowhere, STDOUT_FILENO)
        dup2(nowhere, STDERR_FILENO)
        let result = body()
        fflush(nil)
        for (file, copy) in zip([STDOUT_FILENO, STDERR_FILENO], former) {
            dup2(copy, file)
            close(copy)
        }
        close(nowhere)
        return result
    }

    /// Leaves DPDK and gives the hugepages back: it leaves their files behind, for secondary processes that may
    /// still run, but a switch that ends has none.
    static func stop(_ options: EALOptions) {
        rte_eal_cleanup()
        if !options.withoutHugepages { Hugepages.removeFiles(prefix: options.filePrefix) }
    }

    /// Every thread that the daemon starts from here on runs where its parent may: beside the workers, not on them.
    private static func releaseAffinity(_ former: cpu_set_t, workers processors: [Int]) {
        var affinity = former
        withUnsafeMutableBytes(of: &affinity) { bytes in
            for processor in processors { bytes[processor / 8] &= ~(1 << UInt8(processor % 8)) }
        }
        pthread_setaffinity_np(pthread_self(), MemoryLayout<cpu_set_t>.size, &affinity)
    }

    /// DPDK's error number in words.
    static func words(_ error: Int32) -> String { String(cString: rte_strerror(abs(error))) }
}

/// What DPDK says, passed on line by line.
public enum EALLog {
    /// In a struct, because a closure that is itself the value of a generic type is wrapped once more at every access.
    private struct Sink {
        var receive: @Sendable (String) -> Void = { _ in }
    }

    private static let sink = Mutex(Sink())
    private static let last = Mutex<String?>(nil)

    static var lastLine: String? { last.withLock { $0 } }

    /// Has every line of DPDK's log from now on given to `receive`, on the thread that wrote it.
    public static func forward(to receive: @escaping @Sendable (String) -> Void) {
        sink.withLock { $0.receive = receive }
    }

    static let write: martlet_log_write = { text, length in
        guard let text else { return }
        let bytes = UnsafeRawBufferPointer(start: text, count: length)
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            last.withLock { $0 = String(line) }
            sink.withLock { $0.receive }(String(line))
        }
    }
}

/// Hugepages as the kernel reports them.
enum Hugepages {
    /// - Parameter needed: megabytes.
    /// - Throws: `Refusal` when there is no hugetlbfs mount or not enough free pages.
    static func validate(needed: Int) throws(Refusal) {
        guard !mounts.isEmpty else {
            throw Refusal(
                "no hugetlbfs is mounted: run 'martletctl doctor --reserve-hugepages \(needed)' or give --no-huge"
            )
        }
        let free = freeMegabytes
        guard free >= needed else {
            throw Refusal(
                "\(needed) MB of hugepages are wanted and \(free) MB are free: "
                    + "run 'martletctl doctor --reserve-hugepages \(needed)', lower --socket-memory, or give --no-huge"
            )
        }
    }

    /// Removes the files of a prefix that no process uses any more: DPDK holds a lock on each of its own
    /// (eal_memalloc.c), and a daemon that was killed would find its former pages missing from the free ones.
    static func removeFiles(prefix: String) {
        for directory in mounts {
            var found = glob_t()
            guard glob("\(directory)/\(prefix)map_*", 0, nil, &found) == 0 else { continue }
            for index in 0..<Int(found.gl_pathc) {
                let file = open(found.gl_pathv[index]!, O_RDWR | O_CLOEXEC)
                guard file >= 0 else { continue }
                if flock(file, LOCK_EX | LOCK_NB) == 0 { unlink(found.gl_pathv[index]!) }
                close(file)
            }
            globfree(&found)
        }
    }

    /// The directories where a hugetlbfs is mounted.
    private static var mounts: [String] {
        lines(of: "/proc/mounts").compactMap { line -> String? in
            let fields = line.split(separator: " ")
            return fields.count > 2 && fields[2] == "hugetlbfs" ? String(fields[1]) : nil
        }
    }

    /// Free pages of every size.
    private static var freeMegabytes: Int {
        let sizes = [2048, 1_048_576]
        return sizes.reduce(0) { sum, kilobytes in
            let path = "/sys/kernel/mm/hugepages/hugepages-\(kilobytes)kB/free_hugepages"
            return sum + (lines(of: path).first.flatMap { Int($0) } ?? 0) * kilobytes / 1024
        }
    }

    private static func lines(of path: String) -> [Substring] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var text = [UInt8](repeating: 0, count: 65_536)
        let length = fread(&text, 1, text.count, file)
        return String(decoding: text[..<length], as: UTF8.self).split(separator: "\n")
    }
}
