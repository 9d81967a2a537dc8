import Dataplane

// Groups choose buckets by the links of ports, and the workers learn of those here.
extension Switch {
    /// Tells the dataplane which of the ports that groups watch have lost or found their link.
    func followLinks() {
        guard watchedPorts.contains(where: { !$0.value.isEmpty }) else { return }
        for port in ports.values {
            let record = port.record
            guard watchedPorts[record.bridge]?.contains(record.number.value) == true else { continue }
            let hasLink = hasLink(port)
            // What nothing was said of is live to the dataplane.
            guard hasLink == deadPorts.contains(port.index) else { continue }
            if hasLink { deadPorts.remove(port.index) } else { deadPorts.insert(port.index) }
            dataplane.setLive(port: port.index, hasLink)
            logger.info("link changed", metadata: ["port": "\(record.name)", "link": "\(hasLink ? "up" : "down")"])
        }
    }

    /// Whether a packet sent to the port now would reach somebody.
    func hasLink(_ port: Port) -> Bool {
        guard port.failure == nil else { return false }
        return port.record.type.hasDevice ? io.hasLink(port.index) : status(of: port).linkUp
    }
}
