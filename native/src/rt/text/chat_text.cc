#include "chat_text.h"

#include <cmath>

#include "../decimal.h"
#include "../utf8.h"
#include "chat_table.h"

namespace g4::rt::chat {
namespace {

constexpr int kMostDigits = 17;  // that tell one double from all others

// The same digits with the last one higher by one, which may be nearer than it looks: the gap between doubles is wider
// above a power of two than below it.
std::string next_up(std::string text) {
  std::size_t at = text.find('e');
  while (at > 0) {
    char& digit = text[--at];
    if (digit == '.') continue;
    if (digit != '9') {
      ++digit;
      return text;
    }
    digit = '0';
  }
  return "";  // all nines: fewer digits were tried
}

// "d.ddde-05" of a finite value above 0, with the fewest digits.
std::string shortest(double value) {
  for (int digits = 1; digits < kMostDigits; ++digits) {
    const std::string near = scientific(value, digits);
    if (nearest_double(near) == value) return near;
    const std::string above = next_up(near);
    if (!above.empty() && nearest_double(above) == value) return above;
  }
  return scientific(value, kMostDigits);
}

void write_quoted(Work& work, std::string& to, const std::string& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const char quote = bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos ? '"' : '\'';
  const auto escape = [&](char letter, int digits, std::uint32_t character) {
    to += '\\';
    to += letter;
    while (digits--) to += kDigits[character >> (4 * digits) & 15];
  };
  work.text(bytes.size() + 2);
  to += quote;
  for (std::size_t at = 0; at < bytes.size(); at += character_bytes(bytes, at)) {
    const std::uint32_t character = character_at(bytes, at);
    if (character == '\\' || character == static_cast<unsigned char>(quote)) {
      escape(static_cast<char>(character), 0, 0);
    } else if (character == '\n' || character == '\r' || character == '\t') {
      escape(character == '\n' ? 'n' : character == '\r' ? 'r' : 't', 0, 0);
    } else if (character >= 0x20 && character < 0x7F) {
      to += static_cast<char>(character);
    } else if (character < 0xA0) {
      escape('x', 2, character);
    } else if (!work.table.cases.hidden(character)) {
      append_utf8(to, character);
    } else if (character < 0x100) {
      escape('x', 2, character);
    } else {
      character < 0x10000 ? escape('u', 4, character) : escape('U', 8, character);
    }
  }
  to += quote;
}

void write_repr(Work& work, std::string& to, const Value& value) {
  work.step();
  if (to.size() > kLongestText) work.text(to.size());
  if (value.is(Kind::text)) return write_quoted(work, to, value.text().bytes);
  if (value.is(Kind::undefined)) {
    to += "Undefined";
    return;
  }
  write(work, to, value);
}

void write_all(Work& work, std::string& to, const std::vector<Value>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i) to += ", ";
    write_repr(work, to, values[i]);
  }
}

}  // namespace

std::size_t characters(std::string_view text) {
  std::size_t count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  return count;
}

std::size_t character_bytes(std::string_view text, std::size_t at) {
  const unsigned char first = static_cast<unsigned char>(text[at]);
  const std::size_t bytes = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  return bytes < text.size() - at ? bytes : text.size() - at;
}

std::uint32_t character_at(std::string_view text, std::size_t at) {
  return utf8_number(text, at, character_bytes(text, at));
}

std::size_t byte_of(const Text& text, std::size_t index) {
  if (index >= text.length()) return text.bytes.size();
  if (text.plain()) return index;
  std::size_t at = 0;
  while (index--) at += character_bytes(text.bytes, at);
  return at;
}

bool is_space(std::uint32_t character) {
  if (character < 0x80) return (character >= 0x09 && character <= 0x0D) || (character >= 0x1C && character <= 0x20);
  switch (character) {
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000: return true;
    default: return character >= 0x2000 && character <= 0x200A;
  }
}

std::string_view stripped(std::string_view text, const std::string* chars, Sides sides) {
  const auto goes = [&](std::size_t at) {
    if (!chars) return is_space(character_at(text, at));
    // A character of UTF-8 is not found inside of another one.
    return chars->find(text.substr(at, character_bytes(text, at))) != std::string::npos;
  };
  const auto has = [&](Sides side) { return (static_cast<int>(sides) & static_cast<int>(side)) != 0; };
  std::size_t begin = 0;
  while (has(Sides::left) && begin < text.size() && goes(begin)) begin += character_bytes(text, begin);
  text.remove_prefix(begin);
  while (has(Sides::right) && !text.empty()) {
    std::size_t last = text.size() - 1;
    while (last && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!goes(last)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string shown(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  if (value == 0) return std::signbit(value) ? "-0.0" : "0.0";
  const std::string written = shortest(std::fabs(value));
  const std::size_t mark = written.find('e');
  const int exponent = std::stoi(written.substr(mark + 1));
  std::string digits = written.substr(0, 1);
  if (mark > 2) digits += written.substr(2, mark - 2);
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back();
  std::string made = std::signbit(value) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    made += digits[0];
    if (digits.size() > 1) (made += '.').append(digits, 1);
    made += exponent < 0 ? "e-" : "e+";
    if (std::abs(exponent) < 10) made += '0';
    return made += std::to_string(std::abs(exponent));
  }
  if (exponent < 0) return made.append("0.").append(static_cast<std::size_t>(-exponent - 1), '0').append(digits);
  const std::size_t whole = static_cast<std::size_t>(exponent + 1);  // digits in front of the point
  if (digits.size() <= whole) return made.append(digits).append(whole - digits.size(), '0').append(".0");
  return made.append(digits, 0, whole).append(".").append(digits, whole);
}

std::string text_of(Work& work, const Value& value) {
  if (value.is(Kind::text)) {
    work.text(value.text().bytes.size());
    return value.text().bytes;
  }
  std::string made;
  write(work, made, value);
  return made;
}

void write(Work& work, std::string& to, const Value& value) {
  const std::size_t before = to.size();
  switch (value.kind()) {
    case Kind::text:
    case Kind::big: to += value.text().bytes; break;
    case Kind::undefined: break;
    case Kind::none: to += "None"; break;
    case Kind::boolean: to += value.integer() ? "True" : "False"; break;
    case Kind::integer: to += std::to_string(value.integer()); break;
    case Kind::real: to += shown(value.real()); break;
    case Kind::list:
      to += '[';
      write_all(work, to, value.items().values);
      to += ']';
      break;
    case Kind::tuple:
      to += '(';
      write_all(work, to, value.items().values);
      to += value.items().values.size() == 1 ? ",)" : ")";
      break;
    case Kind::dict: {
      to += '{';
      bool first = true;
      for (const auto& [key, entry] : value.dict().entries) {
        if (!first) to += ", ";
        first = false;
        write_repr(work, to, key);
        to += ": ";
        write_repr(work, to, entry);
      }
      to += '}';
      break;
    }
    case Kind::range: {
      const Range& range = value.range();
      to += "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop);
      to += range.step == 1 ? ")" : ", " + std::to_string(range.step) + ")";
      break;
    }
    default: refuse(std::string("a ") + name_of(value) + " has no text");
  }
  work.text(to.size() - before);
  if (to.size() > kLongestText) work.text(to.size());
}

}  // namespace g4::rt::chat
