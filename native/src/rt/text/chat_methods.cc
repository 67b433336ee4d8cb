// Methods of texts and dicts.
#include <algorithm>

#include "chat_filters.h"
#include "chat_operators.h"
#include "chat_table.h"
#include "chat_text.h"

namespace g4::rt::chat {
namespace {

constexpr std::size_t kNone = std::string::npos;

const std::string& text_given(Work& work, const Value& value) {
  if (!value.is(Kind::text)) wrong(work, "a method of a text with an argument", value);
  return value.text().bytes;
}

Value get(Work& work, const Dict& dict, const Value* given) {
  check_key(given[0]);
  work.step(1 + dict.entries.size() / 8);
  const Value* found = given[0].is(Kind::text) ? dict.find(given[0].text().bytes) : nullptr;
  return found ? *found : given[1];
}

bool begins(const std::string& text, const std::string& other) { return text.compare(0, other.size(), other) == 0; }
bool ends(const std::string& text, const std::string& other) {
  return text.size() >= other.size() && text.compare(text.size() - other.size(), other.size(), other) == 0;
}

bool any(Work& work, const std::string& text, const Value& given,
         bool (*holds)(const std::string&, const std::string&)) {
  if (!given.is(Kind::tuple)) return holds(text, text_given(work, given));
  for (const Value& one : given.items().values)
    if (holds(text, text_given(work, one))) return true;
  return false;
}

Value place(const std::string& text, std::size_t at) {
  if (at == kNone) return Value(std::int64_t{-1});
  return Value(static_cast<std::int64_t>(characters(std::string_view(text).substr(0, at))));
}

Value count(Work& work, const Text& text, const std::string& other) {
  if (other.empty()) return Value(static_cast<std::int64_t>(text.length()) + 1);
  std::int64_t found = 0;
  work.search(text.bytes.size(), other.size());
  for (std::size_t at = 0; (at = text.bytes.find(other, at)) != kNone; at += other.size()) ++found;
  return Value(found);
}

std::size_t first_space(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); at += character_bytes(text, at))
    if (is_space(character_at(text, at))) return at;
  return kNone;
}

std::size_t last_space(std::string_view text) {
  for (std::size_t at = text.size(); at > 0;) {
    do --at;
    while (at && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
    if (is_space(character_at(text, at))) return at;
  }
  return kNone;
}

// `split` and `rsplit`. Pieces are found from one end, and turned round where that is the right one.
Value split(Work& work, const std::string& text, const Value& separator, const Value& most, bool right) {
  if (!is_whole(most)) wrong(work, "a number of splits", most);
  const std::string* between = separator.is(Kind::none) ? nullptr : &text_given(work, separator);
  if (between && between->empty()) refuse("a split by a text that is empty");
  std::int64_t left = most.integer() < 0 ? INT64_MAX : most.integer();
  work.text(text.size());
  if (between) work.search(text.size(), between->size());
  std::vector<Value> made;
  const auto add = [&](std::string_view piece) {
    if (made.size() >= kMostItems) work.items(made.size() + 1);
    made.push_back(make_text(work, std::string(piece)));
  };
  std::string_view rest = text;
  const Sides side = right ? Sides::right : Sides::left;
  if (!between) {
    while (!(rest = stripped(rest, nullptr, side)).empty()) {
      const std::size_t at = left-- > 0 ? (right ? last_space(rest) : first_space(rest)) : kNone;
      if (at == kNone) {
        add(rest);
        break;
      }
      const std::size_t behind = at + character_bytes(rest, at);
      add(right ? rest.substr(behind) : rest.substr(0, at));
      rest = right ? rest.substr(0, at) : rest.substr(behind);
    }
  } else {
    while (true) {
      const std::size_t at = left-- > 0 ? (right ? rest.rfind(*between) : rest.find(*between)) : kNone;
      if (at == kNone) break;
      add(right ? rest.substr(at + between->size()) : rest.substr(0, at));
      rest = right ? rest.substr(0, at) : rest.substr(at + between->size());
    }
    add(rest);
  }
  if (right) std::reverse(made.begin(), made.end());
  return make_list(work, std::move(made));
}

Value join(Work& work, const std::string& between, const Value& given) {
  std::string made;
  Iterator items(given);
  Value one;
  for (bool first = true; items.next(work, one); first = false) {
    if (!first) made += between;
    made += text_given(work, one);
    if (made.size() > kLongestText) work.text(made.size());
  }
  return make_text(work, std::move(made));
}

Value stripped_of(Work& work, const std::string& text, const Value& chars, Sides sides) {
  const std::string* given = chars.is(Kind::none) ? nullptr : &text_given(work, chars);
  return make_text(work, std::string(stripped(text, given, sides)));
}

[[noreturn]] void no_method(Work& work, const Value& value) {
  wrong(work, "a method that chat tables do not have", value);
}

}  // namespace

Value called(Work& work, Method method, const Value& value, const Value* given) {
  const bool of_dict =
      method == Method::get || method == Method::items || method == Method::keys || method == Method::values;
  if (!value.is(of_dict ? Kind::dict : Kind::text)) no_method(work, value);
  const auto view = [&](View::Of of) { return Value(new View(value, of, deeper(value.depth()))); };
  if (of_dict) {
    switch (method) {
      case Method::get: return get(work, value.dict(), given);
      case Method::items: return view(View::Of::items);
      case Method::keys: return view(View::Of::keys);
      default: return view(View::Of::values);
    }
  }
  const std::string& text = value.text().bytes;
  work.step(1 + text.size() / 64);
  switch (method) {
    case Method::capitalize: return make_text(work, work.table.cases.capitalized(text));
    case Method::count_: return count(work, value.text(), text_given(work, given[0]));
    case Method::endswith: return Value(any(work, text, given[0], ends));
    case Method::find:
      work.search(text.size(), text_given(work, given[0]).size());
      return place(text, text.find(text_given(work, given[0])));
    case Method::join: return join(work, text, given[0]);
    case Method::lower: return make_text(work, work.table.cases.lower(text));
    case Method::lstrip: return stripped_of(work, text, given[0], Sides::left);
    case Method::removeprefix:
      if (!begins(text, text_given(work, given[0]))) return value;
      return make_text(work, text.substr(given[0].text().bytes.size()));
    case Method::removesuffix:
      return ends(text, text_given(work, given[0]))
                 ? make_text(work, text.substr(0, text.size() - given[0].text().bytes.size()))
                 : value;
    case Method::replace:
      if (!is_whole(given[2])) wrong(work, "`replace` with a number of times", given[2]);
      return replaced(work, text, text_given(work, given[0]), text_given(work, given[1]), given[2].integer());
    case Method::rfind:
      work.search(text.size(), text_given(work, given[0]).size());
      return place(text, text.rfind(text_given(work, given[0])));
    case Method::rsplit: return split(work, text, given[0], given[1], true);
    case Method::rstrip: return stripped_of(work, text, given[0], Sides::right);
    case Method::split: return split(work, text, given[0], given[1], false);
    case Method::startswith: return Value(any(work, text, given[0], begins));
    case Method::strip: return stripped_of(work, text, given[0], Sides::both);
    case Method::upper: return make_text(work, work.table.cases.upper(text));
    default: no_method(work, value);
  }
}

}  // namespace g4::rt::chat
