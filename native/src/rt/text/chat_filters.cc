#include "chat_filters.h"

#include <algorithm>

#include "chat_operators.h"
#include "chat_table.h"
#include "chat_text.h"

namespace g4::rt::chat {
namespace {

Value dictsort(Work& work, const Value& value, const Value* given) {
  const Value &case_sensitive = given[0], &by = given[1], &reverse = given[2];
  if (!value.is(Kind::dict)) wrong(work, "`dictsort`", value);
  const bool keys = by.is(Kind::text) && by.text().bytes == "key";
  if (!keys && !(by.is(Kind::text) && by.text().bytes == "value")) refuse("`dictsort` sorts by `key` or by `value`");
  if (!is_whole(reverse)) refuse("`reverse` of `dictsort` is no boolean");
  struct Sorted {
    Value by;
    const Entry* entry;
  };
  std::vector<Sorted> sorted;
  for (const Entry& entry : value.dict().entries) {
    Value found = keys ? entry.first : entry.second;
    if (found.is(Kind::text) && !truth(case_sensitive)) {
      found = make_text(work, work.table.cases.lower(found.text().bytes));
    }
    sorted.push_back({std::move(found), &entry});
  }
  // A merge sort of its own: std::stable_sort may do anything where an order contradicts itself, as that of lists can.
  const bool down = reverse.integer() != 0;
  const auto before = [&](const Sorted& left, const Sorted& right) {
    return order(work, down ? right.by : left.by, down ? left.by : right.by) == Order::less;
  };
  std::vector<Sorted> other(sorted.size());
  for (std::size_t width = 1; width < sorted.size(); width *= 2) {
    for (std::size_t begin = 0; begin < sorted.size(); begin += 2 * width) {
      std::size_t left = begin, right = std::min(begin + width, sorted.size()), to = begin;
      const std::size_t middle = right, end = std::min(begin + 2 * width, sorted.size());
      while (left < middle && right < end) {
        other[to++] = before(sorted[right], sorted[left]) ? sorted[right++] : sorted[left++];
      }
      while (left < middle) other[to++] = sorted[left++];
      while (right < end) other[to++] = sorted[right++];
    }
    std::swap(sorted, other);
  }
  std::vector<Value> made;
  for (const Sorted& one : sorted) made.push_back(make_list(work, {one.entry->first, one.entry->second}, Kind::tuple));
  return make_list(work, std::move(made));
}

Value last(Work& work, const Value& value) {
  std::int64_t length = 0;
  if (value.is(Kind::lazy) || !length_of(value, length)) wrong(work, "`last`", value);
  if (length == 0) return Value::undefined(Why::last);
  switch (value.kind()) {
    case Kind::text: return item(work, value, Value(std::int64_t{-1}));
    case Kind::list:
    case Kind::tuple: return value.items().values.back();
    case Kind::range: return Value(value.range().at(length - 1));
    case Kind::dict: return value.dict().entries.back().first;
    default: {
      const auto& [key, entry] = value.view().dict.dict().entries.back();
      return value.view().of == View::Of::keys     ? key
             : value.view().of == View::Of::values ? entry
                                                   : make_list(work, {key, entry}, Kind::tuple);
    }
  }
}

Value joined(Work& work, const Value& value, const Value& between, const Value& path) {
  const std::string middle = text_of(work, between);
  std::string made;
  Iterator items(value);
  Value one;
  bool first = true;
  // All items are taken before one is led on, as in Jinja.
  if (!path.is(Kind::none)) items = Iterator(make_list(work, listed(work, value)));
  while (items.next(work, one)) {
    if (!first) made += middle;
    first = false;
    write(work, made, path.is(Kind::none) ? one : led(work, one, path, Value::none()));
    if (made.size() > kLongestText) work.text(made.size());
  }
  return make_text(work, std::move(made));
}

std::int64_t remainder(Work& work, const Value& value, std::int64_t by) {
  if (!is_whole(value) || by == 0) wrong(work, "a test for a divisor", value);
  return binary(work, Binary::mod, value, Value(by)).integer();
}

bool is_sequence(const Value& value) {
  std::int64_t length = 0;
  return length_of(value, length) && !value.is(Kind::view);
}

}  // namespace

Value led(Work& work, const Value& value, const Value& path, const Value& otherwise) {
  if (!path.is(Kind::tuple)) wrong(work, "a path", path);
  Value found = value;
  for (const Value& one : path.items().values) {
    found = item(work, found, one);
    if (found.is(Kind::undefined) && !otherwise.is(Kind::none)) found = otherwise;
  }
  return found;
}

Value replaced(Work& work, const std::string& text, const std::string& old, const std::string& by, std::int64_t count) {
  std::string made;
  std::size_t at = 0;
  work.search(text.size(), old.size());
  while (count != 0) {
    const std::size_t found = old.empty() ? at : text.find(old, at);
    if (found == std::string::npos) break;
    made.append(text, at, found - at);
    made += by;
    at = found + old.size();
    --count;
    if (old.empty()) {
      if (at >= text.size()) break;
      const std::size_t bytes = character_bytes(text, at);
      made.append(text, at, bytes);
      at += bytes;
    }
    if (made.size() > kLongestText) work.text(made.size());
  }
  made.append(text, at);
  return make_text(work, std::move(made));
}

Value filtered(Work& work, Filter filter, const Value& value, const Value* given) {
  switch (filter) {
    case Filter::capitalize: return make_text(work, work.table.cases.capitalized(text_of(work, value)));
    case Filter::default_:
      return value.is(Kind::undefined) || (truth(given[1]) && !truth(value)) ? given[0] : value;
    case Filter::dictsort: return dictsort(work, value, given);
    case Filter::first: {
      Iterator items(value);
      Value found;
      return items.next(work, found) ? found : Value::undefined(Why::first);
    }
    case Filter::items: return Value(new Lazy(Lazy::Does::items, value, deeper(value.depth())));
    case Filter::join: return joined(work, value, given[0], given[1]);
    case Filter::last: return last(work, value);
    case Filter::length: {
      std::int64_t length = 0;
      if (!length_of(value, length)) wrong(work, "`length`", value);
      return Value(length);
    }
    case Filter::list: return make_list(work, listed(work, value));
    case Filter::lower: return make_text(work, work.table.cases.lower(text_of(work, value)));
    case Filter::replace: {
      if (!given[2].is(Kind::none) && !is_whole(given[2])) wrong(work, "`replace` with a number of times", given[2]);
      const std::string text = text_of(work, value), old = text_of(work, given[0]), by = text_of(work, given[1]);
      return replaced(work, text, old, by, given[2].is(Kind::none) ? -1 : given[2].integer());
    }
    case Filter::string: return value.is(Kind::text) ? value : make_text(work, text_of(work, value));
    case Filter::tojson: return to_json(work, value, given);
    case Filter::trim: {
      if (!given[0].is(Kind::none) && !given[0].is(Kind::text)) wrong(work, "`trim` with characters", given[0]);
      const std::string* chars = given[0].is(Kind::text) ? &given[0].text().bytes : nullptr;
      return make_text(work, std::string(stripped(text_of(work, value), chars, Sides::both)));
    }
    case Filter::upper: return make_text(work, work.table.cases.upper(text_of(work, value)));
    case Filter::count: break;
  }
  refuse("a filter that is unknown");
}

bool tested(Work& work, Test test, const Value& value, const Value* given) {
  switch (test) {
    case Test::truth: return truth(value);
    case Test::boolean: return value.is(Kind::boolean);
    case Test::defined: return !value.is(Kind::undefined);
    case Test::divisibleby:
      if (!is_whole(given[0])) wrong(work, "a divisor", given[0]);
      return remainder(work, value, given[0].integer()) == 0;
    case Test::eq: return equal(work, value, given[0]);
    case Test::even: return remainder(work, value, 2) == 0;
    case Test::false_: return value.is(Kind::boolean) && !value.integer();
    case Test::float_: return value.is(Kind::real);
    case Test::ge: return compared(work, Compare::ge, value, given[0]);
    case Test::gt: return compared(work, Compare::gt, value, given[0]);
    case Test::in: return contains(work, value, given[0]);
    case Test::integer: return value.is(Kind::integer) || value.is(Kind::big);
    case Test::iterable: return is_sequence(value) || value.is(Kind::view) || value.is(Kind::lazy);
    case Test::le: return compared(work, Compare::le, value, given[0]);
    case Test::lt: return compared(work, Compare::lt, value, given[0]);
    case Test::mapping: return value.is(Kind::dict);
    case Test::ne: return !equal(work, value, given[0]);
    case Test::none: return value.is(Kind::none);
    case Test::number: return is_number(value) || value.is(Kind::big);
    case Test::odd: return remainder(work, value, 2) == 1;
    case Test::sequence: return is_sequence(value);
    case Test::string: return value.is(Kind::text);
    case Test::true_: return value.is(Kind::boolean) && value.integer();
    case Test::undefined: return value.is(Kind::undefined);
    case Test::count: break;
  }
  refuse("a test that is unknown");
}

}  // namespace g4::rt::chat
