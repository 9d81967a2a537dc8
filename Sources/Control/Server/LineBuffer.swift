import Foundation
import NIOCore

/// Cuts a stream of bytes into lines of bounded length. A byte is looked at once, however it arrives.
struct LineBuffer {
    /// A request's length may be up to this, its end not counted.
    static let maximumLength = 1 << 20

    struct TooLong: Error {}

    private var bytes = ByteBuffer()
    /// Bytes at the front that hold no line end.
    private var searched = 0

    /// Some of a line is here and its end is not.
    var isPartial: Bool { bytes.readableBytes > 0 }

    mutating func append(_ piece: inout ByteBuffer) {
        bytes.writeBuffer(&piece)
    }

    /// The next whole line without its end; nil when there is none yet.
    /// - Throws: `TooLong` as soon as a line is known to be longer than allowed.
    mutating func next() throws(TooLong) -> Data? {
        let unsearched = bytes.readableBytesView.dropFirst(searched)
        guard let end = unsearched.firstIndex(of: UInt8(ascii: "\n")) else {
            searched = bytes.readableBytes
            guard searched <= Self.maximumLength else { throw TooLong() }
            return nil
        }
        let length = end - bytes.readerIndex
        guard length <= Self.maximumLength else { throw TooLong() }
        let line = Data(bytes.readableBytesView.prefix(length))
        bytes.moveReaderIndex(forwardBy: length + 1)
        bytes.discardReadBytes()
        searched = 0
        return line
    }
}
