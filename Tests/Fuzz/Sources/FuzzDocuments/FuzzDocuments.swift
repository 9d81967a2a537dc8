import Networking

/// Documents of any bytes. What is read means the same in its own words, and can be taken back after it was taken in.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDocuments(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
    guard let changes = try? DocumentText.changes(text) else { return 0 }
    for change in changes {
        let again = try? DocumentText.changes(String(change.text))
        precondition(again?.map(\.document) == [change.document], "reads otherwise: \(change.text)")
    }
    var state = NetworkState(hostName: "h")
    guard let first = try? state.apply(changes) else { return 0 }
    state.revert(first)
    guard let second = try? state.apply(changes, isSnapshot: true) else {
        preconditionFailure("refused the second time")
    }
    precondition(Set(second.flows.added) == Set(first.flows.added), "other flows the second time")
    return 0
}
