import Seeds

/// Frames of all the kinds that flow tables tell apart, many of them cut short or with a wrong octet.
enum RandomFrame {
    static func make(_ random: inout SeededGenerator) -> [UInt8] {
        var frame = addresses(&random) + tags(&random)
        frame += payload(&random)
        if chance(6, &random) { frame.removeLast(Int.random(in: 0...min(40, frame.count - 14), using: &random)) }
        if chance(8, &random) { frame += [UInt8](repeating: 0, count: Int.random(in: 1...300, using: &random)) }
        if chance(6, &random) {
            let place = Int.random(in: 12..<min(frame.count, 80), using: &random)
            frame[place] = .random(in: .min ... .max, using: &random)
        }
        return frame
    }

    /// For switches: few addresses and VLANs, all kinds of tags, some cut short.
    static func switched(_ random: inout SeededGenerator) -> [UInt8] {
        func octet(_ choices: [UInt8]) -> UInt8 { choices.randomElement(using: &random)! }
        var frame: [UInt8] = [octet([2, 2, 2, 0xff]), 0, 0, 0, 0, octet([1, 2, 3, 4])]
        frame += [octet([2, 2, 2, 2, 2, 3]), 0, 0, 0, 0, octet([1, 2, 3, 4])]
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            frame += [[0x81, 0], [0x88, 0xa8]].randomElement(using: &random)!
            // DEI aside, which keys do not have.
            frame += [octet([0, 0x20, 0xe0]), octet([0, 10, 20, 30])]
        }
        frame += [0x88, 0xb5] + [UInt8](repeating: 7, count: 46)
        return chance(20, &random) ? Array(frame.prefix(17)) : frame
    }

    /// One in `count`.
    private static func chance(_ count: Int, _ random: inout SeededGenerator) -> Bool {
        Int.random(in: 0..<count, using: &random) == 0
    }

    private static func some(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        (0..<count).map { _ in .random(in: .min ... .max, using: &random) }
    }

    private static func addresses(_ random: inout SeededGenerator) -> [UInt8] {
        octets(.random(in: 0..<8, using: &random)) + octets(0x0200_0000_0000 | .random(in: 0..<8, using: &random))
    }

    private static func tags(_ random: inout SeededGenerator) -> [UInt8] {
        let count = [0, 0, 0, 1, 1, 2, 3].randomElement(using: &random)!
        return (0..<count).flatMap { _ in
            octets(chance(3, &random) ? 0x88a8 : 0x8100, count: 2) + some(2, &random)
        }
    }

    private static func payload(_ random: inout SeededGenerator) -> [UInt8] {
        switch Int.random(in: 0..<12, using: &random) {
        case 0...4: return [0x08, 0x00] + ipv4(&random)
        case 5...8: return [0x86, 0xdd] + ipv6(&random)
        case 9: return [0x08, chance(4, &random) ? 0x35 : 0x06] + arp(&random)
        case 10: return [0, 60, 0xaa, 0xaa, 3, 0, 0, chance(4, &random) ? 1 : 0, 0x08, 0x00] + ipv4(&random)
        default:
            return octets(UInt64([0x88cc, 0x0100, 0x9000, 0x05ff].randomElement(using: &random)!), count: 2)
                + some(30, &random)
        }
    }

    private static func arp(_ random: inout SeededGenerator) -> [UInt8] {
        let operation = chance(5, &random) ? 300 : UInt64.random(in: 0...3, using: &random)
        return [0, 1, 8, 0, 6, 4] + octets(operation, count: 2) + some(20, &random)
    }

    private static func ipv4(_ random: inout SeededGenerator) -> [UInt8] {
        let options = chance(5, &random) ? Int.random(in: 0...10, using: &random) * 4 : 0
        let number = [1, 2, 6, 6, 17, 17, 132, 47].randomElement(using: &random)!
        let fragment = [0, 0, 0, 0x2000, 0x2005, 0x0005, 0x4000].randomElement(using: &random)!
        let inside = transport(UInt8(number), &random)
        return [0x40 | UInt8(5 + options / 4)] + some(1, &random)
            + octets(UInt64(20 + options + inside.count), count: 2) + some(2, &random)
            + octets(UInt64(fragment), count: 2)
            + some(1, &random) + [UInt8(number)] + some(2 + 8 + options, &random) + inside
    }

    private static func ipv6(_ random: inout SeededGenerator) -> [UInt8] {
        var number = UInt8([58, 58, 58, 6, 17, 132, 59].randomElement(using: &random)!)
        var inside = transport(number, &random)
        for _ in 0..<([0, 0, 0, 1, 1, 2, 3].randomElement(using: &random)!) {
            let kind: UInt8 = [0, 43, 44, 51, 60].randomElement(using: &random)!
            inside = extensionHeader(kind, before: number, &random) + inside
            number = kind
        }
        return [0x60 | UInt8.random(in: 0...15, using: &random)] + some(3, &random)
            + octets(UInt64(inside.count), count: 2) + [number] + some(1 + 32, &random) + inside
    }

    private static func extensionHeader(
        _ kind: UInt8,
        before next: UInt8,
        _ random: inout SeededGenerator
    ) -> [UInt8] {
        let length = UInt8.random(in: 0...2, using: &random)
        switch kind {
        case 44:
            let place = [0, 1, 6, 0x10, 0x11].randomElement(using: &random)!
            return [next, 0] + octets(UInt64(place), count: 2) + some(4, &random)
        case 51: return [next, length] + some((Int(length) + 2) * 4 - 2, &random)
        default: return [next, length] + some((Int(length) + 1) * 8 - 2, &random)
        }
    }

    private static func transport(_ number: UInt8, _ random: inout SeededGenerator) -> [UInt8] {
        guard number == 58 else { return some(Int.random(in: 0...40, using: &random), &random) }
        let type: UInt8 = [128, 133, 135, 135, 136, 136].randomElement(using: &random)!
        var message = [type, chance(6, &random) ? 1 : 0] + some(6, &random)
        if type > 134 { message += some(16, &random) }
        for _ in 0..<([0, 1, 1, 2].randomElement(using: &random)!) {
            let length: UInt8 = chance(5, &random) ? .random(in: 0...3, using: &random) : 1
            message += [.random(in: 1...3, using: &random), length] + some(max(Int(length), 1) * 8 - 2, &random)
        }
        return message
    }
}
