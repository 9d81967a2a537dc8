import Flows

/// Groups or meters as one request says them, in the order of the text: read whole, before any of them is applied.
struct StatementDocument<Statement> {
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
}
