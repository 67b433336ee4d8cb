#include "pieces.h"

#include "../utf8.h"

namespace g4::rt::text {
namespace {

constexpr std::size_t kLongest = 4096;  // bytes; a table says no more, so that short answers stay short texts

}  // namespace

Pieces::Pieces(const Table& table)
    : starts_(table.numbers(Section::starts)),
      texts_(table.section(Section::texts)),
      kinds_(table.section(Section::kinds)) {}

Piece Pieces::piece(std::int32_t id) const {
  if (id < 0) fail(G4RT_BAD_ARGUMENT, "a token id is " + std::to_string(id) + ", and must be 0 or more");
  const auto index = static_cast<std::size_t>(id);
  if (index >= kinds_.size()) return {PieceKind::none, {}};
  const auto kind = static_cast<unsigned char>(kinds_[index]);
  if (kind > static_cast<unsigned char>(PieceKind::none))
    damaged("token " + std::to_string(id) + " is of a kind that has no meaning");
  const std::size_t start = starts_[index], end = starts_[index + 1];
  if (end < start || end > texts_.size() || end - start > kLongest)
    damaged("the text of token " + std::to_string(id) + " does not lie in it");
  const Piece found{static_cast<PieceKind>(kind), texts_.substr(start, end - start)};
  if (found.kind == PieceKind::byte && found.text.size() != 1)
    damaged("token " + std::to_string(id) + " is a byte, and has " + std::to_string(found.text.size()));
  if (found.kind == PieceKind::text && utf8_prefix(found.text) != found.text.size())
    damaged("the text of token " + std::to_string(id) + " is no UTF-8");
  return found;
}

}  // namespace g4::rt::text
