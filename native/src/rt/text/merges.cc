#include "merges.h"

#include <algorithm>

#include "../utf8.h"

namespace g4::rt::text {
namespace {

constexpr std::uint32_t kLongestBucket = 64;  // rows; no table has more, so that a lookup has a bound
constexpr std::uint32_t kNone = 0xFFFFFFFF;

// The lowest rank first, and of equal ones the leftmost.
bool later(const Merges::Scratch::Candidate& one, const Merges::Scratch::Candidate& other) {
  return one.rank != other.rank ? one.rank > other.rank : one.place > other.place;
}

}  // namespace

Merges::Merges(const Table& table)
    : ids_(table.ids()),
      merges_(table.merges()),
      bucket_bits_(table.bucket_bits()),
      fuses_unk_(table.fuses_unk()),
      unk_id_(table.unk_id()),
      pages_(table.numbers(Section::character_pages)),
      characters_(table.numbers(Section::characters)),
      byte_ids_(table.numbers(Section::byte_ids)),
      buckets_(table.numbers(Section::buckets)),
      rows_(table.numbers(Section::merges)) {}

std::int32_t Merges::checked(std::uint32_t id) const {
  if (id == kNone) return -1;
  if (id >= ids_) damaged("it names the id " + std::to_string(id) + ", and has " + std::to_string(ids_));
  return static_cast<std::int32_t>(id);
}

std::int32_t Merges::character(std::uint32_t number) const {
  const std::uint32_t page = number >> 8 < pages_.size() ? pages_[number >> 8] : kNone;
  return page == kNone ? -1 : checked(characters_[std::size_t{page} << 8 | (number & 0xFF)]);
}

std::optional<Merges::Merge> Merges::find(std::int32_t left, std::int32_t right) const {
  const auto first_id = static_cast<std::uint32_t>(left), second_id = static_cast<std::uint32_t>(right);
  std::uint64_t mixed = (std::uint64_t{first_id} << 32 | second_id) * 0x9E3779B97F4A7C15;
  mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93;
  const std::size_t bucket = mixed >> (64 - bucket_bits_);
  const std::uint32_t first = buckets_[bucket], end = buckets_[bucket + 1];
  if (first > end || end > merges_ || end - first > kLongestBucket)
    damaged("bucket " + std::to_string(bucket) + " of its merges is out of range");
  for (std::size_t row = first; row < end; ++row) {
    if (rows_[4 * row] != first_id || rows_[4 * row + 1] != second_id) continue;
    const std::int32_t id = checked(rows_[4 * row + 3]);
    if (id < 0) damaged("a merge makes no id");
    return Merge{rows_[4 * row + 2], id};
  }
  return std::nullopt;
}

// As tokenizers' `BPE::merge_word`. A character without an id is its bytes, where each of them has one; else it is the
// unknown token, which waits for the next character with an id, and so stands behind bytes that follow it.
void Merges::start(std::string_view word, Scratch& scratch) const {
  scratch.symbols.clear();
  const auto add = [&](std::int32_t id) { scratch.symbols.push_back({id, -1, -1}); };
  bool unknown = false;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t bytes = utf8_character(word, at);
    if (!bytes) fail(G4RT_DEFECT, "a word is cut inside a character");
    const std::int32_t id = character(utf8_number(word, at, bytes));
    const std::string_view one = word.substr(at, bytes);
    at += bytes;
    if (id >= 0) {
      if (unknown) add(unk_id_);
      unknown = false;
      add(id);
      continue;
    }
    const auto of_byte = [&](char byte) { return checked(byte_ids_[static_cast<unsigned char>(byte)]); };
    if (std::all_of(one.begin(), one.end(), [&](char byte) { return of_byte(byte) >= 0; })) {
      for (const char byte : one) add(of_byte(byte));
    } else if (unk_id_ >= 0) {
      if (unknown && !fuses_unk_) add(unk_id_);
      unknown = true;
    }
  }
  if (unknown) add(unk_id_);
  for (std::size_t i = 0; i < scratch.symbols.size(); ++i) {
    scratch.symbols[i].left = static_cast<std::int32_t>(i) - 1;
    scratch.symbols[i].right = i + 1 < scratch.symbols.size() ? static_cast<std::int32_t>(i + 1) : -1;
  }
}

void Merges::offer(Scratch& scratch, std::int32_t place) const {
  const Scratch::Symbol& left = scratch.symbols[place];
  const auto found = find(left.id, scratch.symbols[left.right].id);
  if (found) scratch.heap.push_back({found->rank, place, found->id});
}

// As tokenizers' `Word::merge_all`. A candidate of symbols that have changed since is still taken where the two that
// are there now make the same id.
void Merges::merge(Scratch& scratch) const {
  std::vector<Scratch::Symbol>& symbols = scratch.symbols;
  std::vector<Scratch::Candidate>& heap = scratch.heap;
  heap.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) offer(scratch, static_cast<std::int32_t>(i));
  std::make_heap(heap.begin(), heap.end(), later);
  const auto offer_into_heap = [&](std::int32_t place) {
    const std::size_t before = heap.size();
    offer(scratch, place);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    const Scratch::Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    Scratch::Symbol& here = symbols[best.place];
    if (here.id < 0 || here.right < 0) continue;
    Scratch::Symbol& right = symbols[here.right];
    const auto now = find(here.id, right.id);
    if (!now || now->id != best.id) continue;
    here.id = best.id;
    here.right = right.right;
    right.id = -1;
    if (here.right >= 0) symbols[here.right].left = best.place;
    if (here.left >= 0) offer_into_heap(here.left);
    if (here.right >= 0) offer_into_heap(best.place);
  }
}

void Merges::encode(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& ids) const {
  start(word, scratch);
  merge(scratch);
  for (const Scratch::Symbol& symbol : scratch.symbols)
    if (symbol.id >= 0) ids.push_back(symbol.id);
}

}  // namespace g4::rt::text
