import Seeds
import Testing

@testable import Dataplane

/// The index finds what is in it, also while it grows and shrinks a bucket at a time.
@Suite struct EntryIndexTests {
    @Test(arguments: seeds)
    func findsWhatIsInIt(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let index = EntryIndex(capacity: 4000)
        defer { index.free() }
        var hashes: [UInt32: UInt64] = [:]
        for turn in 0..<12_000 {
            // Mostly more, then mostly less, twice.
            let grows = turn / 3000 % 2 == 0
            if (Int.random(in: 0..<4, using: &random) != 0) == grows, hashes.count < 4000 {
                let (number, hash) = (UInt32(turn + 1), random.next())
                index.grow(entries: hashes.count)
                let bucket = index.bucket(EntryIndex.tag(of: hash))
                guard let way = (0..<EntryIndex.ways).first(where: { bucket.pointee.tags[$0] == 0 }) else { continue }
                bucket.pointee.tags[way] = EntryIndex.tag(of: hash)
                bucket.pointee.numbers[way] = number
                hashes[number] = hash
            } else if let (number, hash) = hashes.first {
                index.remove(number, EntryIndex.tag(of: hash))
                hashes[number] = nil
                index.shrink(entries: hashes.count, limit: 8)
            }
            guard turn % 1000 == 0 else { continue }
            // One of another entry has the same tag once in thousands of times.
            let found = hashes.count { index.candidate($0.value) == $0.key }
            try #require(found * 100 >= hashes.count * 99)
            for (number, hash) in hashes { try #require(index.candidate(hash) & number == number) }
            try #require(index.count <= max(8, hashes.count * 4 + 8))
        }
    }

    /// What is asked of a cache's index: that a bucket hardly ever is full.
    @Test func hasRoomForAsManyAsItIsMadeFor() {
        var random = SeededGenerator(seed: 1)
        let index = EntryIndex(capacity: 100_000)
        defer { index.free() }
        var (fullCount, earlyCount) = (0, 0)
        for number in 0..<100_000 {
            let tag = EntryIndex.tag(of: random.next())
            index.grow(entries: number)
            let bucket = index.bucket(tag)
            guard let way = (0..<EntryIndex.ways).first(where: { bucket.pointee.tags[$0] == 0 }) else {
                if number < 50_000 { earlyCount += 1 }
                fullCount += 1
                continue
            }
            bucket.pointee.tags[way] = tag
            bucket.pointee.numbers[way] = UInt32(number + 1)
        }
        #expect(earlyCount < 20)
        #expect(fullCount < 1000)
    }
}
