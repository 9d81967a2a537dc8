import Synchronization

/// Which ports are live, by index: what fast failover groups watch. One writer, the control plane.
struct PortLiveness {
    private let ports: UnsafeMutablePointer<Atomic<Bool>>

    /// Every port is.
    init() {
        ports = .allocate(capacity: PortIndex.capacity)
        for port in 0..<PortIndex.capacity { (ports + port).initialize(to: Atomic(true)) }
    }

    func free() { ports.deallocate() }

    @inline(__always)
    func isLive(_ port: UInt16) -> Bool { ports[Int(port)].load(ordering: .relaxed) }

    func set(_ port: PortIndex, _ isLive: Bool) { ports[Int(port.value)].store(isLive, ordering: .relaxed) }
}
