// Groups (ovs-ofctl(8), 'Group Syntax').
extension FlowParser {
    func group() throws(FlowSyntaxError) -> Group {
        let (head, buckets) = divideBuckets()
        var group = Group(identifier: 0, kind: .all)
        var (hasIdentifier, hasKind) = (false, false)
        var rest = head
        while let pair = try source.nextPair(&rest) {
            switch true {
            case source.isEqual(pair.key, "group_id"):
                group.identifier = try source.number(pair.value, "a group", atMost: Group.greatestIdentifier)
                hasIdentifier = true
            case source.isEqual(pair.key, "type"):
                group.kind = try kind(pair.value)
                hasKind = true
            default: try selection(pair, &group)
            }
        }
        guard hasIdentifier, hasKind else {
            throw source.error(source.line, "a group needs group_id= and type=")
        }
        try checkSelection(group)
        group.buckets = try self.buckets(buckets, group.kind)
        guard group.kind != .indirect || group.buckets.count == 1 else {
            let place = buckets.count > 1 ? buckets[1] : source.trimmed(source.line)
            throw source.error(place, "an indirect group has one bucket")
        }
        return group
    }

    /// What stands before the first `bucket=`, and after each.
    private func divideBuckets() -> (head: Slice, buckets: [Slice]) {
        var head = source.line
        var buckets: [Slice] = []
        var offset = source.line.start
        while offset + 7 <= source.line.end {
            if source.isEqual(Slice(start: offset, end: offset + 7), "bucket=") {
                if buckets.isEmpty { head.end = offset } else { buckets[buckets.count - 1].end = offset }
                buckets.append(Slice(start: offset + 7, end: source.line.end))
                offset += 6
            }
            offset += 1
        }
        return (head, buckets)
    }

    private func kind(_ slice: Slice) throws(FlowSyntaxError) -> Group.Kind {
        if source.isEqual(slice, "fast_failover") { return .fastFailover }
        guard let kind = Group.Kind(rawValue: source.string(slice)) else {
            throw source.error(
                slice,
                "\(source.quoted(slice)) is not a type of group; allowed are all, select, indirect, ff"
            )
        }
        return kind
    }

    private func selection(_ pair: KeyValue, _ group: inout Group) throws(FlowSyntaxError) {
        switch true {
        case source.isEqual(pair.key, "selection_method"):
            guard let method = Group.SelectionMethod(rawValue: source.string(pair.value)) else {
                throw source.error(
                    pair.value,
                    "\(source.quoted(pair.value)) is not a selection method; allowed are hash and dp_hash"
                )
            }
            group.selectionMethod = method
        case source.isEqual(pair.key, "selection_method_param"):
            group.selectionParameter = try source.number(pair.value, "a parameter", atMost: UInt64.max)
        case source.isEqual(pair.key, "fields"): group.hashFields = try hashFields(pair.value)
        default:
            throw source.error(
                pair.key,
                "\(source.quoted(pair.key)) is unknown; allowed are group_id, type, selection_method, "
                    + "selection_method_param, fields, bucket"
            )
        }
    }

    private func checkSelection(_ group: Group) throws(FlowSyntaxError) {
        guard group.selectionMethod == nil || group.kind == .select else {
            throw source.error(source.line, "only a select group has a selection method")
        }
        guard group.hashFields.isEmpty || group.selectionMethod == .hash else {
            throw source.error(source.line, "fields need selection_method=hash")
        }
        guard group.selectionParameter == 0 || group.selectionMethod != nil else {
            throw source.error(source.line, "selection_method_param needs selection_method")
        }
    }

    /// Fields, each with a mask as its value or whole; kept in the order of `Field`.
    private func hashFields(_ slice: Slice) throws(FlowSyntaxError) -> [Group.HashField] {
        var fields: [Group.HashField] = []
        var rest = slice
        while let pair = try source.nextPair(&rest) {
            guard let field = Self.fields.lookUp(source, pair.key) else {
                throw source.error(pair.key, "\(source.quoted(pair.key)) is not a field")
            }
            guard !fields.contains(where: { $0.field == field }) else {
                throw source.error(pair.key, "the field \(source.quoted(pair.key)) is given twice")
            }
            let mask = pair.value.isEmpty ? field.fullMask : try value(of: field, pair.value).value
            guard mask != 0, field.isMaskable || mask == field.fullMask else {
                throw source.error(pair.value, "\(source.quoted(pair.value)) is not a mask that \(field.name) may have")
            }
            fields.append(Group.HashField(field: field, mask: mask))
        }
        return fields.sorted { $0.field.rawValue < $1.field.rawValue }
    }

