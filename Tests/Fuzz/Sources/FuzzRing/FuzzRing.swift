/// A packed ring of any bytes, as a guest may leave it. Where it resumes, if anywhere, is a place in the ring; finding it
/// touches nothing else.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRing(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeRawBufferPointer(start: bytes, count: count)
    guard count >= 5 + PackedRing.descriptorLength else { return 0 }
    let noted = PackedRing.Position(word: input.loadUnaligned(as: UInt16.self))
    let chainLength = input.loadUnaligned(fromByteOffset: 2, as: UInt16.self)
    let descriptors = input[5...].count / PackedRing.descriptorLength
    // As long as the ring, so that AddressSanitizer sees a step beyond either end.
    let length = descriptors * PackedRing.descriptorLength
    let memory = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 16)
    defer { memory.deallocate() }
    memory.copyMemory(from: input.baseAddress! + 5, byteCount: length)
    let ring = PackedRing(descriptors: memory, count: UInt16(min(descriptors, 32_768)))
    if let place = ring.resume(from: noted, chainLength: input[4] & 1 == 0 ? chainLength : nil) {
        precondition(place.index < ring.count, "the place is outside of the ring")
    }
    return 0
}
