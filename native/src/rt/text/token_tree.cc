#include "token_tree.h"

#include <algorithm>

namespace g4::rt::text {
namespace {

constexpr std::size_t kNode = 12, kLongest = 1024;  // bytes of a node, and of a token

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

TokenTree::TokenTree(const Table& table, Section which)
    : bytes_(table.section(which)),
      name_(which == Section::given_tokens ? "given_tokens" : "normalized_tokens"),
      ids_(table.ids()) {
  if (bytes_.size() % kNode) damaged(std::string("the section ") + name_ + " has half a node");
  if (bytes_.empty()) return;
  const Node root = node(0);
  for (std::uint32_t i = 0; i < root.children; ++i) begins_.set(node(root.first + i).byte);
}

TokenTree::Node TokenTree::node(std::uint32_t index) const {
  const std::size_t nodes = bytes_.size() / kNode;
  if (index >= nodes) damaged(std::string("the section ") + name_ + " ends before a node that is read");
  const char* at = bytes_.data() + kNode * index;
  Node found{};
  std::uint16_t children;
  std::memcpy(&found.first, at, 4);
  std::memcpy(&children, at + 4, 2);
  std::memcpy(&found.id, at + 8, 4);
  found.children = children;
  found.byte = static_cast<unsigned char>(at[6]);
  const bool is_inside = children <= 256 && found.first > index && found.first + std::uint64_t{children} <= nodes;
  if (children && !is_inside)
    damaged(std::string("node ") + std::to_string(index) + " of the section " + name_ + " has children out of range");
  if (found.id < -1 || found.id >= static_cast<std::int64_t>(ids_))
    damaged(std::string("node ") + std::to_string(index) + " of the section " + name_ + " has an id out of range");
  return found;
}

std::uint32_t TokenTree::child(const Node& of, unsigned char byte) const {
  std::uint32_t low = of.first, high = of.first + of.children;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    const unsigned char found = node(middle).byte;
    if (found == byte) return middle;
    if (found < byte)
      low = middle + 1;
    else
      high = middle;
  }
  return 0;
}

Part TokenTree::longest(std::string_view text, std::size_t at) const {
  Part found{{}, -1};
  Node here = node(0);
  const std::size_t end = std::min(text.size(), at + kLongest);
  for (std::size_t i = at; i < end; ++i) {
    const std::uint32_t next = child(here, static_cast<unsigned char>(text[i]));
    if (!next) break;
    here = node(next);
    if (here.id >= 0) found = {text.substr(at, i + 1 - at), here.id};
  }
  return found;
}

std::vector<Part> TokenTree::parts(std::string_view text) const {
  std::vector<Part> found;
  std::size_t start = 0, at = 0;
  while (at < text.size()) {
    Part part{{}, -1};
    if (begins_[static_cast<unsigned char>(text[at])] && !continues(text[at])) part = longest(text, at);
    if (part.id < 0) {
      ++at;
      continue;
    }
    if (start < at) found.push_back({text.substr(start, at - start), -1});
    start = at += part.text.size();
    found.push_back(part);
    if (at < text.size() && continues(text[at]))
      damaged("added token " + std::to_string(part.id) + " ends inside a character");
  }
  if (start < text.size()) found.push_back({text.substr(start), -1});
  return found;
}

}  // namespace g4::rt::text
