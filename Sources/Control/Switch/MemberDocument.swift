import Dataplane

/// Members as one request says them: words between white space, `#` begins a comment.
struct MemberDocument {
    private struct Word {
        let member: AddressSetMember
        let text: Substring
        let line: Int
        let column: Int
    }

    private var words: [Word] = []

    var members: Set<AddressSetMember> { Set(words.map(\.member)) }

    func members(absentFrom set: Set<AddressSetMember>) -> Set<AddressSetMember> {
        Set(words.map(\.member).filter { !set.contains($0) })
    }

    /// - Throws: `FlowRefusal` for the first word that is no address.
    init(_ text: String) throws(FlowRefusal) {
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let statement = line.prefix { $0 != UInt8(ascii: "#") }
            for word in statement.split(whereSeparator: { " \t\r".utf8.contains($0) }) {
                let column = line.distance(from: line.startIndex, to: word.startIndex) + 1
                let text = Substring(word)
                do throws(Refusal) {
                    let member = try AddressSetMember(String(text))
                    words.append(Word(member: member, text: text, line: index + 1, column: column))
                } catch {
                    throw FlowRefusal(line: index + 1, column: column, reason: error.reason)
                }
            }
        }
    }

    /// - Throws: `FlowRefusal` for a member that a set has not.
    func check(areIn set: Set<AddressSetMember>, named name: String) throws(FlowRefusal) {
        guard let word = words.first(where: { !set.contains($0.member) }) else { return }
        throw FlowRefusal(
            line: word.line,
            column: word.column,
            reason: "'\(word.text)' is no member of address set '\(name)': address-set show \(name) lists them"
        )
    }
}
