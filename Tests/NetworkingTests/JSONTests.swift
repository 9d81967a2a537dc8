import Testing

@testable import Networking

/// What a document says has one text, whoever writes it.
struct JSONTests {
    /// Made with Python: `json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`, and
    /// `hashlib.sha256` of the same without `revision`.
    @Test(
        arguments: [
            (
                #"{"b": 1, "a": [ ], "aa": {}, "A": null}"#,
                #"{"A":null,"a":[],"aa":{},"b":1}"#,
                "915f8a22c41bce90dca881579748c8bf7db8638b1f71b7c621018e3078026c96"
            ),
            (
                #"{"type":"port","revision":7,"id":"p","name":"say \"hi\" \\ \/ back","x":-0,"y":-12}"#,
                #"{"id":"p","name":"say \"hi\" \\ / back","revision":7,"type":"port","x":0,"y":-12}"#,
                "58b4b3299ccc8bb1eae171533fb3b911e69d9dbbaa7d74c113538f673cb7c265"
            ),
            (
                #"{"type": "network", "name": "Z\u00fcrich ü \ud83d\ude00 \u2028", "segmentation_id": 4294967295}"#,
                #"{"name":"Zürich ü 😀 \#u{2028}","segmentation_id":4294967295,"type":"network"}"#,
                "a1b23db97bdb02e0b82e55eb0ffe63cf68fc91889e34be19e0cda2ec3ab13b9d"
            ),
            (
                #"{"é": 1, "e\#u{301}": 2, "z": 3, "😀": 4, "～": 5}"#,
                #"{"e\#u{301}":2,"z":3,"é":1,"～":5,"😀":4}"#,
                "7c4001caea7914309cb2fd77dba0e7b41d60f6f6e98b53b4b362b26949e882cf"
            ),
            (
                #"{"big": 123456789012345678901234567890, "revision": 9007199254740991, "on": true, "off": false}"#,
                #"{"big":123456789012345678901234567890,"off":false,"on":true,"revision":9007199254740991}"#,
                "a60f5178148a5d4ca5f3085624206348f1bea8152d8b906f40ca6db74a5b9fb6"
            ),
            (
                #"{"list": [1, "two", [3], {"d": 4, "c": [null]}]}"#,
                #"{"list":[1,"two",[3],{"c":[null],"d":4}]}"#,
                "9c7a1f0a30fc94029c47050b6afbf7f8a59cb01ae1ce62cd1df7e01643bf353e"
            ),
        ]
    )
    func canonicalTextIsThatOfPython(_ text: String, _ canonical: String, _ digest: String) throws {
        let json = try JSON(parsing: Substring(text))
        #expect(Self.text(of: json) == Array(canonical.utf8))
        #expect(Self.text(of: try JSON(parsing: Substring(canonical))) == Array(canonical.utf8))
        #expect(DocumentDigest(of: Self.text(of: json, omitting: "revision")).description == digest)
    }

    @Test(
        arguments: [
            ("", "it is not JSON"), ("{", "it is not JSON"), ("{\"a\":1,}", "it is not JSON"),
            ("{\"a\":1}x", "it is not JSON"), ("{\"a\":01}", "it is not JSON"), ("{\"a\":+1}", "it is not JSON"),
            ("{\"a\":\"", "it is not JSON"), ("{\"a\":\"\\", "it is not JSON"), ("{\"a\":\"\\x\"}", "it is not JSON"),
            ("{\"a\":\"\\u12\"}", "it is not JSON"), ("{\"a\":\"\\u+123\"}", "it is not JSON"),
            ("{\"a\":NaN}", "it is not JSON"), ("{'a':1}", "it is not JSON"), ("{\"a\" 1}", "it is not JSON"),
            ("{\"a\":tru}", "it is not JSON"), ("\u{feff}{}", "it is not JSON"),
            ("{\"a\":1.5}", "a: numbers are whole ones"), ("{\"a\":1e3}", "a: numbers are whole ones"),
            ("{\"b\":1,\"a\":{\"c\":1,\"c\":2}}", "a: key 'c' is there twice"),
            ("{\"a\":1,\"a\":1}", "-: key 'a' is there twice"),
            ("{\"a\":\"x\u{7f}\"}", "a: a text has a control character"),
            ("{\"a\":\"x\u{9b}31m\"}", "a: a text has a control character"),
            ("{\"a\":\"\\u001b[31m\"}", "a: a text has a control character"),
            ("{\"a\":\"\\n\"}", "a: a text has a control character"),
            ("{\"a\":\"\t\"}", "a: a text has a control character"),
            ("{\"a\":\"\\ud83d\"}", "a: a text has half of a surrogate pair"),
            ("{\"a\":\"\\ude00\\ud83d\"}", "a: a text has half of a surrogate pair"),
            (
                "{\"a\":" + String(repeating: "[", count: 99) + String(repeating: "]", count: 99) + "}",
                "a: it has lists"
            ),
        ]
    )
    func whatHasTwoTextsIsRefused(_ text: String, _ reason: String) {
        do throws(JSONFault) {
            _ = try JSON(parsing: Substring(text))
            Issue.record("\(text) was read")
        } catch {
            let words = (reason.contains(": ") ? (error.field ?? "-") + ": " : "") + error.reason
            #expect(words.hasPrefix(reason), "\(words)")
        }
    }

    @Test func nestingHasABoundThatNoStackNotices() {
        let deep = String(repeating: "[", count: DocumentText.greatestLineLength)
        #expect(throws: JSONFault.self) { try JSON(parsing: Substring(deep)) }
    }

    private static func text(of json: JSON, omitting omitted: String? = nil) -> [UInt8] {
        var text: [UInt8] = []
        json.write(to: &text, omitting: omitted)
        return text
    }
}
