// Characters of UTF-8, and the texts of values as Python's `str` and `repr` have them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "chat_value.h"

namespace g4::rt::chat {

std::size_t characters(std::string_view text);
// Bytes of the character that begins at `at`; text is valid UTF-8 here.
std::size_t character_bytes(std::string_view text, std::size_t at);
std::uint32_t character_at(std::string_view text, std::size_t at);
// The byte at which character `index` begins, or the end.
std::size_t byte_of(const Text& text, std::size_t index);
bool is_space(std::uint32_t character);  // as `str.isspace`

enum class Sides : std::uint8_t { left = 1, right = 2, both = 3 };
// Without white space, or without the characters of `chars` where there is one.
std::string_view stripped(std::string_view text, const std::string* chars, Sides sides);

// A double as Python writes it: the fewest digits that mean it.
std::string shown(double value);
// `value` as it is written: of lists and dicts that is Python's `repr`.
std::string text_of(Work& work, const Value& value);
// The same behind `to`.
void write(Work& work, std::string& to, const Value& value);

}  // namespace g4::rt::chat
