#include "chat_operators.h"

#include <algorithm>
#include <cmath>

#include "../decimal.h"
#include "chat_text.h"

namespace g4::rt::chat {
namespace {

constexpr std::int64_t kExact = std::int64_t{1} << 53;  // whole numbers up to here divide as doubles do
constexpr double kBeyond = 9223372036854775808.0;       // 2^63

double as_real(const Value& value) {
  return value.is(Kind::real) ? value.real() : static_cast<double>(value.integer());
}

[[noreturn]] void too_wide() { refuse("a whole number of more than 64 bits"); }

std::int64_t whole(Binary kind, std::int64_t left, std::int64_t right) {
  std::int64_t made = 0;
  switch (kind) {
    case Binary::add:
      if (__builtin_add_overflow(left, right, &made)) too_wide();
      return made;
    case Binary::sub:
      if (__builtin_sub_overflow(left, right, &made)) too_wide();
      return made;
    case Binary::mul:
      if (__builtin_mul_overflow(left, right, &made)) too_wide();
      return made;
    default: break;
  }
  if (right == -1) {  // the remainder is 0, and the least number has no opposite
    if (kind == Binary::mod) return 0;
    if (left == INT64_MIN) too_wide();
    return -left;
  }
  const std::int64_t rest = left % right;
  const bool down = rest != 0 && (rest < 0) != (right < 0);
  return kind == Binary::mod ? (down ? rest + right : rest) : left / right - (down ? 1 : 0);
}

Value numbers(Binary kind, const Value& left, const Value& right) {
  const bool both = is_whole(left) && is_whole(right);
  if (kind >= Binary::div && as_real(right) == 0) refuse("a division by 0");
  if (kind == Binary::div) {
    const auto wide = [](const Value& value) { return value.integer() > kExact || value.integer() < -kExact; };
    if (both && (wide(left) || wide(right))) refuse("a division of whole numbers of more than 53 bits");
    return Value(as_real(left) / as_real(right));
  }
  if (both) return Value(whole(kind, left.integer(), right.integer()));
  switch (kind) {
    case Binary::add: return Value(as_real(left) + as_real(right));
    case Binary::sub: return Value(as_real(left) - as_real(right));
    case Binary::mul: return Value(as_real(left) * as_real(right));
    default: refuse("a remainder, or a division that rounds down, of a number that is not whole");
  }
}

Value many(Work& work, const Value& value, std::int64_t times) {
  if (times < 0) times = 0;
  if (value.is(Kind::text)) {
    const std::string& bytes = value.text().bytes;
    if (bytes.empty()) times = 0;
    if (times > static_cast<std::int64_t>(kLongestText)) work.text(kLongestText + 1);
    work.text(std::uint64_t{bytes.size()} * static_cast<std::uint64_t>(times));
    std::string made;
    while (times--) made += bytes;
    return Value(new Text(Kind::text, std::move(made)));
  }
  const std::vector<Value>& values = value.items().values;
  if (values.empty()) times = 0;
  if (times > static_cast<std::int64_t>(kMostItems)) work.items(kMostItems + 1);
  work.items(std::uint64_t{values.size()} * static_cast<std::uint64_t>(times));
  std::vector<Value> made;
  while (times--) made.insert(made.end(), values.begin(), values.end());
  return make_list(work, std::move(made), value.kind());
}

// Of an integer and a double, exactly.
Order order_mixed(std::int64_t left, double right) {
  if (std::isnan(right)) return Order::none;
  if (right >= kBeyond) return Order::less;
  if (right < -kBeyond) return Order::greater;
  const double down = std::floor(right);
  const std::int64_t near = static_cast<std::int64_t>(down);
  if (left != near) return left < near ? Order::less : Order::greater;
  return right > down ? Order::less : Order::equal;
}

Order turned(Order order) {
  return order == Order::less ? Order::greater : order == Order::greater ? Order::less : order;
}

template <class Number>
Order order_plain(Number left, Number right) {
  return left < right ? Order::less : left > right ? Order::greater : left == right ? Order::equal : Order::none;
}

Order order_numbers(const Value& left, const Value& right) {
  if (is_whole(left) && is_whole(right)) return order_plain(left.integer(), right.integer());
  if (left.is(Kind::real) && right.is(Kind::real)) return order_plain(left.real(), right.real());
  return left.is(Kind::real) ? turned(order_mixed(right.integer(), left.real()))
                             : order_mixed(left.integer(), right.real());
}

// Of two whole numbers, one of them at least with more than 64 bits.
Order order_big(const Value& left, const Value& right) {
  const auto negative = [](const Value& value) {
    return value.is(Kind::big) ? value.text().bytes[0] == '-' : value.integer() < 0;
  };
  if (negative(left) != negative(right)) return negative(left) ? Order::less : Order::greater;
  Order found;
  if (left.is(Kind::big) && right.is(Kind::big)) {
    const std::string &a = left.text().bytes, &b = right.text().bytes;
    found = a.size() != b.size() ? order_plain(a.size(), b.size()) : order_plain(a.compare(b), 0);
  } else {
    found = left.is(Kind::big) ? Order::greater : Order::less;
  }
  return negative(left) ? turned(found) : found;
}

// Whether a double is the whole number that `digits` write.
bool is_big(double value, const std::string& digits) {
  return std::isfinite(value) && value == std::floor(value) && whole_digits(value) == digits;
}

bool is_whole_kind(const Value& value) { return is_whole(value) || value.is(Kind::big); }

bool equal_dicts(Work& work, const Dict& left, const Dict& right) {
  if (left.entries.size() != right.entries.size()) return false;
  for (const auto& [key, value] : left.entries) {
    work.step(1 + right.entries.size() / 8);
    const Value* other = right.find(key.text().bytes);
    if (!other || !equal(work, value, *other)) return false;
  }
  return true;
}

bool equal_ranges(const Range& left, const Range& right) {
  if (left.count != right.count) return false;
  if (left.count == 0) return true;
  return left.start == right.start && (left.count == 1 || left.step == right.step);
}

bool in_range(Work& work, const Value& item, const Range& range) {
  if (item.is(Kind::real)) {
    const double value = item.real();
    if (value != std::floor(value) || value >= kBeyond || value < -kBeyond) return false;
    return in_range(work, Value(static_cast<std::int64_t>(value)), range);
  }
  if (!is_whole(item) || range.count == 0) return false;
  const std::int64_t first = range.start, last = range.at(range.count - 1), value = item.integer();
  if (value < std::min(first, last) || value > std::max(first, last)) return false;
  // Within its ends, so that no difference leaves 64 bits: those of unsigned numbers cannot.
  const std::uint64_t from = range.step > 0 ? static_cast<std::uint64_t>(value) - static_cast<std::uint64_t>(first)
                                            : static_cast<std::uint64_t>(first) - static_cast<std::uint64_t>(value);
  const std::uint64_t step = range.step > 0 ? static_cast<std::uint64_t>(range.step)
                                            : ~static_cast<std::uint64_t>(range.step) + 1;
  return from % step == 0;
}

}  // namespace

Value unary(Work& work, Unary kind, const Value& value) {
  if (kind == Unary::not_) return Value(!truth(value));
  if (!is_number(value)) wrong(work, "a sign in front", value);
  if (value.is(Kind::real)) return Value(kind == Unary::negative ? -value.real() : value.real());
  return Value(kind == Unary::negative ? whole(Binary::sub, 0, value.integer()) : value.integer());
}

Value binary(Work& work, Binary kind, const Value& left, const Value& right) {
  if (is_number(left) && is_number(right)) return numbers(kind, left, right);
  const auto listing = [](const Value& value) { return value.is(Kind::list) || value.is(Kind::tuple); };
  if (kind == Binary::add && left.kind() == right.kind()) {
    if (left.is(Kind::text)) {
      const std::string &a = left.text().bytes, &b = right.text().bytes;
      work.text(a.size() + b.size());
      return Value(new Text(Kind::text, a + b));
    }
    if (listing(left)) {
      const std::vector<Value>&a = left.items().values, &b = right.items().values;
      work.items(a.size() + b.size());
      std::vector<Value> made = a;
      made.insert(made.end(), b.begin(), b.end());
      return make_list(work, std::move(made), left.kind());
    }
  }
  if (kind == Binary::mul) {
    if ((left.is(Kind::text) || listing(left)) && is_whole(right)) return many(work, left, right.integer());
    if ((right.is(Kind::text) || listing(right)) && is_whole(left)) return many(work, right, left.integer());
  }
  wrong(work, "arithmetic", left, right);
}

bool equal(Work& work, const Value& left, const Value& right) {
  work.step();
  if (is_number(left) && is_number(right)) return order_numbers(left, right) == Order::equal;
  if (left.is(Kind::big) && right.is(Kind::real)) return is_big(right.real(), left.text().bytes);
  if (right.is(Kind::big) && left.is(Kind::real)) return is_big(left.real(), right.text().bytes);
  if (left.kind() != right.kind()) return false;
  switch (left.kind()) {
    case Kind::undefined:
    case Kind::none: return true;
    case Kind::big:
    case Kind::text:
      work.step(left.text().bytes.size() / 64);
      return left.text().bytes == right.text().bytes;
    case Kind::list:
    case Kind::tuple: {
      const std::vector<Value>&a = left.items().values, &b = right.items().values;
      if (a.size() != b.size()) return false;
      for (std::size_t i = 0; i < a.size(); ++i)
        if (!equal(work, a[i], b[i])) return false;
      return true;
    }
    case Kind::dict: return equal_dicts(work, left.dict(), right.dict());
    case Kind::range: return equal_ranges(left.range(), right.range());
    case Kind::lazy: return left.object() == right.object();
    case Kind::space: return left.space() == right.space();
    default: refuse(std::string("two values of the kind ") + name_of(left) + " are compared");
  }
}

Order order(Work& work, const Value& left, const Value& right) {
  work.step();
  if (is_number(left) && is_number(right)) return order_numbers(left, right);
  if (is_whole_kind(left) && is_whole_kind(right)) return order_big(left, right);
  if (left.kind() == right.kind()) {
    if (left.is(Kind::text)) {
      work.step(left.text().bytes.size() / 64);
      return order_plain(left.text().bytes.compare(right.text().bytes), 0);
    }
    if (left.is(Kind::list) || left.is(Kind::tuple)) {
      const std::vector<Value>&a = left.items().values, &b = right.items().values;
      for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
        if (!equal(work, a[i], b[i])) return order(work, a[i], b[i]);
      return order_plain(a.size(), b.size());
    }
  }
  wrong(work, "an order", left, right);
}

void check_key(const Value& key) {
  const bool items = key.is(Kind::tuple);
  if (key.is(Kind::list) || key.is(Kind::dict) || (key.is(Kind::view) && key.view().of != View::Of::values)) {
    refuse("a list or a dict is no key of a dict");
  }
  if (items)
    for (const Value& one : key.items().values) check_key(one);
}

bool contains(Work& work, const Value& value, const Value& values) {
  switch (values.kind()) {
    case Kind::text:
      if (!value.is(Kind::text)) wrong(work, "`in`", value, values);
      work.search(values.text().bytes.size(), value.text().bytes.size());
      return values.text().bytes.find(value.text().bytes) != std::string::npos;
    case Kind::dict:
      check_key(value);
      work.step(1 + values.dict().entries.size() / 8);
      return value.is(Kind::text) && values.dict().find(value.text().bytes);
    case Kind::range: return in_range(work, value, values.range());
    case Kind::undefined:
    case Kind::list:
    case Kind::tuple:
    case Kind::view:
    case Kind::lazy: break;
    default: wrong(work, "`in`", value, values);
  }
  Iterator items(values);
  Value one;
  while (items.next(work, one))
    if (equal(work, one, value)) return true;
  return false;
}

bool compared(Work& work, Compare kind, const Value& left, const Value& right) {
  switch (kind) {
    case Compare::eq: return equal(work, left, right);
    case Compare::ne: return !equal(work, left, right);
    case Compare::in: return contains(work, left, right);
    case Compare::not_in: return !contains(work, left, right);
    default: break;
  }
  const Order found = order(work, left, right);
  switch (kind) {
    case Compare::lt: return found == Order::less;
    case Compare::le: return found == Order::less || found == Order::equal;
    case Compare::gt: return found == Order::greater;
    default: return found == Order::greater || found == Order::equal;
  }
}

}  // namespace g4::rt::chat
