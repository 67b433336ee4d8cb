// The instructions of a chat table: numbers of g4compile/text_tables/chat_code.py, which says what each does.
#pragma once
#include <cstdint>

namespace g4::rt::chat {

struct Instruction {
  std::uint8_t op, x;
  std::uint16_t y;
  std::uint32_t z;
};

enum class Op : std::uint8_t {
  constant = 1, undefined, list, tuple, dict, load, load_outer, store, clear, resolve, copy, copy_outer, need_namespace,
  set_attribute, skip_given, macro, attribute, item, slice, unary, binary, compare, concat, jump, jump_if_false, and_,
  or_, chain, drop_under, pop, filter, map, map_attribute, select, test, call, method, text, write, buffer, capture,
  discard, loop, next, pull, accept, done, end, loop_attribute, unpack, return_, last = return_
};

enum class Unary : std::uint8_t { negative, positive, not_, count };
enum class Binary : std::uint8_t { add, sub, mul, div, floordiv, mod, count };
enum class Compare : std::uint8_t { eq, ne, lt, le, gt, ge, in, not_in, count };
enum class LoopAttribute : std::uint8_t {
  index, index0, revindex, revindex0, first, last, length, previtem, nextitem, depth, depth0, count
};
enum class Filter : std::uint8_t {
  capitalize = 1, default_, dictsort, first, items, join, last, length, list, lower, replace, string, tojson, trim,
  upper, count
};
enum class Test : std::uint8_t {
  truth, boolean, defined, divisibleby, eq, even, false_, float_, ge, gt, in, integer, iterable, le, lt, mapping, ne,
  none, number, odd, sequence, string, true_, undefined, count
};
enum class Method : std::uint8_t {
  capitalize = 1, count_, endswith, find, get, items, join, keys, lower, lstrip, removeprefix, removesuffix, replace,
  rfind, rsplit, rstrip, split, startswith, strip, upper, values, count
};
enum class Function : std::uint8_t { dict, namespace_, raise_exception, range };

// How many values a filter, test or method takes behind the one that it is of.
inline int arguments(Filter filter) {
  switch (filter) {
    case Filter::default_:
    case Filter::join: return 2;
    case Filter::dictsort:
    case Filter::replace: return 3;
    case Filter::tojson: return 4;
    case Filter::trim: return 1;
    default: return 0;
  }
}

inline int arguments(Test test) {
  switch (test) {
    case Test::divisibleby:
    case Test::eq:
    case Test::ge:
    case Test::gt:
    case Test::in:
    case Test::le:
    case Test::lt:
    case Test::ne: return 1;
    default: return 0;
  }
}

inline int arguments(Method method) {
  switch (method) {
    case Method::replace: return 3;
    case Method::get:
    case Method::rsplit:
    case Method::split: return 2;
    case Method::capitalize:
    case Method::items:
    case Method::keys:
    case Method::lower:
    case Method::upper:
    case Method::values: return 0;
    default: return 1;
  }
}

}  // namespace g4::rt::chat
