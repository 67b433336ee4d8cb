// What the rendering of one conversation may still take, and how it ends where it takes more.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "../failure.h"

namespace g4::rt::chat {

struct Table;

constexpr std::size_t kLongest = 1u << 24;       // characters that are written in all
constexpr std::size_t kLongestText = 1u << 26;   // bytes of one text
constexpr std::size_t kMostItems = 1u << 20;     // of a list
constexpr std::size_t kMostAttributes = 1024;     // of a namespace, each of which is looked at for a name
constexpr std::size_t kMostNested = 128;         // lists and dicts in each other
constexpr std::int64_t kMostWritten = 1 << 29;   // bytes of all texts and lists that a conversation makes
constexpr std::int64_t kMostSteps = 1 << 28;     // instructions, and items of lists

// The conversation does not go with the template, or takes too much.
[[noreturn]] inline void refuse(std::string why) { fail(G4RT_BAD_ARGUMENT, std::move(why)); }

class Work {
 public:
  explicit Work(const Table& table, std::int64_t steps = kMostSteps) : table(table), steps_(steps) {}

  // Counts have 64 bits on every system: products of sizes come in.
  void step(std::uint64_t count = 1) {
    if (count > static_cast<std::uint64_t>(steps_)) refuse("the template takes too many steps");
    steps_ -= static_cast<std::int64_t>(count);
  }

  // A text of `bytes` is searched for one of `other`: at worst that takes the product of both.
  void search(std::uint64_t bytes, std::uint64_t other) { step(1 + bytes / 64 * (1 + other / 64)); }

  // A text of `bytes`, or a part of one, is to be made.
  void text(std::uint64_t bytes) {
    if (bytes > kLongestText || (bytes_ -= static_cast<std::int64_t>(bytes)) < 0) {
      refuse("the template makes texts that are too long");
    }
  }

  // A list of `count` items is to be made.
  void items(std::uint64_t count) {
    if (count > kMostItems) refuse("the template makes lists that are too long");
    text(16 * count);
  }

  const Table& table;

 private:
  std::int64_t steps_, bytes_ = kMostWritten;
};

}  // namespace g4::rt::chat
