#include "decimal.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace g4::rt {
namespace {

constexpr int kFarExponent = 1'000'000;  // beyond it every number that is written with so few digits is 0 or infinite

bool is_digit(char character) { return character >= '0' && character <= '9'; }

int exponent_of(std::string_view digits) {
  const bool negative = !digits.empty() && digits.front() == '-';
  int found = 0;
  for (const char digit : digits)
    if (is_digit(digit)) found = std::min(found * 10 + (digit - '0'), kFarExponent);
  return negative ? -found : found;
}

std::string formatted(const char* format, int precision, double value) {
  char room[400];  // the greatest double has 309 digits
  return {room, static_cast<std::size_t>(std::snprintf(room, sizeof room, format, precision, value))};
}

}  // namespace

double nearest_double(std::string_view text) {
  // strtod reads the decimal point of the process's locale, so it is given none: the exponent is lowered instead.
  const std::size_t e = text.find_first_of("eE"), point = text.find('.');
  const std::string_view number = text.substr(0, e);
  int exponent = e == std::string_view::npos ? 0 : exponent_of(text.substr(e + 1));
  std::string given(number.substr(0, point));
  if (point != std::string_view::npos) {
    given += number.substr(point + 1);
    exponent -= static_cast<int>(number.size() - point - 1);
  }
  return std::strtod((given + "e" + std::to_string(exponent)).c_str(), nullptr);
}

std::string scientific(double value, int digits) {
  std::string text = formatted("%.*e", digits - 1, value);
  if (digits < 2) return text;
  // What stands between the first digit and the second is the locale's point.
  const auto point = std::find_if(text.begin(), text.end(), is_digit) + 1;
  *point = '.';
  text.erase(point + 1, std::find_if(point + 1, text.end(), is_digit));
  return text;
}

std::string whole_digits(double value) { return formatted("%.*f", 0, value); }

}  // namespace g4::rt
