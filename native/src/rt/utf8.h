// UTF-8 as Unicode has it: no halves of surrogate pairs, and no character longer than it must be.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace g4::rt {

// Bytes of the UTF-8 character at `at`; 0 where there is none.
inline std::size_t utf8_character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at), second = byte(at + 1);
  const auto follows = [&](std::size_t i) { return (byte(at + i) & 0xC0) == 0x80; };
  if (first < 0x80) return at < text.size() ? 1 : 0;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if ((first & 0xF0) == 0xE0) {
    const bool whole = follows(1) && follows(2);
    return whole && !(first == 0xE0 && second < 0xA0) && !(first == 0xED && second > 0x9F) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool whole = follows(1) && follows(2) && follows(3);
    return whole && !(first == 0xF0 && second < 0x90) && !(first == 0xF4 && second > 0x8F) ? 4 : 0;
  }
  return 0;
}

// Bytes in front of the first that is of no character: all, where `text` is UTF-8.
inline std::size_t utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (const std::size_t bytes = utf8_character(text, at)) at += bytes;
  return at;
}

// The number of the character of `bytes` bytes at `at`.
inline std::uint32_t utf8_number(std::string_view text, std::size_t at, std::size_t bytes) {
  const auto byte = [&](std::size_t i) { return std::uint32_t{static_cast<unsigned char>(text[at + i])}; };
  std::uint32_t number = bytes == 1 ? byte(0) : byte(0) & (0x7Fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) number = number << 6 | (byte(i) & 0x3F);
  return number;
}

// Puts the character of `number` behind `to`.
inline void append_utf8(std::string& to, std::uint32_t number) {
  const auto put = [&](std::uint32_t byte) { to += static_cast<char>(byte); };
  if (number < 0x80) return put(number);
  if (number < 0x800) {
    put(0xC0 | number >> 6);
  } else {
    if (number < 0x10000) {
      put(0xE0 | number >> 12);
    } else {
      put(0xF0 | number >> 18);
      put(0x80 | (number >> 12 & 0x3F));
    }
    put(0x80 | (number >> 6 & 0x3F));
  }
  put(0x80 | (number & 0x3F));
}

}  // namespace g4::rt
