// Byte-pair encoding of a word: characters to ids, and ids that are merged.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "table.h"

namespace g4::rt::text {

class Merges {
 public:
  explicit Merges(const Table& table);

  // What a word's encoding works in; a caller may keep it from one word to the next.
  struct Scratch {
    struct Symbol {
      std::int32_t id;          // -1: it is a part of one to the left
      std::int32_t left, right;  // places of the neighbours; -1: none
    };
    struct Candidate {
      std::uint32_t rank;
      std::int32_t place, id;  // of the left symbol, and of what the two make
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // Adds the ids of `word`, which is UTF-8, to `ids`. Takes n log n steps of a word of n characters.
  void encode(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& ids) const;

 private:
  struct Merge {
    std::uint32_t rank;
    std::int32_t id;
  };
  std::optional<Merge> find(std::int32_t left, std::int32_t right) const;
  std::int32_t character(std::uint32_t number) const;  // -1: it has no id
  std::int32_t checked(std::uint32_t id) const;
  void start(std::string_view word, Scratch& scratch) const;
  void merge(Scratch& scratch) const;
  void offer(Scratch& scratch, std::int32_t place) const;

  std::uint32_t ids_, merges_, bucket_bits_;
  bool fuses_unk_;
  std::int32_t unk_id_;
  Numbers pages_, characters_, byte_ids_, buckets_, rows_;
};

}  // namespace g4::rt::text
