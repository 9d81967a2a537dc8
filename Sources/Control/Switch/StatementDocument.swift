import Dataplane
import Flows

/// What has a number on its bridge.
protocol NumberedStatement {
    static var noun: String { get }
    var identifier: UInt32 { get }
}

extension Group: NumberedStatement {
    static var noun: String { "group" }
}

extension Meter: NumberedStatement {
    static var noun: String { "meter" }
}

/// Groups or meters as one request says them, in the order of the text: read whole, before any of them is applied.
struct StatementDocument<Statement: NumberedStatement> {
    let statements: [Statement]
    let text: String

    /// - Throws: `FlowRefusal` for the first mistake.
    init(_ text: String, parse: (String) throws(FlowSyntaxError) -> [Statement]) throws(FlowRefusal) {
        self.text = text
        do throws(FlowSyntaxError) {
            statements = try parse(text)
        } catch {
            throw FlowRefusal(error)
        }
    }

    /// Why a statement is refused for its sense.
    func refusal(of index: Int, _ reason: String) -> FlowRefusal {
        let place = FlowText.place(of: index, in: text)
        return FlowRefusal(line: place.line, column: place.column, reason: reason)
    }

    /// - Parameters:
    ///   - known: the numbers of those that are there.
    ///   - limit: how many a bridge has at most.
    /// - Throws: `FlowRefusal` for the first that is there already, and for the first too many.
    func checkNew(beside known: Set<UInt32>, limit: Int) throws(FlowRefusal) {
        let noun = Statement.noun
        var taken = known
        for (index, statement) in statements.enumerated() {
            guard taken.insert(statement.identifier).inserted else {
                throw refusal(of: index, "\(noun) \(statement.identifier) exists already: change it with \(noun) mod")
            }
            guard taken.count <= limit else {
                throw refusal(of: index, "a bridge has at most \(limit) \(noun)s: delete some first")
            }
        }
    }

    /// - Throws: `FlowRefusal` for the first that is not among the numbers of those that are there.
    func checkPresent(among known: Set<UInt32>) throws(FlowRefusal) {
        guard let index = statements.firstIndex(where: { !known.contains($0.identifier) }) else { return }
        let (noun, identifier) = (Statement.noun, statements[index].identifier)
        throw refusal(of: index, "\(noun) \(identifier) does not exist: add it with \(noun) add")
    }
}

extension NumberedStatement {
    /// Which ones a request removes: those that it names, or all.
    /// - Throws: `Refusal` when one is not there.
    static func chosen(_ named: [UInt32]?, among known: Set<UInt32>, on bridge: String) throws(Refusal) -> Set<UInt32> {
        let chosen = named.map(Set.init) ?? known
        if let unknown = chosen.subtracting(known).min() {
            throw Refusal(
                "\(noun) \(unknown) does not exist on bridge '\(bridge)': \(noun) dump \(bridge) shows those that do"
            )
        }
        return chosen
    }
}
