// Added tokens, found in a text: at the first place where one stands, the longest.
#pragma once
#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

#include "table.h"

namespace g4::rt::text {

// A part of a text: an added token, or (id -1) what stands between two.
struct Part {
  std::string_view text;
  std::int32_t id;
};

class TokenTree {
 public:
  // `which`: given_tokens or normalized_tokens.
  TokenTree(const Table& table, Section which);

  // The parts of `text`, which is UTF-8; none is empty, and tokens end where characters end. Throws Failure for a
  // damaged table.
  std::vector<Part> parts(std::string_view text) const;

 private:
  struct Node {
    std::uint32_t first, children;
    unsigned char byte;
    std::int32_t id;
  };
  Node node(std::uint32_t index) const;
  std::uint32_t child(const Node& of, unsigned char byte) const;  // 0: none
  Part longest(std::string_view text, std::size_t at) const;

  std::string_view bytes_;
  const char* name_;
  std::uint32_t ids_;
  std::bitset<256> begins_;  // bytes with which a token begins
};

}  // namespace g4::rt::text
