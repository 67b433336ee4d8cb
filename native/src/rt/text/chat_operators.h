// Operators of chat templates, and attributes and items of values, as Python and Jinja's sandbox have them.
#pragma once
#include <string_view>

#include "chat_value.h"

namespace g4::rt::chat {

Value unary(Work& work, Unary kind, const Value& value);
Value binary(Work& work, Binary kind, const Value& left, const Value& right);
bool compared(Work& work, Compare kind, const Value& left, const Value& right);
bool equal(Work& work, const Value& left, const Value& right);
// Refuses what Python does not look up in a dict.
void check_key(const Value& key);
bool contains(Work& work, const Value& item, const Value& values);  // `item in values`

enum class Order : std::uint8_t { less, equal, greater, none };
Order order(Work& work, const Value& left, const Value& right);  // refuses what has none

// `value.name`, an attribute of Python's before an entry of a dict. `index`: of the name in the table, for errors.
Value attribute(Work& work, const Value& value, std::string_view name, std::uint32_t index);
// `value[key]`, an entry before an attribute of Python's.
Value item(Work& work, const Value& value, const Value& key);
// `value[start:stop:step]`; what is left out is none.
Value part(Work& work, const Value& value, const Value& start, const Value& stop, const Value& step);

}  // namespace g4::rt::chat
