// JSON as values (RFC 8259), and strict: a name stands once in an object, text is UTF-8 without halves of surrogate pairs,
// nesting is bounded. Numbers are kept as they are written, beside their values.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "g4rt.h"

namespace g4::rt::json {

class Value;
using Array = std::vector<Value>;
using Object = std::vector<std::pair<std::string, Value>>;  // in the order of the text

struct Number {
  std::string text;       // as written
  double value;           // nearest double
  std::int64_t integer;   // where is_integer
  bool is_integer;        // written without point and exponent, and within 64 bits
};

class Value {
 public:
  Value() = default;  // null
  explicit Value(bool value) : data_(value) {}
  explicit Value(Number value) : data_(std::move(value)) {}
  explicit Value(std::string value) : data_(std::move(value)) {}
  explicit Value(Array value) : data_(std::move(value)) {}
  explicit Value(Object value) : data_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const Number* number() const { return std::get_if<Number>(&data_); }
  const std::string* string() const { return std::get_if<std::string>(&data_); }
  const Array* array() const { return std::get_if<Array>(&data_); }
  const Object* object() const { return std::get_if<Object>(&data_); }
  Array* array() { return std::get_if<Array>(&data_); }
  Object* object() { return std::get_if<Object>(&data_); }

  // Of an object: its entry, or null where it has none, or is no object.
  const Value* find(std::string_view name) const;

 private:
  std::variant<std::monostate, bool, Number, std::string, Array, Object> data_;
};

// A value takes some 64 bytes, and is written with as few as two.
struct Most {
  int nested = 64;
  std::size_t values = SIZE_MAX;
};

// The one value that `text` holds. Throws Failure (`status`, words with the byte where it is wrong, begun by `what`).
Value parse(std::string_view text, const char* what, g4rt_status status, Most most = {});

// Whether `text` is UTF-8 without halves of surrogate pairs.
bool is_utf8(std::string_view text);

}  // namespace g4::rt::json
