import Flows

/// A file of flows of any bytes. What is read can be printed, and reads the same again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFlows(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let file = UnsafeBufferPointer(start: bytes, count: count)
    guard let flows = try? FlowText.parse(file, ports: port) else { return 0 }
    for flow in flows {
        let text = FlowText.print(flow)
        precondition((try? FlowText.flow(text)) == flow, "reads otherwise: \(text)")
    }
    return 0
}

private func port(_ name: String) -> UInt32? { name == "p1" ? 1 : nil }
