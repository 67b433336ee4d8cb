// Cases of letters, and which characters `repr` shows: the part of a chat table that is the same for every template.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace g4::rt::chat {

class Cases {
 public:
  struct Range {
    std::uint32_t first, last;
  };
  struct Run {
    std::uint32_t first, last, every;
    std::int32_t added;
  };
  struct Special {
    std::uint32_t character;
    std::array<std::uint32_t, 3> becomes;  // 0 behind the last
  };
  struct Changes {
    std::vector<Run> runs;
    std::vector<Special> special;
  };

  // Each ascends. Without any, characters beyond ASCII are refused.
  std::vector<Range> hidden_ranges, cased_ranges, ignorable_ranges;
  Changes lower_changes, upper_changes, title_changes;

  bool hidden(std::uint32_t character) const;
  std::string lower(std::string_view text) const;
  std::string upper(std::string_view text) const;
  std::string capitalized(std::string_view text) const;

 private:
  void need(std::string_view text) const;
  void append_lower(std::string& to, std::string_view text, std::size_t at) const;
  bool final_sigma(std::string_view text, std::size_t at) const;
};

}  // namespace g4::rt::chat
