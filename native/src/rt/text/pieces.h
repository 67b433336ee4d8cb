// What becomes of an id in text.
#pragma once
#include <cstdint>
#include <string_view>

#include "table.h"

namespace g4::rt::text {

enum class PieceKind : std::uint8_t { text, byte, special, none };

struct Piece {
  PieceKind kind;
  std::string_view text;  // of a byte: that byte
};

class Pieces {
 public:
  explicit Pieces(const Table& table);
  // An id that no token has is of the kind `none`. Throws Failure (G4RT_BAD_ARGUMENT) for a negative one.
  Piece piece(std::int32_t id) const;

 private:
  Numbers starts_;
  std::string_view texts_, kinds_;
};

}  // namespace g4::rt::text
