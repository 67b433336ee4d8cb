// Attributes, items and slices of values.
#include <algorithm>
#include <array>

#include "chat_operators.h"
#include "chat_text.h"

namespace g4::rt::chat {
namespace {

// Names of attributes that Python 3.11 has, those with an underscore in front aside.
using Names = std::string_view;  // each between two spaces
constexpr Names kOfTexts =
    " capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha isascii "
    "isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip "
    "maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split "
    "splitlines startswith strip swapcase title translate upper zfill ";
constexpr Names kOfDicts = " copy fromkeys get items keys values ";
constexpr Names kOfLists = " copy count index ";
constexpr Names kOfTuples = " count index ";
constexpr Names kOfIntegers =
    " as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real to_bytes ";
constexpr Names kOfReals = " as_integer_ratio conjugate fromhex hex imag is_integer real ";
constexpr Names kOfRanges = " count index start step stop ";
constexpr Names kOfViews = " isdisjoint mapping ";
constexpr Names kOfLazy = " close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send throw ";
// What the sandbox forbids.
constexpr Names kChangeLists = " append clear extend insert pop remove reverse sort ";
constexpr Names kChangeDicts = " clear pop popitem setdefault update ";

bool has(Names names, std::string_view name) {
  if (name.empty() || name.find(' ') != std::string_view::npos) return false;
  for (std::size_t at = 1; (at = names.find(name, at)) != std::string_view::npos; ++at)
    if (names[at - 1] == ' ' && names[at + name.size()] == ' ') return true;
  return false;
}

Names attributes_of(Kind kind) {
  switch (kind) {
    case Kind::text: return kOfTexts;
    case Kind::dict: return kOfDicts;
    case Kind::list: return kOfLists;
    case Kind::tuple: return kOfTuples;
    case Kind::boolean:
    case Kind::integer:
    case Kind::big: return kOfIntegers;
    case Kind::real: return kOfReals;
    case Kind::range: return kOfRanges;
    case Kind::view: return kOfViews;
    case Kind::lazy: return kOfLazy;
    default: return {};
  }
}

// What Python has for an attribute: empty for nothing.
Value of_python(const Work& work, const Value& value, std::string_view name, const Value& none_such) {
  switch (value.kind()) {
    case Kind::undefined: refuse(reason(work, value));
    case Kind::method: return none_such;
    case Kind::space: {
      const Value* found = value.space()->find(name);
      return found ? *found : none_such;
    }
    case Kind::macro:
    case Kind::function: refuse("the attribute '" + std::string(name.substr(0, 100)) + "' of a " + name_of(value));
    default: break;
  }
  if (value.is(Kind::list) && has(kChangeLists, name)) return none_such;
  if (value.is(Kind::dict) && has(kChangeDicts, name)) return none_such;
  if (!has(attributes_of(value.kind()), name)) return Value();
  if (value.is(Kind::text) || value.is(Kind::dict) || value.is(Kind::list) || value.is(Kind::tuple)) {
    return Value(new Unbound(value, deeper(value.depth())));
  }
  refuse("the attribute '" + std::string(name) + "' of a " + name_of(value));
}

const Value* entry(Work& work, const Dict& dict, std::string_view name) {
  work.step(1 + dict.entries.size() / 8);
  return dict.find(name);
}

// `index` of `length` items, from the end where it is below 0; false where there is none.
bool found_at(std::int64_t& index, std::size_t length) {
  if (index < 0) index += static_cast<std::int64_t>(length);
  return index >= 0 && index < static_cast<std::int64_t>(length);
}

struct Steps {
  std::int64_t start, step, count;
};

// As `slice.indices` of Python.
Steps steps_of(Work& work, const Value& start, const Value& stop, const Value& step, std::int64_t length) {
  const auto given = [&](const Value& value, std::int64_t otherwise) {
    if (value.is(Kind::none)) return otherwise;
    if (value.is(Kind::big)) return value.text().bytes[0] == '-' ? INT64_MIN + 1 : INT64_MAX;
    if (!is_whole(value)) wrong(work, "a slice by what is no whole number, but", value);
    return value.integer();
  };
  const std::int64_t by = std::max(given(step, 1), INT64_MIN + 1);
  if (by == 0) refuse("a slice with steps of 0");
  const std::int64_t lowest = by > 0 ? 0 : -1, highest = by > 0 ? length : length - 1;
  const auto clamped = [&](const Value& value, std::int64_t otherwise) {
    if (value.is(Kind::none)) return otherwise;
    std::int64_t at = given(value, 0);
    if (at < 0) at = at < -length ? lowest : at + length;
    return std::clamp(at, lowest, highest);
  };
  const std::int64_t from = clamped(start, by > 0 ? lowest : highest), to = clamped(stop, by > 0 ? highest : lowest);
  const std::int64_t way = by > 0 ? to - from : from - to, stride = by > 0 ? by : -by;
  return {from, by, way <= 0 ? 0 : (way - 1) / stride + 1};
}

}  // namespace

Value attribute(Work& work, const Value& value, std::string_view name, std::uint32_t index) {
  const Value none_such = Value::undefined(Why::attribute, index);
  const Value found = of_python(work, value, name, none_such);
  if (!found.is(Kind::empty)) return found;
  const Value* inner = value.is(Kind::dict) ? entry(work, value.dict(), name) : nullptr;
  return inner ? *inner : none_such;
}

Value item(Work& work, const Value& value, const Value& key) {
  if (value.is(Kind::undefined)) refuse(reason(work, value));
  const Value none_such = Value::undefined(Why::item);
  std::int64_t index = is_whole(key) ? key.integer() : 0;
  if (value.is(Kind::dict) && key.is(Kind::text)) {
    if (const Value* found = entry(work, value.dict(), key.text().bytes)) return *found;
  } else if (is_whole(key)) {
    if (value.is(Kind::list) || value.is(Kind::tuple)) {
      const std::vector<Value>& values = value.items().values;
      return found_at(index, values.size()) ? values[static_cast<std::size_t>(index)] : none_such;
    }
    if (value.is(Kind::range)) {
      const Range& range = value.range();
      return found_at(index, static_cast<std::size_t>(range.count)) ? Value(range.at(index)) : none_such;
    }
    if (value.is(Kind::text)) {
      const Text& text = value.text();
      if (!found_at(index, text.length())) return none_such;
      if (!text.plain()) work.step(1 + text.bytes.size() / 64);
      const std::size_t at = byte_of(text, static_cast<std::size_t>(index));
      return make_text(work, text.bytes.substr(at, character_bytes(text.bytes, at)));
    }
  }
  if (!key.is(Kind::text)) return none_such;
  const Value found = of_python(work, value, key.text().bytes, none_such);
  return found.is(Kind::empty) ? none_such : found;
}

Value part(Work& work, const Value& value, const Value& start, const Value& stop, const Value& step) {
  const bool text = value.is(Kind::text);
  std::int64_t length = 0;
  if ((!text && !value.is(Kind::list) && !value.is(Kind::tuple)) || !length_of(value, length)) {
    wrong(work, "a slice", value);
  }
  const Steps steps = steps_of(work, start, stop, step, length);
  const auto at = [&](std::int64_t i) { return static_cast<std::size_t>(steps.start + i * steps.step); };
  if (!text) {
    const std::vector<Value>& values = value.items().values;
    std::vector<Value> made;
    for (std::int64_t i = 0; i < steps.count; ++i) made.push_back(values[at(i)]);
    return make_list(work, std::move(made), value.kind());
  }
  const Text& from = value.text();
  if (steps.count == 0) return make_text(work, "");
  if (steps.step == 1) {
    const std::size_t begin = byte_of(from, at(0)), end = byte_of(from, at(steps.count));
    work.step(1 + end / 64);
    return make_text(work, from.bytes.substr(begin, end - begin));
  }
  std::vector<std::size_t> places;  // of characters
  work.text(from.bytes.size());
  for (std::size_t i = 0; i < from.bytes.size(); i += character_bytes(from.bytes, i)) places.push_back(i);
  std::string made;
  for (std::int64_t i = 0; i < steps.count; ++i) {
    made.append(from.bytes, places[at(i)], character_bytes(from.bytes, places[at(i)]));
  }
  return make_text(work, std::move(made));
}

}  // namespace g4::rt::chat
