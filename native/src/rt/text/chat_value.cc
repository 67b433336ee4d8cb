#include "chat_value.h"

#include <algorithm>

#include "chat_filters.h"
#include "chat_table.h"
#include "chat_text.h"

namespace g4::rt::chat {

void Value::release(Object* object) {
  if (--object->holders) return;
  switch (object->kind) {
    case Kind::big:
    case Kind::text: delete static_cast<Text*>(object); break;
    case Kind::list:
    case Kind::tuple: delete static_cast<Items*>(object); break;
    case Kind::dict: delete static_cast<Dict*>(object); break;
    case Kind::range: delete static_cast<Range*>(object); break;
    case Kind::view: delete static_cast<View*>(object); break;
    case Kind::lazy: delete static_cast<Lazy*>(object); break;
    case Kind::method: delete static_cast<Unbound*>(object); break;
    default: break;
  }
}

std::size_t Text::length() const {
  if (length_ == SIZE_MAX) length_ = characters(bytes);
  return length_;
}

const Value* Dict::find(std::string_view name) const {
  for (const auto& [key, value] : entries)
    if (key.text().bytes == name) return &value;
  return nullptr;
}

const Value* Space::find(std::string_view name) const {
  for (const auto& [key, value] : attributes)
    if (key == name) return &value;
  return nullptr;
}

void Space::put(std::string_view name, Value value) {
  if (name.substr(0, 1) == "_") refuse("a namespace cannot hold a name that begins with an underscore");
  for (auto& [key, old] : attributes) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  if (attributes.size() >= kMostAttributes) refuse("a namespace has too many names");
  attributes.emplace_back(name, std::move(value));
}

Iterator::Iterator(Value source) : source_(std::move(source)) {
  switch (source_.kind()) {
    case Kind::undefined:
    case Kind::text:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
    case Kind::view:
    case Kind::lazy: break;
    default: refuse(std::string("the items of a ") + name_of(source_));
  }
}

bool Iterator::next(Work& work, Value& item) {
  switch (source_.kind()) {
    case Kind::text: {
      const std::string& bytes = source_.text().bytes;
      if (at_ >= bytes.size()) return false;
      const std::size_t size = character_bytes(bytes, at_);
      item = make_text(work, bytes.substr(at_, size));
      at_ += size;
      break;
    }
    case Kind::list:
    case Kind::tuple: {
      const std::vector<Value>& values = source_.items().values;
      if (at_ >= values.size()) return false;
      item = values[at_++];
      break;
    }
    case Kind::range: {
      const Range& range = source_.range();
      if (static_cast<std::int64_t>(at_) >= range.count) return false;
      item = Value(range.at(static_cast<std::int64_t>(at_++)));
      break;
    }
    case Kind::dict: {
      const std::vector<Entry>& entries = source_.dict().entries;
      if (at_ >= entries.size()) return false;
      item = entries[at_++].first;
      break;
    }
    case Kind::view: {
      const View& view = source_.view();
      const std::vector<Entry>& entries = view.dict.dict().entries;
      if (at_ >= entries.size()) return false;
      const auto& [key, value] = entries[at_++];
      item = view.of == View::Of::keys     ? key
             : view.of == View::Of::values ? value
                                           : make_list(work, {key, value}, Kind::tuple);
      break;
    }
    case Kind::lazy:
      if (!source_.lazy().next(work, item)) return false;
      break;
    default: return false;
  }
  work.step();
  return true;
}

bool Lazy::next(Work& work, Value& item) {
  if (ended) return false;
  if (!begun) {
    begun = true;
    if (does == Does::items) {
      if (!source.is(Kind::undefined)) {
        if (!source.is(Kind::dict)) wrong(work, "`items`", source);
        items = Iterator(Value(new View(source, View::Of::items, deeper(source.depth()))));
      }
    } else if (truth(source)) {  // as Jinja asks first
      items = Iterator(source);
    }
    source = Value();
  }
  ended = true;  // where something is refused too, as in Python
  Value found;
  while (items.next(work, found)) {
    if (does == Does::filter) {
      found = filtered(work, static_cast<Filter>(number), found, arguments.data());
    } else if (does == Does::attribute) {
      found = led(work, found, path, other);
    } else if (does == Does::select) {
      const Value subject = path.is(Kind::empty) ? found : led(work, found, path, Value::none());
      if (tested(work, static_cast<Test>(number), subject, arguments.data()) == reject) continue;
    }
    item = std::move(found);
    ended = false;
    return true;
  }
  return false;
}

Value make_text(Work& work, std::string bytes) {
  work.text(bytes.size());
  return Value(new Text(Kind::text, std::move(bytes)));
}

std::size_t deeper(std::size_t depth) {
  if (depth >= kMostNested) refuse("values are nested more than " + std::to_string(kMostNested) + " deep");
  return depth + 1;
}

Value make_list(Work& work, std::vector<Value> values, Kind kind) {
  work.items(values.size());
  std::size_t depth = 0;
  for (const Value& value : values) depth = std::max(depth, value.depth());
  return Value(new Items(kind, std::move(values), deeper(depth)));
}

Value make_dict(Work& work, std::vector<Entry> entries) {
  work.items(2 * entries.size());
  std::size_t depth = 0;
  for (const auto& [key, value] : entries) depth = std::max(depth, value.depth());
  return Value(new Dict(std::move(entries), deeper(depth)));
}

bool truth(const Value& value) {
  std::int64_t length = 0;
  switch (value.kind()) {
    case Kind::empty:
    case Kind::undefined:
    case Kind::none: return false;
    case Kind::boolean:
    case Kind::integer: return value.integer() != 0;
    case Kind::real: return value.real() != 0;
    default: return !length_of(value, length) || length != 0;
  }
}

const char* name_of(const Value& value) {
  switch (value.kind()) {
    case Kind::empty:
    case Kind::undefined: return "undefined value";
    case Kind::none: return "none";
    case Kind::boolean: return "bool";
    case Kind::integer:
    case Kind::big: return "int";
    case Kind::real: return "float";
    case Kind::macro: return "macro";
    case Kind::function: return "function";
    case Kind::space: return "namespace";
    case Kind::text: return "str";
    case Kind::list: return "list";
    case Kind::tuple: return "tuple";
    case Kind::dict: return "dict";
    case Kind::range: return "range";
    case Kind::view: return "view of a dict";
    case Kind::lazy: return "generator";
    case Kind::method: return "method";
  }
  return "value";
}

std::string reason(const Work& work, const Value& undefined) {
  const std::vector<std::string>& strings = work.table.strings;
  const std::string known = undefined.index() < strings.size() ? strings[undefined.index()] : "";
  switch (undefined.why()) {
    case Why::name: return "'" + known + "' is undefined";
    case Why::words: return known;
    case Why::attribute: return "there is no attribute '" + known + "'";
    case Why::item: return "there is no such item";
    case Why::first: return "`first` of what is empty";
    case Why::last: return "`last` of what is empty";
    case Why::previous: return "there is no previous item";
    case Why::next: return "there is no next item";
  }
  return "a value is undefined";
}

void wrong(const Work& work, const std::string& what, const Value& value) {
  refuse(value.is(Kind::undefined) ? reason(work, value) : what + " of a " + name_of(value));
}

void wrong(const Work& work, const std::string& what, const Value& left, const Value& right) {
  if (left.is(Kind::undefined)) refuse(reason(work, left));
  if (right.is(Kind::undefined)) refuse(reason(work, right));
  refuse(what + " of a " + name_of(left) + " and a " + name_of(right));
}

std::vector<Value> listed(Work& work, const Value& value) {
  Iterator items(value);
  std::vector<Value> found;
  Value one;
  while (items.next(work, one)) {
    work.items(1);
    found.push_back(std::move(one));
    if (found.size() > kMostItems) work.items(found.size());
  }
  return found;
}

bool length_of(const Value& value, std::int64_t& length) {
  switch (value.kind()) {
    case Kind::undefined: length = 0; return true;
    case Kind::text: length = static_cast<std::int64_t>(value.text().length()); return true;
    case Kind::list:
    case Kind::tuple: length = static_cast<std::int64_t>(value.items().values.size()); return true;
    case Kind::dict: length = static_cast<std::int64_t>(value.dict().entries.size()); return true;
    case Kind::view: length = static_cast<std::int64_t>(value.view().dict.dict().entries.size()); return true;
    case Kind::range: length = value.range().count; return true;
    default: return false;
  }
}

bool is_number(const Value& value) { return is_whole(value) || value.is(Kind::real); }
bool is_whole(const Value& value) { return value.is(Kind::integer) || value.is(Kind::boolean); }

}  // namespace g4::rt::chat
