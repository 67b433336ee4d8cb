// The program of a chat table (`chat.g4`). docs/chat-tables.md is normative for its bytes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat_cases.h"
#include "chat_code.h"

namespace g4::rt::chat {

constexpr std::uint32_t kMostSlots = 1000, kMostArguments = 100, kMostLoops = 30;  // of a routine

struct Constant {
  enum class Kind : std::uint8_t { none, boolean, integer, real, string } kind;
  std::int64_t integer;  // of a string its number
  double real;
};

struct Routine {
  std::uint32_t name, begin, end, slots;
  std::vector<std::uint32_t> parameters;  // their names; they have the first slots
};

// Every number in it that names something else is within that: only the stack is not proven here.
struct Table {
  // Throws Failure (G4RT_BAD_BUNDLE) for a table that is not whole or contradicts itself.
  explicit Table(std::string_view bytes);

  std::uint32_t line(std::uint32_t at) const;  // of the source, for an instruction
  const std::uint32_t* find_template(std::string_view name) const;

  std::vector<std::string> strings;
  std::vector<Constant> constants;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> variables;  // strings: name, text
  std::vector<std::pair<std::uint32_t, std::uint32_t>> templates;  // name, routine
  std::vector<Routine> routines;
  std::vector<Instruction> code;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> lines;  // first instruction, line
  Cases cases;
};

}  // namespace g4::rt::chat
