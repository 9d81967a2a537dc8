public import CPacket
import Wire

/// A packet buffer, owned by the worker that holds it until it is sent or freed.
///
/// The pointer is valid from the receive burst that delivered it until it is put into an output queue or the drop
/// list; the frame's first `data_length` bytes lie at `frame`.
public typealias Packet = UnsafeMutablePointer<martlet_packet>

/// Bytes of the addresses in front of an Ethernet header's type, and of a VLAN tag.
let addressesLength = 12
let tagLength = 4

extension UnsafeMutablePointer where Pointee == martlet_packet {
    /// The first byte of the frame. A packet always has a buffer, and `data_off` is kept within it by DPDK and by the
    /// edits below, so that none of their sums overflows.
    @inline(__always)
    var frame: UnsafeMutableRawPointer { pointee.buffer.unsafelyUnwrapped + Int(pointee.data_off) }

    /// There is a VLAN tag behind the addresses.
    var isTagged: Bool {
        guard Int(pointee.data_length) >= addressesLength + tagLength else { return false }
        let type = UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: addressesLength, as: UInt16.self))
        return type == TPID.customer.rawValue || type == TPID.service.rawValue
    }

    /// The type behind all VLAN tags, and where what it names begins; nil when the first segment does not reach so far.
    var content: (type: UInt16, offset: Int)? {
        var offset = addressesLength
        while offset + 2 <= Int(pointee.data_length) {
            let type = UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            guard type == TPID.customer.rawValue || type == TPID.service.rawValue else { return (type, offset + 2) }
            offset += tagLength
        }
        return nil
    }

    /// The VLAN of the tag behind the addresses, or behind the switch's own tag there; 0 when there is none.
    @inline(never)
    func customerVID(behindTag: Bool) -> UInt16 {
        let offset = addressesLength + (behindTag ? tagLength : 0)
        guard Int(pointee.data_length) >= offset + tagLength else { return 0 }
        let type = UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
        guard type == TPID.customer.rawValue || type == TPID.service.rawValue else { return 0 }
        return UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: offset + 2, as: UInt16.self)) & 0x0fff
    }

    /// Makes room for a tag behind the addresses and writes it.
    /// - Precondition: the first segment holds the addresses.
    /// - Returns: false when there is no headroom; the packet is unchanged then.
    @inline(__always)
    func pushTag(type: UInt16, control: UInt16) -> Bool {
        guard pointee.data_off >= UInt16(tagLength) else { return false }
        let former = frame
        pointee.data_off &-= UInt16(tagLength)
        pointee.data_length &+= UInt16(tagLength)
        pointee.packet_length &+= UInt32(tagLength)
        // The regions overlap: 12 bytes move 4 down, lower half first, so that no byte is read after it was written.
        let head = former.loadUnaligned(as: UInt64.self)
        let tail = former.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        frame.storeBytes(of: head, as: UInt64.self)
        frame.storeBytes(of: tail, toByteOffset: 8, as: UInt32.self)
        frame.storeBytes(of: type.bigEndian, toByteOffset: addressesLength, as: UInt16.self)
        frame.storeBytes(of: control.bigEndian, toByteOffset: addressesLength + 2, as: UInt16.self)
        return true
    }

    /// Removes the tag behind the addresses.
    /// - Precondition: the first segment holds the addresses and the tag.
    @inline(__always)
    func popTag() {
        let former = frame
        let head = former.loadUnaligned(as: UInt64.self)
        let tail = former.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        pointee.data_off &+= UInt16(tagLength)
        pointee.data_length &-= UInt16(tagLength)
        pointee.packet_length &-= UInt32(tagLength)
        frame.storeBytes(of: head, as: UInt64.self)
        frame.storeBytes(of: tail, toByteOffset: 8, as: UInt32.self)
    }

    /// Overwrites the control information of the tag behind the addresses.
    /// - Precondition: the first segment holds the addresses and the tag.
    @inline(__always)
    func setTagControl(_ control: UInt16) {
        frame.storeBytes(of: control.bigEndian, toByteOffset: addressesLength + 2, as: UInt16.self)
    }
}
