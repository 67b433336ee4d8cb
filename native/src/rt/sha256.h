// SHA-256 (FIPS 180-4).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace g4::rt {

class Sha256 {
 public:
  void put(std::string_view bytes);
  std::array<std::uint8_t, 32> digest();  // once

 private:
  void block(const std::uint8_t* data);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> waiting_{};
  std::size_t held_ = 0;
  std::uint64_t bytes_ = 0;
};

// 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view bytes);
std::string hex(const std::array<std::uint8_t, 32>& digest);

}  // namespace g4::rt
