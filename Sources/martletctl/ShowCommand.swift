import ArgumentParser
import Control

struct ShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Shows bridges and ports as a tree.")

    @OptionGroup var reading: Reading

    func run() throws {
        try reading.show(Show()) { response in
            response.bridges.flatMap { bridge in
                ["bridge \(bridge.name)"] + bridge.ports.flatMap(\.treeLines)
            }
        }
    }
}

extension PortDescription {
    fileprivate var treeLines: [String] {
        let options = options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
        var lines = [
            "    port \(name)  number \(number), \(vlanText), link \(link)",
            "        \(type) \(options) mtu=\(mtu)",
        ]
        if let error { lines.append("        error: \(error)") }
        return lines
    }

    /// "access 10", "trunk 1,2", "trunk all".
    var vlanText: String {
        var words = [vlan.mode]
        if let tag = vlan.tag { words.append("\(tag)") }
        if !vlan.trunks.isEmpty {
            words.append((vlan.tag == nil ? "" : "trunks ") + vlan.trunks.map(String.init).joined(separator: ","))
        } else if vlan.mode == "trunk" {
            words.append("all")
        }
        return words.joined(separator: " ")
    }
}
