// Filters, tests and methods of chat templates, as Jinja and Python have them.
#pragma once
#include "chat_value.h"

namespace g4::rt::chat {

// `given`: as many values as the filter, test or method takes.
Value filtered(Work& work, Filter filter, const Value& value, const Value* given);
bool tested(Work& work, Test test, const Value& value, const Value* given);
Value called(Work& work, Method method, const Value& value, const Value* given);

// Where `path`, a tuple, leads to in `value`; `otherwise` stands for what is undefined, unless it is none.
Value led(Work& work, const Value& value, const Value& path, const Value& otherwise);
// `replace`: at most `count` times, or always where that is below 0.
Value replaced(Work& work, const std::string& text, const std::string& old, const std::string& by, std::int64_t count);
Value to_json(Work& work, const Value& value, const Value* given);

}  // namespace g4::rt::chat
