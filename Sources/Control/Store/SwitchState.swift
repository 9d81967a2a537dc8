import Dataplane
import Flows
import Networking
import Wire

/// What the state file keeps: everything an operator said.
struct SwitchState: Hashable, Sendable {
    var bridges: [String: BridgeSettings] = [:]
    var ports: [String: PortRecord] = [:]
    /// Static FDB entries, and the port each leads to.
    var stations: [Station: String] = [:]
    /// Receive queues that an operator gave to a worker, by the worker's lcore.
    var pins: [Pin: Int] = [:]
    /// The flows that outlive the daemon, in the order they were added.
    var flows: [FlowRecord] = []
    var groups: [NumberedRecord<Group>] = []
    var meters: [NumberedRecord<Meter>] = []
    var addressSets: [String: Set<AddressSetMember>] = [:]
    var tracking: TrackingSettings?
    /// Of desired state, as they were said.
    var documents: [String] = []
    var outdated = OutdatedRevisions.Change()
}

/// A port as an operator defined it.
struct PortRecord: Hashable, Sendable {
    let name: String
    let bridge: String
    let number: PortNumber
    let type: PortType
    let mtu: Int
    var vlan: VLANPolicy
    /// Whether it is there because documents want it, and goes when they do not.
    var isPlanned = false

    /// The longest frame sent to the port: the MTU and the Ethernet header.
    var frameLength: Int { mtu + 14 }
}

/// A station of one bridge and VLAN.
struct Station: Hashable, Sendable {
    let bridge: String
    let mac: MACAddress
    let vlan: VLANID
}

/// A receive queue of a port.
struct Pin: Hashable, Sendable {
    let port: String
    let queue: Int
}
