// swift-tools-version: 6.2
import PackageDescription

// DPDK's headers need its include directories and an instruction set that Debian's own DPDK was built for
// (corei7); SwiftPM cannot read Debian's libdpdk.pc. Every target that sees CDPDK, directly or through another
// target, needs the same flags, because each imports the C module anew.
let dpdkFlags = [
    "-I/usr/include/dpdk", "-I/usr/include/x86_64-linux-gnu/dpdk", "-march=corei7",
]
let throughClang = dpdkFlags.flatMap { ["-Xcc", $0] }
let swift: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]
let swiftOverDPDK = swift + [.unsafeFlags(throughClang)]

let package = Package(
    name: "martlet",
    platforms: [.macOS(.v26)],
    products: [
        .executable(name: "martletd", targets: ["martletd"]),
        .executable(name: "martletctl", targets: ["martletctl"]),
        // For Benchmarks/Micro and Tests/Fuzz.
        .library(name: "Dataplane", targets: ["Dataplane", "CPacket", "Flows", "Wire"]),
        .library(name: "Networking", targets: ["Networking"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.0.0"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
    ],
    targets: [
        .target(name: "CPacket", path: "CShims/CPacket"),
        .target(name: "CDPDK", dependencies: ["CPacket"], path: "CShims/CDPDK", cSettings: [.unsafeFlags(dpdkFlags)]),
        .systemLibrary(name: "CPcap", path: "CShims/CPcap"),
        .systemLibrary(name: "CMalloc", path: "CShims/CMalloc"),
        .systemLibrary(name: "CCrypto", path: "CShims/CCrypto"),

        .target(name: "Wire", swiftSettings: swift),
        .target(name: "Flows", dependencies: ["Wire"], exclude: ["README.md"], swiftSettings: swift),
        .target(
            name: "Dataplane",
            dependencies: ["CPacket", "Flows", "Wire"],
            exclude: ["README.md"],
            swiftSettings: swift
        ),
        .target(name: "Networking", dependencies: ["CCrypto", "Wire"], exclude: ["README.md"], swiftSettings: swift),
        .target(
            name: "PacketIO",
            dependencies: ["CDPDK", "CPcap", "Dataplane", "Wire"],
            swiftSettings: swiftOverDPDK
        ),
        .target(
            name: "Control",
            dependencies: [
                "CMalloc", "Dataplane", "Flows", "Networking", "Wire",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            exclude: ["README.md"],
            swiftSettings: swift
        ),
        .target(
            name: "Endpoint",
            dependencies: [
                "Control", "Networking",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            exclude: ["README.md", "openapi.yaml"],
            swiftSettings: swift
        ),
        .executableTarget(
            name: "martletd",
            dependencies: [
                "Control", "Dataplane", "Endpoint", "PacketIO",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "TOMLKit", package: "TOMLKit"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftOverDPDK
        ),
        .executableTarget(
            name: "martletctl",
            dependencies: [
                "Control", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: swift
        ),

        .target(name: "Seeds", path: "Tests/Seeds", swiftSettings: swift),
        .testTarget(
            name: "WireTests",
            dependencies: ["Seeds", "Wire"],
            exclude: ["Golden"],
            swiftSettings: swift
        ),
        .testTarget(
            name: "FlowsTests",
            dependencies: ["Flows", "Seeds", "Wire"],
            exclude: ["Golden"],
            swiftSettings: swift
        ),
        .testTarget(
            name: "DataplaneTests",
            dependencies: ["CPacket", "Dataplane", "Flows", "Seeds", "Wire"],
            exclude: ["Golden"],
            swiftSettings: swift
        ),
        .testTarget(
            name: "NetworkingTests",
            dependencies: ["Flows", "Networking", "Seeds", "Wire"],
            swiftSettings: swift
        ),
        .testTarget(
            name: "PacketIOTests",
            dependencies: ["CDPDK", "Dataplane", "PacketIO", "Seeds", "Wire"],
            swiftSettings: swiftOverDPDK
        ),
        .testTarget(
            name: "ControlTests",
            dependencies: [
                "Control", "Dataplane", "Flows", "Networking", "Seeds", "Wire",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: swift
        ),
    ]
)