    /// The buckets; one without a number gets the least that none has.
    private func buckets(_ texts: [Slice], _ kind: Group.Kind) throws(FlowSyntaxError) -> [Bucket] {
        var buckets: [Bucket] = []
        var unnumbered: [Int] = []
        var taken: Set<UInt32> = []
        for text in texts {
            let (bucket, hasIdentifier) = try bucket(text, kind)
            if hasIdentifier {
                guard taken.insert(bucket.identifier).inserted else {
                    throw source.error(text, "two buckets have the number \(bucket.identifier)")
                }
            } else {
                unnumbered.append(buckets.count)
            }
            buckets.append(bucket)
        }
        var next: UInt32 = 0
        for index in unnumbered {
            while taken.contains(next) { next += 1 }
            buckets[index].identifier = next
            next += 1
        }
        return buckets
    }

    private func bucket(_ slice: Slice, _ kind: Group.Kind) throws(FlowSyntaxError) -> (Bucket, Bool) {
        var bucket = Bucket(identifier: 0, weight: kind == .select ? 1 : 0)
        var hasIdentifier = false
        var hasActions = false
        var reader = ActionParser(parser: self, place: .bucket)
        var rest = slice
        while let pair = try source.nextPair(&rest) {
            switch true {
            case source.isEqual(pair.key, "weight"): bucket.weight = try source.number(pair.value, "a weight")
            case source.isEqual(pair.key, "watch_port"): bucket.watchPort = try watchPort(pair.value)
            case source.isEqual(pair.key, "watch_group"):
                bucket.watchGroup = try watchGroup(pair.value)
            case source.isEqual(pair.key, "bucket_id"):
                bucket.identifier = try source.number(pair.value, "a bucket", atMost: Group.greatestIdentifier)
                hasIdentifier = true
            case source.isEqual(pair.key, "actions"), source.isEqual(pair.key, "action"):
                // The value ends at the first comma; the other actions follow as pairs of their own.
                bucket.actions += try reader.list(pair.value)
                hasActions = true
            default:
                bucket.actions += try reader.list(pair.whole(in: source))
                hasActions = true
            }
        }
        guard hasActions else { throw source.error(slice, "a bucket needs actions") }
        guard kind != .fastFailover || bucket.watchPort != nil || bucket.watchGroup != nil else {
            throw source.error(slice, "a bucket of a fast failover group needs watch_port or watch_group")
        }
        guard kind == .select || bucket.weight == 0 else {
            throw source.error(slice, "only buckets of select groups have a weight")
        }
        return (bucket, hasIdentifier)
    }

    private func watchPort(_ slice: Slice) throws(FlowSyntaxError) -> FlowPort? {
        let port = try port(slice)
        guard port.isOrdinary || port == .none else {
            throw source.error(slice, "\(source.quoted(slice)) cannot be watched; allowed are ports of the bridge")
        }
        // To watch a port is to name it.
        if objects?(.output(port)) == true { throw source.error(slice, "objected to") }
        return port == .none ? nil : port
    }

    private func watchGroup(_ slice: Slice) throws(FlowSyntaxError) -> UInt32 {
        let group = try source.number(slice, "a group", atMost: Group.greatestIdentifier)
        if objects?(.group(group)) == true { throw source.error(slice, "objected to") }
        return group
    }
}

extension KeyValue {
    /// From the key to the end of the value and of the parenthesis around it.
    func whole(in source: FlowSource) -> Slice {
        let closes =
            delimiter == UInt8(ascii: "(") && value.end < source.line.end
            && source[value.end] == UInt8(ascii: ")")
        return Slice(start: key.start, end: max(key.end, value.end) + (closes ? 1 : 0))
    }
}

extension TextOutput {
    /// A group as `ovs-ofctl -O OpenFlow15 dump-groups` prints it.
    mutating func group(_ group: Group) {
        put("group_id=\(group.identifier),type=\(group.kind.rawValue)")
        if let method = group.selectionMethod {
            put(",selection_method=\(method.rawValue)")
            if group.selectionParameter != 0 { put(",selection_method_param=\(group.selectionParameter)") }
            hashFields(group.hashFields)
        }
        for bucket in group.buckets {
            put(",bucket=bucket_id:\(bucket.identifier),")
            if bucket.weight != (group.kind == .select ? 1 : 0) { put("weight:\(bucket.weight),") }
            if let port = bucket.watchPort {
                put("watch_port:")
                self.port(port)
                put("," as Unicode.Scalar)
            }
            if let watched = bucket.watchGroup { put("watch_group:\(watched),") }
            put("actions=")
            actions(bucket.actions)
        }
    }

    /// One field after `=`, several in parentheses.
    private mutating func hashFields(_ fields: [Group.HashField]) {
        guard !fields.isEmpty else { return }
        put(fields.count == 1 ? ",fields=" : ",fields(")
        for field in fields {
            put(field.field.name)
            if field.mask != field.field.fullMask {
                put("=" as Unicode.Scalar)
                value(of: field.field, field.mask, mask: field.field.fullMask)
            }
            put("," as Unicode.Scalar)
        }
        dropComma()
        if fields.count > 1 { put(")" as Unicode.Scalar) }
    }
}
