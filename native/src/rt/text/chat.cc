#include "chat.h"

#include <array>
#include <cmath>
#include <limits>

#include "chat_machine.h"

namespace g4::rt {
namespace {

using namespace chat;

constexpr std::array<std::string_view, 3> kReasoning = {"reasoning_content", "thinking", "reasoning"};
constexpr std::string_view kDefault = "default", kWithTools = "tool_use";

Value converted(Work& work, const json::Value& from);

Value number(Work& work, const json::Number& from) {
  if (from.is_integer) return Value(from.integer);
  if (from.text.find_first_of(".eE") == std::string::npos) {
    work.text(from.text.size());
    return Value(new Text(Kind::big, from.text));
  }
  if (!(std::fabs(from.value) < std::numeric_limits<double>::max())) {
    refuse("the number " + from.text + " is too large");
  }
  return Value(from.value);
}

Value converted(Work& work, const json::Value& from) {
  work.step();
  if (from.is_null()) return Value::none();
  if (const bool* value = from.boolean()) return Value(*value);
  if (const json::Number* value = from.number()) return number(work, *value);
  if (const std::string* value = from.string()) return make_text(work, *value);
  if (const json::Array* values = from.array()) {
    std::vector<Value> made;
    for (const json::Value& one : *values) made.push_back(converted(work, one));
    return make_list(work, std::move(made));
  }
  std::vector<Entry> made;
  for (const auto& [name, value] : *from.object()) made.emplace_back(make_text(work, name), converted(work, value));
  return make_dict(work, std::move(made));
}

// A message as templates read it: without entries that are null, and its reasoning under all its names.
Value prepared(Work& work, const json::Value& message) {
  const json::Object* object = message.object();
  if (!object) refuse("an entry of `messages` is no object");
  std::vector<Entry> made;
  for (const auto& [name, value] : *object)
    if (!value.is_null()) made.emplace_back(make_text(work, name), converted(work, value));
  const auto find = [&](std::string_view name) -> const Value* {
    for (const auto& [key, value] : made)
      if (key.text().bytes == name) return &value;
    return nullptr;
  };
  const Value* found = nullptr;
  for (const std::string_view name : kReasoning)
    if (!found) found = find(name);
  if (!found) return make_dict(work, std::move(made));
  // {"thinking": reasoning, **message, "reasoning_content": reasoning}, in the order of Python's dicts.
  const Value reasoning = *found;
  const Value* own = find("thinking");
  std::vector<Entry> all;
  all.emplace_back(make_text(work, "thinking"), own ? *own : reasoning);
  for (Entry& entry : made)
    if (entry.first.text().bytes != "thinking") all.push_back(std::move(entry));
  for (auto& [key, value] : all) {
    if (key.text().bytes == kReasoning[0]) {
      value = reasoning;
      return make_dict(work, std::move(all));
    }
  }
  all.emplace_back(make_text(work, std::string(kReasoning[0])), reasoning);
  return make_dict(work, std::move(all));
}

}  // namespace

ChatTable::ChatTable(std::string_view table) : table_(table) {}

std::string ChatTable::render(const json::Value& conversation, std::int64_t steps) const {
  const json::Value* messages = conversation.find("messages");
  const json::Array* given = messages ? messages->array() : nullptr;
  if (!given || given->empty()) refuse("a conversation is an object with `messages`, a list of at least one message");
  const json::Value* tools = conversation.find("tools");
  const bool with_tools = tools && !tools->is_null();
  const std::uint32_t* routine = with_tools ? table_.find_template(kWithTools) : nullptr;
  if (!routine) routine = table_.find_template(kDefault);
  if (!routine) fail(G4RT_UNSUPPORTED, "the bundle has no chat template that is named default; give `tools`");

  Work work(table_, steps);
  Variables variables;
  variables.emplace_back("documents", Value::none());
  variables.emplace_back("add_generation_prompt", Value(true));
  for (const auto& [name, text] : table_.variables) {
    variables.emplace_back(table_.strings[name], make_text(work, table_.strings[text]));
  }
  for (const auto& [name, value] : *conversation.object())
    if (name != "messages" && name != "tools") variables.emplace_back(name, converted(work, value));
  variables.emplace_back("tools", with_tools ? converted(work, *tools) : Value::none());
  std::vector<Value> all;
  for (const json::Value& one : *given) all.push_back(prepared(work, one));
  variables.emplace_back("messages", make_list(work, std::move(all)));

  Machine machine(table_, work, variables);
  try {
    return machine.run(*routine);
  } catch (Failure& failure) {
    if (failure.status == G4RT_BAD_ARGUMENT) {
      failure.words = "the chat template cannot be rendered for this conversation: " + failure.words + " (line " +
                      std::to_string(machine.line()) + " of the template)";
    }
    throw;
  }
}

}  // namespace g4::rt
