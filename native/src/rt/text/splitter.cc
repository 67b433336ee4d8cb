#include "splitter.h"

#include <algorithm>

#include "../utf8.h"

namespace g4::rt::text {
namespace {

constexpr std::size_t kMostAlternatives = 32, kMostItems = 64, kMostRanges = 4096;
// To choose how often the items before the last of an alternative are repeated, and characters that they take. So a
// character of a text takes a bounded number of steps: the last item of an alternative never gives back what it took.
constexpr std::uint64_t kMostWays = 64;

[[noreturn]] void wrong(const std::string& why) { damaged("the pattern of its pre-tokenizer " + why); }

}  // namespace

Splitter::Splitter(const Table& table) {
  const Numbers numbers = table.numbers(Section::split);
  if (numbers.size()) read(numbers);
}

void Splitter::read(const Numbers& numbers) {
  const std::uint32_t behavior = numbers[0], invert = numbers[1];
  const std::size_t alternatives = numbers[2], items = numbers[3], ranges = numbers[4];
  if (behavior < 1 || behavior > static_cast<std::uint32_t>(Behavior::contiguous) || invert > 1)
    wrong("has a behavior that has no meaning");
  if (!alternatives || alternatives > kMostAlternatives) wrong("has none, or too many alternatives");
  if (items > kMostAlternatives * kMostItems || ranges > kMostRanges) wrong("is too large");
  if (numbers.size() != 5 + alternatives + 3 * items + 2 * ranges) wrong("has another size than it says");
  behavior_ = static_cast<Behavior>(behavior);
  invert_ = invert;
  std::size_t at = 5;
  for (std::uint32_t i = 0, first = 0; i < alternatives; ++i) {
    const std::uint32_t end = numbers[at++];
    if (end <= first || end > items || end - first > kMostItems) wrong("has an alternative that is empty or too large");
    alternatives_.push_back({first, end});
    first = end;
  }
  if (alternatives_.back().end_item != items) wrong("has items of no alternative");
  for (std::uint32_t i = 0, first = 0; i < items; ++i, at += 3) {
    const Item item{numbers[at], numbers[at + 1], first, numbers[at + 2]};
    if (item.least > item.most || !item.most || item.end_range < first || item.end_range > ranges)
      wrong("has an item out of range");
    items_.push_back(item);
    first = item.end_range;
  }
  for (std::size_t i = 0; i < ranges; ++i, at += 2) ranges_.push_back({numbers[at], numbers[at + 1]});
  for (const Alternative& alternative : alternatives_) check(alternative);
}

void Splitter::check(const Alternative& alternative) const {
  const Item& last = items_[alternative.end_item - 1];
  std::uint64_t ways = 1, taken = last.least;
  bool empty = !last.least;
  for (std::uint32_t i = alternative.first_item; i + 1 < alternative.end_item; ++i) {
    if (items_[i].most > kMostWays) wrong("has an endless repetition before the end of an alternative");
    ways *= items_[i].most - items_[i].least + 1;
    taken += items_[i].most;
    empty = empty && !items_[i].least;
    if (ways > kMostWays) break;
  }
  if (ways > kMostWays || taken > kMostWays) wrong("takes too many steps");
  if (empty) wrong("matches an empty text");
}

std::size_t Splitter::one(const Item& item, std::string_view text, std::size_t at) const {
  const std::size_t bytes = utf8_character(text, at);
  if (!bytes) return 0;
  const std::uint32_t number = utf8_number(text, at, bytes);
  const auto first = ranges_.begin() + item.first_range, end = ranges_.begin() + item.end_range;
  const auto above =
      std::upper_bound(first, end, number, [](std::uint32_t one, const Range& range) { return one < range.first; });
  return above != first && number <= (above - 1)->last ? bytes : 0;
}

std::size_t Splitter::match(const Alternative& alternative, std::string_view text, std::size_t at) const {
  std::array<std::size_t, kMostItems> ends;
  std::array<std::uint32_t, kMostItems> taken;
  const std::uint32_t count = alternative.end_item - alternative.first_item;
  const Item* items = items_.data() + alternative.first_item;
  std::size_t here = at;
  // Items in front of `i` have taken what they take, and `here` is where `i` begins. Each takes as much as it can; where
  // one does not get its least, one in front gives a character back.
  for (std::uint32_t i = 0;;) {
    taken[i] = 0;
    for (std::size_t bytes; taken[i] < items[i].most && (bytes = one(items[i], text, here)); ++taken[i]) here += bytes;
    ends[i] = here;
    if (taken[i] >= items[i].least) {
      if (++i == count) return here - at;
      continue;
    }
    do {  // the nearest item in front that can do with a character less
      if (!i--) return 0;
    } while (taken[i] == items[i].least);
    --taken[i];
    here = ends[i];
    do --here;
    while ((static_cast<unsigned char>(text[here]) & 0xC0) == 0x80);
    ends[i] = here;
    ++i;
  }
}

std::size_t Splitter::match(std::string_view text, std::size_t at) const {
  for (const Alternative& alternative : alternatives_)
    if (const std::size_t bytes = match(alternative, text, at)) return bytes;
  return 0;
}

std::vector<Splitter::Cut> Splitter::cuts(std::string_view text) const {
  std::vector<Cut> found;
  std::size_t start = 0, at = 0;
  while (at < text.size()) {
    const std::size_t bytes = match(text, at);
    if (!bytes) {
      at += std::max<std::size_t>(1, utf8_character(text, at));
      continue;
    }
    if (start < at) found.push_back({start, at, invert_});
    found.push_back({at, at + bytes, !invert_});
    start = at += bytes;
  }
  if (start < text.size()) found.push_back({start, text.size(), invert_});
  return found;
}

// As tokenizers' `NormalizedString::split` does: a match joins what stands beside it, unless that is a match too.
std::vector<Splitter::Cut> Splitter::merged(const std::vector<Cut>& cuts) const {
  std::vector<Cut> found;
  bool previous = false;
  for (const Cut& cut : cuts) {
    const bool joins = behavior_ == Behavior::contiguous ? cut.is_match == previous : cut.is_match && !previous;
    if (joins && !found.empty())
      found.back().end = cut.end;
    else
      found.push_back(cut);
    previous = cut.is_match;
  }
  return found;
}

void Splitter::split(std::string_view text, std::vector<std::string_view>& words) const {
  words.clear();
  if (behavior_ == Behavior::none) {
    if (!text.empty()) words.push_back(text);
    return;
  }
  std::vector<Cut> found = cuts(text);
  if (behavior_ == Behavior::merged_with_next) {  // the same from the other end
    for (Cut& cut : found) cut = {text.size() - cut.end, text.size() - cut.start, cut.is_match};
    std::reverse(found.begin(), found.end());
  }
  if (behavior_ != Behavior::removed && behavior_ != Behavior::isolated) found = merged(found);
  if (behavior_ == Behavior::merged_with_next) {
    for (Cut& cut : found) cut = {text.size() - cut.end, text.size() - cut.start, cut.is_match};
    std::reverse(found.begin(), found.end());
  }
  for (const Cut& cut : found)
    if (behavior_ != Behavior::removed || !cut.is_match) words.push_back(text.substr(cut.start, cut.end - cut.start));
}

}  // namespace g4::rt::text
