// Chat tables and conversations that are anything: text comes out, or a Failure, within a bound of time and memory.
// An input is the size of a table (uint32, little-endian), the table, and a conversation in JSON.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "rt/failure.h"
#include "rt/json.h"
#include "rt/text/chat.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::int64_t kSteps = 20000;
  if (size < 4) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data + 4), size - 4);
  std::size_t bytes = 0;
  for (int i = 4; i-- > 0;) bytes = bytes << 8 | data[i];
  if (bytes > all.size()) return 0;
  try {
    const g4::rt::ChatTable table(all.substr(0, bytes));
    const std::string_view text = all.substr(bytes);
    const std::string made =
        table.render(g4::rt::json::parse(text, "the conversation", G4RT_BAD_ARGUMENT), kSteps);
    if (!g4::rt::json::is_utf8(made)) std::abort();
  } catch (const g4::rt::Failure& failure) {
    if (failure.words.empty()) std::abort();
  }
  return 0;
}
