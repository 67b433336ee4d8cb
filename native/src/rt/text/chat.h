// Renders conversations with a chat table: what jinja2 makes of the template that the table was compiled from.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "../json.h"
#include "chat_table.h"
#include "chat_work.h"

namespace g4::rt {

class ChatTable {
 public:
  // The bytes of `chat.g4`, which are copied. Throws Failure (G4RT_BAD_BUNDLE) for a table that is malformed.
  explicit ChatTable(std::string_view table);

  // The text of a conversation: an object with `messages`, and perhaps `tools` and other variables of the template;
  // `add_generation_prompt` is true unless it says otherwise. Throws Failure: G4RT_BAD_ARGUMENT for a conversation that
  // the template refuses, does not fit, or takes more than a rendering may; G4RT_UNSUPPORTED where no template is for
  // it; G4RT_BAD_BUNDLE for a table that is malformed.
  // Any number of threads may render at once.
  std::string render(const json::Value& conversation, std::int64_t steps = chat::kMostSteps) const;

 private:
  chat::Table table_;
};

}  // namespace g4::rt
