// The tokenizer of a bundle: text to ids and back, as tokenizers' `Tokenizer` does without adding special tokens.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "merges.h"
#include "pieces.h"
#include "splitter.h"
#include "stream.h"
#include "table.h"
#include "token_tree.h"

namespace g4::rt::text {

// Any number of threads may use one at once.
class Tokenizer {
 public:
  // Borrows `table`, the bytes of tokenizer.g4. `vocab_size`: of the model. Throws Failure (G4RT_BAD_BUNDLE,
  // G4RT_UNSUPPORTED). The time it takes does not grow with the vocabulary: entries are looked at where they are
  // used, and a damaged one is a Failure (G4RT_BAD_BUNDLE) of the call that uses it.
  Tokenizer(std::string_view table, std::int64_t vocab_size);

  // Ids of `text`, all of them from 0 to `vocab_size` - 1. Throws Failure: G4RT_BAD_ARGUMENT for what is no UTF-8, with
  // the byte; G4RT_BAD_BUNDLE for an id that the model does not have.
  std::vector<std::int32_t> encode(std::string_view text) const;

  // Text of `ids`: special tokens, and ids that no token has, are left out; bytes that make no UTF-8 are U+FFFD. Throws
  // Failure: G4RT_BAD_ARGUMENT for a negative id.
  std::string decode(std::span<const std::int32_t> ids) const;

  // Borrows the tokenizer.
  TextStream stream() const { return TextStream(pieces_); }

 private:
  std::string normalized(std::string_view text) const;

  Table table_;
  std::int64_t vocab_size_;
  Pieces pieces_;
  Merges merges_;
  Splitter splitter_;
  TokenTree given_, normalized_;
  std::string_view sought_, put_;  // of the normalizer; nothing is sought where there is none
};

}  // namespace g4::rt::text
