/// What tables hash by.
extension UInt64 {
    /// The folded product: every bit of both reaches every bit of the result.
    @inline(__always)
    func folded(by other: UInt64) -> UInt64 {
        let product = multipliedFullWidth(by: other)
        return product.high ^ product.low
    }

    /// This hash with one more word taken in.
    @inline(__always)
    func mixed(with word: UInt64) -> UInt64 { (self ^ word ^ 0x9e37_79b9_7f4a_7c15).folded(by: 0xbf58_476d_1ce4_e5b9) }

    /// The same with two, the more significant first.
    @inline(__always)
    func mixed(with words: UInt128) -> UInt64 {
        mixed(with: UInt64(truncatingIfNeeded: words >> 64)).mixed(with: UInt64(truncatingIfNeeded: words))
    }
}
