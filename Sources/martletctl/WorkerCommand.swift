import ArgumentParser
import Control

struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Lists the workers and gives them receive queues.",
        subcommands: [List.self, Assign.self]
    )

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the workers and the queues they poll.")

        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(WorkerList()) { response in
                table(
                    ["LCORE", "NUMA", "BUSY", "PACKETS", "QUEUES"],
                    response.workers.map { worker in
                        let queues = worker.queues.map { "\($0.port):\($0.queue)" }.joined(separator: " ")
                        return [
                            "\(worker.lcore)", "\(worker.socket)", percent(worker.busy), "\(worker.packets)", queues,
                        ]
                    }
                )
            }
        }
    }

    struct Assign: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Has the worker of an lcore poll a receive queue, now and after restarts."
        )

        @Argument var port: String
        @Argument var queue: Int
        @Argument var lcore: Int
        @OptionGroup var daemon: Daemon

        func run() throws { _ = try daemon.call(WorkerAssign(port: port, queue: queue, lcore: lcore)) }
    }
}
