// The table of a tokenizer, as it lies in a mapped file: docs/text-tables.md. Nothing is read when it is opened but its
// header; every number of it is looked at where it is used.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "../failure.h"

namespace g4::rt::text {

// In the order of the file.
enum class Section {
  starts,
  texts,
  kinds,
  character_pages,
  characters,
  byte_ids,
  buckets,
  merges,
  given_tokens,
  normalized_tokens,
  normalizer,
  split,
};
constexpr std::size_t kSections = 12;

// Throws Failure: the table does not hold together, and `why` says where.
[[noreturn]] void damaged(const std::string& why);

// uint32 of a section. The table may lie at any address.
class Numbers {
 public:
  Numbers() = default;
  Numbers(std::string_view bytes, const char* name) : bytes_(bytes), name_(name) {}
  std::size_t size() const { return bytes_.size() / 4; }
  // Throws Failure behind the end.
  std::uint32_t operator[](std::size_t index) const {
    if (index >= size()) damaged(std::string("the section ") + name_ + " ends before a number that is read");
    std::uint32_t value;
    std::memcpy(&value, bytes_.data() + 4 * index, 4);
    return value;
  }

 private:
  std::string_view bytes_;
  const char* name_ = "";
};

class Table {
 public:
  // Borrows `bytes`. Throws Failure (G4RT_BAD_BUNDLE) for a header that does not fit them.
  explicit Table(std::string_view bytes);

  std::uint32_t ids() const { return ids_; }
  std::uint32_t merges() const { return merges_; }
  std::uint32_t bucket_bits() const { return bucket_bits_; }
  bool fuses_unk() const { return fuses_unk_; }
  std::int32_t unk_id() const { return unk_id_; }  // -1: none
  std::string_view section(Section which) const { return sections_[static_cast<std::size_t>(which)]; }
  Numbers numbers(Section which) const;

 private:
  std::uint32_t ids_, merges_, bucket_bits_;
  bool fuses_unk_;
  std::int32_t unk_id_;
  std::array<std::string_view, kSections> sections_;
};

}  // namespace g4::rt::text
