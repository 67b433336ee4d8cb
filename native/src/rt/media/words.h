// Numbers in the words of failures: the same in every locale, and without streams, which are large.
#pragma once
#include <cmath>
#include <cstdint>
#include <string>

namespace g4::rt {

// 1234567 as "1,234,567".
inline std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

// 12.34 as "12.3", of a number that is not negative and far below 2^63.
inline std::string tenths(double number) {
  const std::int64_t all = std::llround(number * 10);
  return grouped(all / 10) + "." + std::to_string(all % 10);
}

}  // namespace g4::rt
