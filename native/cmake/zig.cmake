# zig's C++ compiler (PyPI `ziglang`), which has the headers and libraries of other systems:
#   cmake -DCMAKE_TOOLCHAIN_FILE=cmake/zig.cmake -DG4_ZIG=.../ziglang/zig -DG4_ZIG_TARGET=aarch64-macos ...
# Targets that are tried: aarch64-macos, x86_64-windows-gnu, aarch64-linux-musl.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES G4_ZIG G4_ZIG_TARGET)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${G4_ZIG_TARGET}")
if(G4_ZIG_TARGET MATCHES "macos")
  set(CMAKE_SYSTEM_NAME Darwin)
elseif(G4_ZIG_TARGET MATCHES "windows")
  set(CMAKE_SYSTEM_NAME Windows)
else()
  set(CMAKE_SYSTEM_NAME Linux)
endif()
set(CMAKE_CXX_COMPILER ${G4_ZIG} c++ -target ${G4_ZIG_TARGET})
set(CMAKE_CXX_COMPILER_TARGET "")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # to link is slow: zig compiles the standard library first
# zig takes no -march, and has names of its own for what a processor has.
set(G4_ARM_DOTPROD -mcpu=generic+dotprod)
set(G4_ARM_I8MM -mcpu=generic+dotprod+i8mm)
