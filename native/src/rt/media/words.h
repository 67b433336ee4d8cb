// Numbers in the words of failures.
#pragma once
#include <cstdint>
#include <locale>
#include <sstream>
#include <string>

namespace g4::rt {

// 1234567 as "1,234,567".
inline std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

// As Python's `{:g}` has it, or with `decimals` behind the point; a point whatever the locale of the process.
inline std::string written(double number, int decimals = -1) {
  std::ostringstream stream;
  stream.imbue(std::locale::classic());
  if (decimals >= 0) {
    stream.setf(std::ios::fixed, std::ios::floatfield);
    stream.precision(decimals);
  }
  stream << number;
  return stream.str();
}

}  // namespace g4::rt
