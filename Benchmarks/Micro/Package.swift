// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "Micro",
    platforms: [.macOS(.v26)],
    dependencies: [.package(name: "martlet", path: "../..")],
    targets: [
        .target(name: "CProbe", path: "CProbe"),
        .executableTarget(
            name: "Micro",
            dependencies: ["CProbe", .product(name: "Dataplane", package: "martlet")],
            swiftSettings: [.swiftLanguageMode(.v6)]
        ),
    ]
)
