#include "stream.h"

#include "../utf8.h"

namespace g4::rt::text {

void TextStream::push(std::int32_t id, std::string& text) {
  const Piece piece = pieces_->piece(id);
  if (piece.kind == PieceKind::byte) {
    run_ += piece.text;
  } else if (piece.kind == PieceKind::text) {
    end(text);
    text += piece.text;
  }
}

void TextStream::end(std::string& text) {
  if (utf8_prefix(run_) == run_.size())
    text += run_;
  else
    for (std::size_t i = 0; i < run_.size(); ++i) text += "\xEF\xBF\xBD";  // U+FFFD
  run_.clear();
}

}  // namespace g4::rt::text
