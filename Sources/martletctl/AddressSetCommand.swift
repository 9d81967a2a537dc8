import ArgumentParser
import Control

struct AddressSetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "address-set",
        abstract: "Adds, changes, removes and shows sets of addresses that flows name.",
        discussion: """
            A member is an IPv4, IPv6 or MAC address, with /LENGTH or /MASK or alone.
                martletctl address-set add web 10.0.0.1 10.0.8.0/24
                martletctl flow add br0 'tcp,nw_src=$web,tp_dst=80 actions=NORMAL'
                martletctl address-set add-members web 10.0.0.2
            """,
        subcommands: [Add.self, Delete.self, AddMembers.self, DeleteMembers.self, List.self, Show.self]
    )

    /// What changes of a set.
    struct Members: ParsableArguments {
        @Argument var name: String
        @Argument(help: "Addresses.") var addresses: [String] = []
        @Option(
            help: ArgumentHelp("Addresses between white space; '-' is standard input.", valueName: "file"),
            completion: .file()
        )
        var file: String?
        @OptionGroup var daemon: Daemon

        func validate() throws {
            guard addresses.isEmpty || file == nil else { throw ValidationError("give addresses, or --file") }
        }

        var isEmpty: Bool { addresses.isEmpty && file == nil }

        func send<R: TextRequest>(_ request: R, _ staged: R) throws -> R.Response {
            let text = try file.map { try FlowText(file: $0) } ?? FlowText(addresses.joined(separator: " "))
            return try text.send(daemon, request, staged)
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Adds a set, which flows of all bridges may name.")

        @OptionGroup var members: Members

        func run() throws {
            let name = members.name
            _ = try members.send(AddressSetAdd(name: name), AddressSetAdd(name: name, staged: true))
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del",
            abstract: "Removes a set that no flow uses."
        )

        @Argument var name: String
        @OptionGroup var daemon: Daemon

        func run() throws { _ = try daemon.call(AddressSetDelete(name: name)) }
    }

    struct AddMembers: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds members to a set, all or none; one that is there stays."
        )

        @OptionGroup var members: Members

        func validate() throws {
            if members.isEmpty { throw ValidationError("give addresses, or --file") }
        }

        func run() throws {
            let name = members.name
            let staged = AddressSetAddMembers(name: name, staged: true)
            let response = try members.send(AddressSetAddMembers(name: name), staged)
            print("\(response.added) added")
        }
    }

    struct DeleteMembers: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del-members",
            abstract: "Removes members of a set, all or none."
        )

        @OptionGroup var members: Members

        func validate() throws {
            if members.isEmpty { throw ValidationError("give addresses, or --file") }
        }

        func run() throws {
            let name = members.name
            let staged = AddressSetDeleteMembers(name: name, staged: true)
            let response = try members.send(AddressSetDeleteMembers(name: name), staged)
            print("\(response.deleted) deleted")
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the sets and how many members each has.")

        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(AddressSetList()) { response in
                table(["NAME", "MEMBERS"], response.addressSets.map { [$0.name, "\($0.members)"] })
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows the members of a set, one a line.")

        @Argument var name: String
        @OptionGroup var reading: Reading

        func run() throws {
            let response = try reading.daemon.call(AddressSetShow(name: name))
            if reading.json { return print(try jsonText(response)) }
            for member in response.members { print(member) }
        }
    }
}
