#include "tokenizer.h"

#include "../utf8.h"

namespace g4::rt::text {
namespace {

constexpr std::size_t kLongestReplaced = 64;  // bytes
constexpr std::size_t kLongestText = 1 << 30;  // bytes, before and after the normalizer: places are int32

}  // namespace

Tokenizer::Tokenizer(std::string_view table, std::int64_t vocab_size)
    : table_(table),
      vocab_size_(vocab_size),
      pieces_(table_),
      merges_(table_),
      splitter_(table_),
      given_(table_, Section::given_tokens),
      normalized_(table_, Section::normalized_tokens) {
  const std::string_view section = table_.section(Section::normalizer);
  if (section.empty()) return;
  const Numbers sizes = table_.numbers(Section::normalizer);
  const std::size_t sought = sizes[0], put = sizes[1];
  if (!sought || sought > kLongestReplaced || put > kLongestReplaced || section.size() != 8 + sought + put)
    damaged("its normalizer has another size than it says");
  sought_ = section.substr(8, sought);
  put_ = section.substr(8 + sought);
  if (utf8_prefix(sought_) != sought || utf8_prefix(put_) != put) damaged("its normalizer is no UTF-8");
}

std::string Tokenizer::normalized(std::string_view text) const {
  if (sought_.empty()) return std::string(text);
  std::string found;
  found.reserve(text.size());
  for (std::size_t at = 0;;) {
    const std::size_t next = text.find(sought_, at);
    found += text.substr(at, next - at);
    if (found.size() > kLongestText) fail(G4RT_BAD_ARGUMENT, "the text has more than 1 GiB");
    if (next == std::string_view::npos) return found;
    found += put_;
    at = next + sought_.size();
  }
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  if (text.size() > kLongestText) fail(G4RT_BAD_ARGUMENT, "the text has more than 1 GiB");
  if (const std::size_t whole = utf8_prefix(text); whole != text.size())
    fail(G4RT_BAD_ARGUMENT, "the text is no UTF-8 at byte " + std::to_string(whole) + ": decode the input as UTF-8");
  std::vector<std::int32_t> ids;
  std::vector<std::string_view> words;
  Merges::Scratch scratch;
  for (const Part& given : given_.parts(text)) {
    if (given.id >= 0) {
      ids.push_back(given.id);
      continue;
    }
    const std::string between = normalized(given.text);
    for (const Part& part : normalized_.parts(between)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      splitter_.split(part.text, words);
      for (const std::string_view word : words) merges_.encode(word, scratch, ids);
    }
  }
  for (const std::int32_t id : ids)
    if (id >= vocab_size_)
      fail(G4RT_BAD_BUNDLE, "the tokenizer gives the id " + std::to_string(id) + ", and the model has " +
                                std::to_string(vocab_size_) +
                                ": compile the bundle from a checkpoint whose tokenizer.json is that of its weights");
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  TextStream stream(pieces_);
  for (const std::int32_t id : ids) stream.push(id, text);
  stream.end(text);
  return text;
}

}  // namespace g4::rt::text
