// A text cut into words, which merges do not cross: tokenizers' `Split`.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "table.h"

namespace g4::rt::text {

class Splitter {
 public:
  // Throws Failure for a pattern that is not whole, could match an empty text, or takes more steps than are allowed.
  explicit Splitter(const Table& table);

  // Puts the words of `text`, which is UTF-8, into `words`; none is empty.
  void split(std::string_view text, std::vector<std::string_view>& words) const;

 private:
  enum class Behavior : std::uint32_t { none, removed, isolated, merged_with_previous, merged_with_next, contiguous };
  struct Range {
    std::uint32_t first, last;
  };
  struct Item {
    std::uint32_t least, most;
    std::uint32_t first_range, end_range;
  };
  struct Alternative {
    std::uint32_t first_item, end_item;
  };
  struct Cut {
    std::size_t start, end;
    bool is_match;
  };

  void read(const Numbers& numbers);
  void check(const Alternative& alternative) const;
  std::size_t match(std::string_view text, std::size_t at) const;  // bytes; 0: none
  std::size_t match(const Alternative& alternative, std::string_view text, std::size_t at) const;
  // Bytes of the character at `at`, where it is one of `item`; else 0.
  std::size_t one(const Item& item, std::string_view text, std::size_t at) const;
  std::vector<Cut> cuts(std::string_view text) const;
  std::vector<Cut> merged(const std::vector<Cut>& cuts) const;

  Behavior behavior_ = Behavior::none;
  bool invert_ = false;
  std::vector<Alternative> alternatives_;
  std::vector<Item> items_;
  std::vector<Range> ranges_;
};

}  // namespace g4::rt::text
