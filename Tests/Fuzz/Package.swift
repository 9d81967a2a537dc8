// swift-tools-version: 6.2
import PackageDescription

// A package of its own: libFuzzer brings `main`, so that a plain `swift build` of these would not link.
// Sources/*/ hold links to the files under test that are no library, and to helpers of the unit tests.
let fuzzed: [SwiftSetting] = [.swiftLanguageMode(.v6), .unsafeFlags(["-parse-as-library"])]

let package = Package(
    name: "Fuzz",
    platforms: [.macOS(.v26)],
    dependencies: [.package(name: "martlet", path: "../..")],
    targets: [
        .executableTarget(
            name: "FuzzFrames",
            dependencies: [.product(name: "Dataplane", package: "martlet")],
            swiftSettings: fuzzed
        ),
        .executableTarget(
            name: "FuzzTunnels",
            dependencies: [.product(name: "Dataplane", package: "martlet")],
            swiftSettings: fuzzed
        ),
        .executableTarget(
            name: "FuzzConnections",
            dependencies: [.product(name: "Dataplane", package: "martlet")],
            swiftSettings: fuzzed
        ),
        .executableTarget(
            name: "FuzzFlows",
            dependencies: [.product(name: "Dataplane", package: "martlet")],
            swiftSettings: fuzzed
        ),
        .executableTarget(
            name: "FuzzDocuments",
            dependencies: [.product(name: "Networking", package: "martlet")],
            swiftSettings: fuzzed
        ),
        .executableTarget(name: "FuzzRing", swiftSettings: fuzzed),
        .executableTarget(
            name: "FuzzWire",
            dependencies: [.product(name: "Dataplane", package: "martlet")],
            swiftSettings: fuzzed
        ),
    ]
)
