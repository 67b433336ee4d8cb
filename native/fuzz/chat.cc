// Chat tables and conversations that are anything: text comes out, or a Failure, within a bound of time and memory.
//
// An input is the size of a table (uint32, little-endian), the table, and a conversation in JSON.
#include <cstdint>
#include <cstring>
#include <string_view>

#include "expected.h"
#include "rt/json.h"
#include "rt/text/chat.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::int64_t kSteps = 20000;
  std::uint32_t bytes = 0;
  if (size < sizeof bytes) return 0;
  std::memcpy(&bytes, data, sizeof bytes);
  const std::string_view rest(reinterpret_cast<const char*>(data) + sizeof bytes, size - sizeof bytes);
  if (bytes > rest.size()) return 0;
  g4::rt::fuzz::expect_failures([&] {
    const g4::rt::ChatTable table(rest.substr(0, bytes));
    const auto conversation = g4::rt::json::parse(rest.substr(bytes), "the conversation", G4RT_BAD_ARGUMENT);
    if (!g4::rt::json::is_utf8(table.render(conversation, kSteps))) __builtin_trap();
    ++g4::rt::fuzz::taken;
  });
  return 0;
}
