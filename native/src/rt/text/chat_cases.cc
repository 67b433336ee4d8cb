#include "chat_cases.h"

#include <algorithm>

#include "../failure.h"
#include "../utf8.h"
#include "chat_text.h"

namespace g4::rt::chat {
namespace {

constexpr std::uint32_t kSigma = 0x3A3, kSmallSigma = 0x3C3, kFinalSigma = 0x3C2;

bool in(const std::vector<Cases::Range>& ranges, std::uint32_t character) {
  const auto found = std::upper_bound(ranges.begin(), ranges.end(), character,
                                      [](std::uint32_t one, const Cases::Range& range) { return one < range.first; });
  return found != ranges.begin() && character <= (found - 1)->last;
}

void append_changed(std::string& to, const Cases::Changes& changes, std::uint32_t character) {
  const auto special =
      std::lower_bound(changes.special.begin(), changes.special.end(), character,
                       [](const Cases::Special& one, std::uint32_t other) { return one.character < other; });
  if (special != changes.special.end() && special->character == character) {
    for (const std::uint32_t one : special->becomes)
      if (one) append_utf8(to, one);
    return;
  }
  const auto run = std::upper_bound(changes.runs.begin(), changes.runs.end(), character,
                                    [](std::uint32_t one, const Cases::Run& run) { return one < run.first; });
  if (run != changes.runs.begin()) {
    const Cases::Run& found = *(run - 1);
    if (character <= found.last && (character - found.first) % found.every == 0) {
      character += static_cast<std::uint32_t>(found.added);
    }
  }
  append_utf8(to, character);
}

}  // namespace

bool Cases::hidden(std::uint32_t character) const {
  if (hidden_ranges.empty()) fail(G4RT_UNSUPPORTED, "this chat table knows no characters beyond ASCII");
  return in(hidden_ranges, character);
}

void Cases::need(std::string_view text) const {
  if (!hidden_ranges.empty()) return;
  for (const char byte : text)
    if (static_cast<unsigned char>(byte) >= 0x80) hidden(0x80);
}

bool Cases::final_sigma(std::string_view text, std::size_t at) const {
  std::uint32_t before = 0;
  for (std::size_t i = at; i > 0;) {
    do --i;
    while (i && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80);
    before = character_at(text, i);
    if (!in(ignorable_ranges, before)) break;
    before = 0;
  }
  if (!before || !in(cased_ranges, before)) return false;
  for (std::size_t i = at + character_bytes(text, at); i < text.size(); i += character_bytes(text, i)) {
    const std::uint32_t behind = character_at(text, i);
    if (!in(ignorable_ranges, behind)) return !in(cased_ranges, behind);
  }
  return true;
}

void Cases::append_lower(std::string& to, std::string_view text, std::size_t at) const {
  const std::uint32_t character = character_at(text, at);
  if (character == kSigma) {
    append_utf8(to, final_sigma(text, at) ? kFinalSigma : kSmallSigma);
  } else {
    append_changed(to, lower_changes, character);
  }
}

std::string Cases::lower(std::string_view text) const {
  std::string made;
  need(text);
  for (std::size_t at = 0; at < text.size(); at += character_bytes(text, at)) {
    const char byte = text[at];
    if (static_cast<unsigned char>(byte) < 0x80) {
      made += byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte;
    } else {
      append_lower(made, text, at);
    }
  }
  return made;
}

std::string Cases::upper(std::string_view text) const {
  std::string made;
  need(text);
  for (std::size_t at = 0; at < text.size(); at += character_bytes(text, at)) {
    const char byte = text[at];
    if (static_cast<unsigned char>(byte) < 0x80) {
      made += byte >= 'a' && byte <= 'z' ? static_cast<char>(byte - 32) : byte;
    } else {
      append_changed(made, upper_changes, character_at(text, at));
    }
  }
  return made;
}

std::string Cases::capitalized(std::string_view text) const {
  std::string made;
  need(text);
  if (text.empty()) return made;
  const std::size_t first = character_bytes(text, 0);
  if (first == 1) {
    made = upper(text.substr(0, 1));
  } else {
    append_changed(made, title_changes, character_at(text, 0));
  }
  for (std::size_t at = first; at < text.size(); at += character_bytes(text, at)) {
    const char byte = text[at];
    if (static_cast<unsigned char>(byte) < 0x80) {
      made += byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte;
    } else {
      append_lower(made, text, at);
    }
  }
  return made;
}

}  // namespace g4::rt::chat
