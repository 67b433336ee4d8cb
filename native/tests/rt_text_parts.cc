// Tokenizer and stream as C functions, for tests that load them: a status, and words of the last failure.
#include <cstring>
#include <string>
#include <vector>

#include "rt/failure.h"
#include "rt/text/tokenizer.h"

using namespace g4::rt;

namespace {

thread_local std::string words;

template <typename Call>
int guarded(Call call) {
  try {
    call();
    return G4RT_OK;
  } catch (const Failure& failure) {
    words = failure.words;
    return failure.status;
  } catch (const std::exception& error) {
    words = error.what();
    return G4RT_DEFECT;
  }
}

template <typename Values, typename Value>
void give(const Values& found, Value* to, std::size_t capacity, std::size_t* count) {
  *count = found.size();
  if (found.size() > capacity) fail(G4RT_NO_ROOM, "no room");
  if (!found.empty()) std::memcpy(to, found.data(), found.size() * sizeof(Value));
}

struct Stream {
  text::TextStream stream;
  std::string text;
};

}  // namespace

extern "C" {

G4RT_EXPORT const char* parts_last_error() { return words.c_str(); }

// The bytes of `table` must outlive what is made.
G4RT_EXPORT int parts_open(const char* table, std::size_t bytes, std::int64_t vocab_size, void** made) {
  return guarded([&] { *made = new text::Tokenizer({table, bytes}, vocab_size); });
}

G4RT_EXPORT void parts_close(void* tokenizer) { delete static_cast<text::Tokenizer*>(tokenizer); }

G4RT_EXPORT int parts_encode(const void* tokenizer, const char* text, std::size_t bytes, std::int32_t* ids,
                             std::size_t capacity, std::size_t* count) {
  return guarded(
      [&] { give(static_cast<const text::Tokenizer*>(tokenizer)->encode({text, bytes}), ids, capacity, count); });
}

G4RT_EXPORT int parts_decode(const void* tokenizer, const std::int32_t* ids, std::size_t count, char* text,
                             std::size_t capacity, std::size_t* bytes) {
  return guarded(
      [&] { give(static_cast<const text::Tokenizer*>(tokenizer)->decode({ids, count}), text, capacity, bytes); });
}

G4RT_EXPORT int parts_stream(const void* tokenizer, void** made) {
  return guarded([&] { *made = new Stream{static_cast<const text::Tokenizer*>(tokenizer)->stream(), {}}; });
}

G4RT_EXPORT void parts_end_stream(void* stream) { delete static_cast<Stream*>(stream); }

// `id` -1 ends the text. The text lives until the next call.
G4RT_EXPORT int parts_push(void* stream, std::int32_t id, const char** text, std::size_t* bytes) {
  auto* given = static_cast<Stream*>(stream);
  given->text.clear();
  const int status = guarded([&] {
    if (id == -1)
      given->stream.end(given->text);
    else
      given->stream.push(id, given->text);
  });
  *text = given->text.data();
  *bytes = given->text.size();
  return status;
}

// Starts and ends of the words into which the pre-tokenizer of `table` cuts `text`.
G4RT_EXPORT int parts_split(const char* table, std::size_t table_bytes, const char* text, std::size_t bytes,
                            std::int32_t* bounds, std::size_t capacity, std::size_t* count) {
  return guarded([&] {
    const text::Table read({table, table_bytes});
    std::vector<std::string_view> found;
    text::Splitter(read).split({text, bytes}, found);
    std::vector<std::int32_t> numbers;
    for (const std::string_view word : found) {
      numbers.push_back(static_cast<std::int32_t>(word.data() - text));
      numbers.push_back(static_cast<std::int32_t>(word.data() - text + word.size()));
    }
    give(numbers, bounds, capacity, count);
  });
}

}  // extern "C"
