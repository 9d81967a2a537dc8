import Dataplane

/// What is behind an open port, on the control plane's side.
protocol Device: AnyObject {
    /// How the workers reach it.
    var slot: DeviceSlot { get }
    var queueCount: Int { get }
    /// Packet buffers reserved for it.
    var buffers: BufferPools.Reservation { get }

    /// Lets packets in, once the workers know the device.
    func start() throws(Refusal)

    var hasLink: Bool { get }

    /// - Parameter lcore: which lcore polls a queue.
    func status(lcore: (Int) -> Int?) -> PortStatus

    /// Releases everything. No worker uses the device any more.
    func close()
}
