import Dataplane
import Networking

extension Switch {
    /// - Throws: `Refusal` for a port of which there is no document.
    func listSecurityGroups(_ request: SecurityGroupList) throws(Refusal) -> SecurityGroupList.Response {
        let groups = network.securityGroupsInOrder
        guard let id = request.port else { return SecurityGroupList.Response(groups: groups.map(describe)) }
        guard let port = network.port(id) else {
            throw Refusal("there is no document of port '\(id.prefix(80))': network show lists those of a network")
        }
        let chosen = groups.filter { port.security.groups.contains($0.id) }
        return SecurityGroupList.Response(groups: chosen.map(describe))
    }

    /// - Throws: `Refusal` for a group that is not known.
    func showSecurityGroup(_ request: SecurityGroupShow) throws(Refusal) -> SecurityGroupShow.Response {
        guard let group = network.securityGroup(request.id) else {
            throw Refusal(
                "security group '\(request.id.prefix(80))' is not known, or its name is several groups': "
                    + "group list shows ids"
            )
        }
        let named = Set(group.rules.compactMap(\.remoteGroup)).union([group.id])
        return SecurityGroupShow.Response(
            group: describe(group),
            rules: group.rules.map(SecurityGroupShow.Rule.init),
            ports: network.portsHere(in: group.id).map { port in
                SecurityGroupShow.Port(
                    id: port.id,
                    mac: port.mac,
                    fixedIPs: port.addresses.map(\.description),
                    port: ports[port.deviceName] == nil ? nil : port.deviceName
                )
            },
            members: Dictionary(uniqueKeysWithValues: named.map { ($0, network.members(of: $0)) })
        )
    }

    private func describe(_ group: SecurityGroupDocument) -> SecurityGroupDescription {
        SecurityGroupDescription(
            id: group.id,
            name: group.name,
            stateful: group.isStateful,
            rules: group.rules.count,
            ports: network.portsHere(in: group.id).count,
            members: network.memberCount(of: group.id),
            flows: network.flowCount(of: group)
        )
    }
}

extension SecurityGroupShow.Rule {
    fileprivate init(_ rule: SecurityGroupDocument.Rule) {
        id = rule.id
        direction = rule.direction.rawValue
        ethertype = rule.family.rawValue
        `protocol` = rule.protocolName
        (least, greatest) = (rule.ports?.least, rule.ports?.greatest)
        remoteGroup = rule.remoteGroup
        remotePrefix = if case .prefix(let prefix)? = rule.remote { prefix.description } else { nil }
    }
}
