import Wire

extension TunnelOptions {
    /// - Throws: `Refusal` for a missing or unusable value.
    init(_ type: TunnelType, _ options: inout PortOptions) throws(Refusal) {
        let local = try options.address("local_ip")
        let remote = try options.remote()
        self.init(type: type, local: local, remote: remote, key: try options.key(of: type))
        if let local, case .fixed(let remote) = remote, local.isIPv4 != remote.isIPv4 {
            throw Refusal("local_ip \(local) and remote_ip \(remote) are not of one kind: give both of IPv4 or of IPv6")
        }
        ttl = try options.inherited("ttl", in: 1...255, default: ttl)
        tos = try options.inherited("tos", in: 0...255, default: tos)
        forbidsFragments = try options.flag("df", default: forbidsFragments)
        hasChecksum = try options.flag("csum", default: hasChecksum)
        if let usual = type.usualPort {
            port = UInt16(try options.number("dst_port", in: 1...65_535, default: Int(usual)))
        }
    }

    /// As `port add --option` takes them, defaults included.
    var options: [String: String] {
        var options = [
            "ttl": ttl.text, "tos": tos.text, "df": "\(forbidsFragments)", "csum": "\(hasChecksum)",
        ]
        if let local { options["local_ip"] = "\(local)" }
        switch remote {
        case .fixed(let address): options["remote_ip"] = "\(address)"
        case .flow: options["remote_ip"] = "flow"
        }
        switch key {
        case .fixed(let key): options["key"] = "\(key)"
        case .flow: options["key"] = "flow"
        case nil: break
        }
        if let port { options["dst_port"] = "\(port)" }
        return options
    }
}

extension EndpointOptions {
    /// - Throws: `Refusal` for a missing or unusable value.
    init(_ options: inout PortOptions) throws(Refusal) {
        let prefix = try options.prefix("address")
        let mac = try options.stationAddress("mac") ?? .random
        self.init(prefix: prefix, mac: mac, fragments: try options.fragments("fragments", default: .drop))
        gateways = try options.addresses("gateway")
        guard gateways.count <= Self.gatewayLimit else {
            throw Refusal("option gateway names \(gateways.count) gateways: at most \(Self.gatewayLimit)")
        }
        if let other = gateways.first(where: { !prefix.contains($0) || $0 == prefix.address }) {
            throw Refusal("gateway \(other) is no neighbor of \(prefix): give one within that prefix")
        }
    }

    /// As `port add --option` takes them.
    var options: [String: String] {
        var options = ["address": "\(prefix)", "mac": "\(mac)", "fragments": fragments.rawValue]
        if !gateways.isEmpty { options["gateway"] = gateways.map(\.description).joined(separator: ",") }
        return options
    }
}

extension TunnelOptions.Inherited {
    fileprivate var text: String {
        switch self {
        case .fixed(let value): "\(value)"
        case .inherit: "inherit"
        }
    }
}

extension MACAddress {
    /// One of a single station that no manufacturer assigns (IEEE Std 802-2014 clause 8.2.2).
    fileprivate static var random: MACAddress {
        MACAddress(value: .random(in: 0...0xffff_ffff_ffff) & ~0x0300_0000_0000 | 0x0200_0000_0000)
    }
}

extension PortOptions {
    fileprivate mutating func address(_ key: String) throws(Refusal) -> IPAddress? {
        try remaining.removeValue(forKey: key).map { text throws(Refusal) in try Self.address(text, key) }
    }

    fileprivate mutating func addresses(_ key: String) throws(Refusal) -> [IPAddress] {
        let texts = remaining.removeValue(forKey: key)?.split(separator: ",", omittingEmptySubsequences: false) ?? []
        var addresses: [IPAddress] = []
        for text in texts { addresses.append(try Self.address(String(text), key)) }
        return addresses
    }

    private static func address(_ text: String, _ key: String) throws(Refusal) -> IPAddress {
        guard let address = IPAddress(text), address.isStation else {
            throw Refusal("option \(key)=\(text) is not the address of a host: write it as 192.0.2.1 or 2001:db8::1")
        }
        return address
    }

    fileprivate mutating func prefix(_ key: String) throws(Refusal) -> IPPrefix {
        guard let text = remaining.removeValue(forKey: key) else {
            throw Refusal("port type \(type) needs its address: --option address=192.0.2.1/24")
        }
        guard let prefix = IPPrefix(text), prefix.address.isStation else {
            let words = "is not a host's address with a prefix length"
            throw Refusal("option \(key)=\(text) \(words): write it as 192.0.2.1/24")
        }
        return prefix
    }

    fileprivate mutating func stationAddress(_ key: String) throws(Refusal) -> MACAddress? {
        guard let text = remaining.removeValue(forKey: key) else { return nil }
        guard let address = MACAddress(text), address.isStation else {
            throw Refusal("option \(key)=\(text) is not a station's MAC address: write it as 02:00:00:00:00:01")
        }
        return address
    }

    fileprivate mutating func fragments(
        _ key: String,
        default preset: EndpointOptions.Fragments
    ) throws(Refusal) -> EndpointOptions.Fragments {
        guard let text = remaining.removeValue(forKey: key) else { return preset }
        guard let fragments = EndpointOptions.Fragments(rawValue: text) else {
            throw Refusal("option \(key)=\(text) is unknown: use drop or reassemble")
        }
        return fragments
    }

    fileprivate mutating func remote() throws(Refusal) -> TunnelOptions.Choice<IPAddress> {
        if remaining["remote_ip"] == "flow" {
            remaining["remote_ip"] = nil
            return .flow
        }
        guard let address = try address("remote_ip") else {
            throw Refusal(
                "port type \(type) needs its other end: --option remote_ip=ADDRESS, or flow where flows set tun_dst"
            )
        }
        return .fixed(address)
    }

    /// Without one VXLAN and Geneve have network 0, as in Open vSwitch, and GRE sends none.
    fileprivate mutating func key(of tunnel: TunnelType) throws(Refusal) -> TunnelOptions.Choice<UInt64>? {
        guard let text = remaining.removeValue(forKey: "key") else { return tunnel == .gre ? nil : .fixed(0) }
        if text == "flow" { return .flow }
        guard let key = UInt64(text), key <= tunnel.greatestKey else {
            throw Refusal("option key=\(text) is neither flow nor a number from 0 to \(tunnel.greatestKey)")
        }
        return .fixed(key)
    }

    fileprivate mutating func inherited(
        _ key: String,
        in range: ClosedRange<Int>,
        default preset: TunnelOptions.Inherited
    ) throws(Refusal) -> TunnelOptions.Inherited {
        if remaining[key] == "inherit" {
            remaining[key] = nil
            return .inherit
        }
        guard case .fixed(let value) = preset else { return preset }
        return .fixed(UInt8(try number(key, in: range, default: Int(value))))
    }

    fileprivate mutating func flag(_ key: String, default preset: Bool) throws(Refusal) -> Bool {
        guard let text = remaining.removeValue(forKey: key) else { return preset }
        guard let flag = Bool(text) else { throw Refusal("option \(key)=\(text) is neither true nor false") }
        return flag
    }
}
