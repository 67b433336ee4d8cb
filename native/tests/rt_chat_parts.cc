// Chat tables for the tests, through C: what libg4rt does with them, and floats as Python writes them.
#include <cstring>
#include <memory>
#include <string>

#include "rt/json.h"
#include "rt/text/chat.h"
#include "rt/text/chat_text.h"

#if defined(_WIN32)
#define PART extern "C" __declspec(dllexport)
#else
#define PART extern "C" __attribute__((visibility("default")))
#endif

namespace {

thread_local std::string answer;

// The status of `make`, whose text, or whose failure's words, `chat_answer` gives.
template <class Make>
int answered(Make make) {
  try {
    answer = make();
    return G4RT_OK;
  } catch (const g4::rt::Failure& failure) {
    answer = failure.words;
    return failure.status;
  } catch (const std::exception& error) {
    answer = error.what();
    return G4RT_DEFECT;
  }
}

}  // namespace

PART const char* chat_answer(std::size_t* bytes) {
  *bytes = answer.size();
  return answer.data();
}

PART g4::rt::ChatTable* chat_open(const char* table, std::size_t bytes, int* status) {
  g4::rt::ChatTable* made = nullptr;
  *status = answered([&] {
    made = new g4::rt::ChatTable(std::string_view(table, bytes));
    return std::string();
  });
  return made;
}

PART void chat_close(g4::rt::ChatTable* table) { delete table; }

PART int chat_render(const g4::rt::ChatTable* table, const char* text, std::size_t bytes, long long steps) {
  return answered([&] {
    const auto conversation = g4::rt::json::parse(std::string_view(text, bytes), "the conversation", G4RT_BAD_ARGUMENT);
    return table->render(conversation, steps > 0 ? steps : g4::rt::chat::kMostSteps);
  });
}

PART int chat_shown(double value) {
  return answered([&] { return g4::rt::chat::shown(value); });
}
