import Flows

/// Groups to be written down outside the switch.
struct GroupListing: Sendable {
    let groups: [Group]
    /// Empty where numbers are wanted.
    let names: [FlowPort: String]

    var response: GroupDump.Response { GroupDump.Response(groups: groups.map(describe)) }

    private func name(_ port: FlowPort) -> String? { names[port] }

    private func describe(_ group: Group) -> GroupDescription {
        GroupDescription(
            identifier: group.identifier,
            type: group.kind.rawValue,
            selectionMethod: group.selectionMethod?.rawValue,
            buckets: group.buckets.map { bucket in
                GroupDescription.Bucket(
                    identifier: bucket.identifier,
                    weight: group.kind == .select ? bucket.weight : nil,
                    watchPort: bucket.watchPort.map { name($0) ?? String($0.rawValue) },
                    watchGroup: bucket.watchGroup,
                    actions: FlowText.print(bucket.actions, names: name)
                )
            },
            group: FlowText.print(group, names: name)
        )
    }
}
