// libFuzzer: any bytes as the table of a tokenizer, and a text, ids and a stream over it. Failures are what is expected;
// what the sanitizers say, an endless call and too much memory are not.
//
// An input is uint32 the bytes of the table (as many as there are, where it says more), the table, and a text.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "expected.h"
#include "rt/text/tokenizer.h"
#include "rt/utf8.h"

namespace {

using g4::rt::fuzz::expect_failures;
using g4::rt::text::TextStream;
using g4::rt::text::Tokenizer;

constexpr std::int64_t kVocabulary = 1 << 20;

void use(const Tokenizer& tokenizer, std::string_view text) {
  ++g4::rt::fuzz::taken;
  const std::string_view whole = text.substr(0, g4::rt::utf8_prefix(text));
  std::vector<std::int32_t> ids;
  expect_failures([&] { tokenizer.encode(text); });
  expect_failures([&] { ids = tokenizer.encode(whole); });
  for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
  expect_failures([&] {
    const std::string decoded = tokenizer.decode(ids);
    if (g4::rt::utf8_prefix(decoded) != decoded.size()) __builtin_trap();
    std::string streamed;
    TextStream stream = tokenizer.stream();
    for (const std::int32_t id : ids) stream.push(id, streamed);
    stream.end(streamed);
    if (streamed != decoded) __builtin_trap();
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint32_t bytes = 0;
  if (size < sizeof bytes) return 0;
  std::memcpy(&bytes, data, sizeof bytes);
  const std::string_view rest(reinterpret_cast<const char*>(data) + sizeof bytes, size - sizeof bytes);
  const std::size_t table = std::min<std::size_t>(bytes, rest.size());
  expect_failures([&] { use(Tokenizer(rest.substr(0, table), kVocabulary), rest.substr(table)); });
  return 0;
}
