// Values of chat templates: those of JSON, and what Jinja has beside them. They belong to one rendering and its thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat_code.h"
#include "chat_work.h"

namespace g4::rt::chat {

enum class Kind : std::uint8_t {
  empty,  // a slot without a value
  undefined, none, boolean, integer, real, macro, function, space,
  big, text, list, tuple, dict, range, view, lazy, method  // objects, which are counted
};

// Why a value is undefined; most have a string of the table.
enum class Why : std::uint8_t { name, words, attribute, item, first, last, previous, next };

struct Object {
  Object(Kind kind, std::size_t depth) : kind(kind), depth(static_cast<std::uint8_t>(depth)) {}
  std::uint32_t holders = 0;
  Kind kind;
  std::uint8_t depth;  // of lists and dicts in it
};
struct Text;
struct Items;
struct Dict;
struct Range;
struct View;
struct Lazy;
struct Unbound;
struct Space;

class Value {
 public:
  Value() = default;
  Value(const Value& other) : kind_(other.kind_), why_(other.why_), index_(other.index_), data_(other.data_) {
    if (counted()) ++data_.object->holders;
  }
  Value(Value&& other) noexcept : kind_(other.kind_), why_(other.why_), index_(other.index_), data_(other.data_) {
    other.kind_ = Kind::empty;
  }
  Value& operator=(Value other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(why_, other.why_);
    std::swap(index_, other.index_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Value() {
    if (counted()) release(data_.object);
  }

  explicit Value(Object* object) : kind_(object->kind) {
    data_.object = object;
    ++object->holders;
  }
  explicit Value(bool value) : kind_(Kind::boolean) { data_.integer = value; }
  explicit Value(std::int64_t value) : kind_(Kind::integer) { data_.integer = value; }
  explicit Value(double value) : kind_(Kind::real) { data_.real = value; }
  explicit Value(Space* space) : kind_(Kind::space) { data_.space = space; }
  static Value none() { return Value(Kind::none, 0); }
  static Value undefined(Why why, std::uint32_t index = UINT32_MAX) {
    Value made(Kind::undefined, index);
    made.why_ = why;
    return made;
  }
  static Value macro(std::uint32_t routine) { return Value(Kind::macro, routine); }
  static Value function(Function function) { return Value(Kind::function, static_cast<std::uint32_t>(function)); }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  // What a value holds, of which the kind is known.
  std::int64_t integer() const { return data_.integer; }  // of a boolean too
  double real() const { return data_.real; }
  std::uint32_t index() const { return index_; }
  Why why() const { return why_; }
  Object* object() const { return data_.object; }
  Space* space() const { return data_.space; }
  Text& text() const;
  Items& items() const;
  Dict& dict() const;
  Range& range() const;
  View& view() const;
  Lazy& lazy() const;
  Unbound& method() const;

  std::size_t depth() const { return counted() ? data_.object->depth : 0; }

 private:
  Value(Kind kind, std::uint32_t index) : kind_(kind), index_(index) {}
  bool counted() const { return kind_ >= Kind::big; }
  static void release(Object* object);

  Kind kind_ = Kind::empty;
  Why why_ = Why::name;
  std::uint32_t index_ = 0;
  union {
    std::int64_t integer;
    double real;
    Object* object;
    Space* space;
  } data_ = {};
};

// A text in UTF-8, or the digits of a whole number of more than 64 bits (Kind::big).
struct Text : Object {
  Text(Kind kind, std::string bytes) : Object(kind, 0), bytes(std::move(bytes)) {}
  std::size_t length() const;  // in characters
  bool plain() const { return length() == bytes.size(); }
  std::string bytes;

 private:
  mutable std::size_t length_ = SIZE_MAX;
};

struct Items : Object {  // a list or a tuple
  Items(Kind kind, std::vector<Value> values, std::size_t depth) : Object(kind, depth), values(std::move(values)) {}
  std::vector<Value> values;
};

using Entry = std::pair<Value, Value>;
struct Dict : Object {  // its names are texts
  Dict(std::vector<Entry> entries, std::size_t depth) : Object(Kind::dict, depth), entries(std::move(entries)) {}
  const Value* find(std::string_view name) const;
  std::vector<Entry> entries;
};

struct Range : Object {
  Range(std::int64_t start, std::int64_t stop, std::int64_t step, std::int64_t count)
      : Object(Kind::range, 0), start(start), stop(stop), step(step), count(count) {}
  // Between start and stop; the product alone may have more than 64 bits.
  std::int64_t at(std::int64_t index) const {
    const auto bits = [](std::int64_t number) { return static_cast<std::uint64_t>(number); };
    return static_cast<std::int64_t>(bits(start) + bits(index) * bits(step));
  }
  std::int64_t start, stop, step, count;
};

struct View : Object {
  enum class Of : std::uint8_t { keys, values, items };
  View(Value dict, Of of, std::size_t depth) : Object(Kind::view, depth), dict(std::move(dict)), of(of) {}
  Value dict;
  Of of;
};

struct Unbound : Object {  // a method that is not called, as `message['items']` where no such entry is
  Unbound(Value of, std::size_t depth) : Object(Kind::method, depth), of(std::move(of)) {}
  Value of;
};

struct Space {  // a namespace; it lives as long as the rendering, since it may hold itself
  std::vector<std::pair<std::string, Value>> attributes;
  const Value* find(std::string_view name) const;
  void put(std::string_view name, Value value);
};

// Goes over the items of a value; a step is taken for each.
class Iterator {
 public:
  Iterator() = default;
  explicit Iterator(Value source);  // refuses what has no items
  bool next(Work& work, Value& item);

 private:
  Value source_;
  std::size_t at_ = 0;
};

// Items that are made as they are asked for, once: `map`, `select` and `items`.
struct Lazy : Object {
  enum class Does : std::uint8_t { filter, attribute, select, items };
  Lazy(Does does, Value source, std::size_t depth) : Object(Kind::lazy, depth), does(does), source(std::move(source)) {}
  bool next(Work& work, Value& item);
  Does does;
  std::uint8_t number = 0;
  bool reject = false, begun = false, ended = false;
  Value source, path, other;  // `other`: of an attribute that is not there
  std::vector<Value> arguments;
  Iterator items;
};

Value make_text(Work& work, std::string bytes);
Value make_list(Work& work, std::vector<Value> values, Kind kind = Kind::list);
Value make_dict(Work& work, std::vector<Entry> entries);
std::size_t deeper(std::size_t depth);  // one more; refuses what is too deep

bool truth(const Value& value);
const char* name_of(const Value& value);  // "str"
// Why an undefined value is.
std::string reason(const Work& work, const Value& undefined);
// Refuses `what` of a value: with the reason of an undefined one.
[[noreturn]] void wrong(const Work& work, const std::string& what, const Value& value);
[[noreturn]] void wrong(const Work& work, const std::string& what, const Value& left, const Value& right);
// All items of a value.
std::vector<Value> listed(Work& work, const Value& value);
// How many items a value has; false where it does not tell.
bool length_of(const Value& value, std::int64_t& length);
bool is_number(const Value& value);  // with which one may reckon
bool is_whole(const Value& value);   // an integer or a boolean

inline Text& Value::text() const { return *static_cast<Text*>(data_.object); }
inline Items& Value::items() const { return *static_cast<Items*>(data_.object); }
inline Dict& Value::dict() const { return *static_cast<Dict*>(data_.object); }
inline Range& Value::range() const { return *static_cast<Range*>(data_.object); }
inline View& Value::view() const { return *static_cast<View*>(data_.object); }
inline Lazy& Value::lazy() const { return *static_cast<Lazy*>(data_.object); }
inline Unbound& Value::method() const { return *static_cast<Unbound*>(data_.object); }

}  // namespace g4::rt::chat
