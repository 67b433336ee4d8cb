// A field of a manifest that is being read: a value, and where it stands, for messages. All methods throw Failure
// G4RT_BAD_BUNDLE that names the field.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace g4::rt {

class Field {
 public:
  // `value` is borrowed, and null for a field that is not there.
  Field(const json::Value* value, std::string path) : value_(value), path_(std::move(path)) {}

  bool given() const { return value_ && !value_->is_null(); }
  Field at(std::string_view name) const;  // of an object; perhaps not there
  std::vector<Field> items() const;       // of a list
  std::vector<std::pair<std::string, Field>> entries() const;  // of an object

  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  double number(double least, double most) const;
  const std::string& text(std::size_t longest = 1 << 16) const;
  const std::string& word(std::initializer_list<const char*> known) const;
  bool is_text() const { return value_ && value_->string(); }

  [[noreturn]] void wrong(const std::string& why) const;

 private:
  const json::Value* value_;
  std::string path_;
};

}  // namespace g4::rt
