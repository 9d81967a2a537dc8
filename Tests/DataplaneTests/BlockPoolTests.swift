import Seeds
import Testing

@testable import Dataplane

/// Blocks of the tables' memory, which debug builds take one by one from the system instead.
@Suite struct BlockPoolTests {
    @Test(arguments: seeds)
    func blocksLieApartAndComeBack(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var pool = BlockPool()
        var blocks: [UInt: Int] = [:]
        for _ in 0..<5000 {
            if blocks.count < 400 && Bool.random(using: &random) {
                let size = 1 << Int.random(in: 0...21, using: &random) + Int.random(in: 0...200, using: &random)
                let block = pool.allocate(size)
                try #require(block % UInt(BlockPool.line) == 0)
                // What another block has written over is found out when that goes.
                fill(block, size)
                try #require(blocks.updateValue(size, forKey: block) == nil)
            } else if let (block, size) = blocks.randomElement(using: &random) {
                try #require(isFilled(block, size))
                pool.free(block, size)
                blocks[block] = nil
            }
        }
        for (block, size) in blocks {
            try #require(isFilled(block, size))
            pool.free(block, size)
        }
    }

    @Test func aFreedBlockIsTheNextOfItsSize() {
        var pool = BlockPool()
        for size in [1, 64, 65, 4096, 4097, 100_000, 1 << 20] {
            let first = pool.allocate(size)
            _ = pool.allocate(size)
            pool.free(first, size)
            #expect(pool.allocate(size) == first, "\(size)")
        }
    }

    @Test func blocksBeyondAPieceAreTheSystems() {
        var pool = BlockPool()
        let size = 3 << 20
        let block = pool.allocate(size)
        fill(block, size)
        #expect(isFilled(block, size))
        pool.free(block, size)
    }

    private func words(_ block: UInt, _ size: Int) -> [UnsafeMutablePointer<UInt64>] {
        let first = UnsafeMutablePointer<UInt64>(bitPattern: block)!
        return [first, first + max(0, size / 8 - 1)]
    }

    private func fill(_ block: UInt, _ size: Int) {
        for word in words(block, size) { word.pointee = UInt64(block) }
    }

    private func isFilled(_ block: UInt, _ size: Int) -> Bool {
        words(block, size).allSatisfy { $0.pointee == UInt64(block) }
    }
}
