// Text of ids as it becomes certain.
#pragma once
#include <cstdint>
#include <string>

#include "pieces.h"

namespace g4::rt::text {

// A run of byte tokens is held back until another token ends it: one byte that makes its UTF-8 invalid turns every byte
// of the run into U+FFFD. Special tokens and ids that no token has are left out, and a run goes on behind them.
class TextStream {
 public:
  // Borrows `pieces`.
  explicit TextStream(const Pieces& pieces) : pieces_(&pieces) {}

  // Adds to `text` what `id` makes certain. Throws Failure, and is as before: G4RT_BAD_ARGUMENT for a negative id.
  void push(std::int32_t id, std::string& text);
  // Adds the rest to `text`. The stream is as new.
  void end(std::string& text);

 private:
  const Pieces* pieces_;
  std::string run_;  // bytes
};

}  // namespace g4::rt::text
