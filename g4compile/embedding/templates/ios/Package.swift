// swift-tools-version:5.9
import PackageDescription

// libg4rt and libg4ops from their sources, linked in, and ONNX Runtime as Microsoft builds it. One C++ target an
// instruction set: their flags differ. For arm64 alone.
let exact = CXXSetting.unsafeFlags(["-ffp-contract=off"])
let search: [CXXSetting] = [.headerSearchPath("include"), .headerSearchPath("src"), .headerSearchPath("src/rt")]

let package = Package(
    name: "G4rt",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "G4rt", targets: ["G4rt"])],
    targets: [
        .target(name: "G4rt", dependencies: ["CG4rt"]),
        .binaryTarget(name: "onnxruntime", path: "onnxruntime.xcframework"),  // README.md says where it comes from
        .target(
            name: "CG4rt",
            dependencies: [
                "CG4opsDot", "CG4opsI8mm", "onnxruntime",
            ],
            path: "native",
            exclude: [
                "CMakeLists.txt", "cmake", "src/cuda", "src/avx2.cc", "src/avx512vnni.cc", "src/float_avx2.cc",
                "src/float_avx512.cc", "src/neon_dotprod.cc", "src/neon_i8mm.cc", "src/float_neon.cc",
            ],
            sources: ["src"],
            publicHeadersPath: "include",
            cxxSettings: search + [exact, .define("G4RT_LINKED_ORT"), .define("G4RT_LINKED_OPS")]
        ),
        .target(
            name: "CG4opsDot",
            path: "native/src",
            sources: ["neon_dotprod.cc", "float_neon.cc"],
            publicHeadersPath: ".",
            cxxSettings: [.unsafeFlags(["-ffp-contract=off", "-march=armv8.2-a+dotprod"])]
        ),
        .target(
            name: "CG4opsI8mm",
            path: "native/src",
            sources: ["neon_i8mm.cc"],
            publicHeadersPath: ".",
            cxxSettings: [.unsafeFlags(["-ffp-contract=off", "-march=armv8.2-a+dotprod+i8mm"])]
        ),
    ],
    cxxLanguageStandard: .cxx20
)
