#include "field.h"

#include "failure.h"

namespace g4::rt {

void Field::wrong(const std::string& why) const {
  fail(G4RT_BAD_BUNDLE, "g4.json is not valid: " + path_ + " " + (value_ ? why : "is not there"));
}

Field Field::at(std::string_view name) const {
  if (!value_ || !value_->object()) wrong("is no object");
  return {value_->find(name), path_.empty() ? std::string(name) : path_ + "." + std::string(name).substr(0, 100)};
}

std::vector<Field> Field::items() const {
  if (!value_ || !value_->array()) wrong("is no list");
  std::vector<Field> found;
  for (const json::Value& one : *value_->array())
    found.emplace_back(&one, path_ + "[" + std::to_string(found.size()) + "]");
  return found;
}

std::vector<std::pair<std::string, Field>> Field::entries() const {
  if (!value_ || !value_->object()) wrong("is no object");
  std::vector<std::pair<std::string, Field>> found;
  for (const auto& [name, one] : *value_->object()) found.emplace_back(name, Field(&one, path_ + "." + name.substr(0, 100)));
  return found;
}

std::int64_t Field::integer(std::int64_t least, std::int64_t most) const {
  const json::Number* found = value_ ? value_->number() : nullptr;
  if (!found || !found->is_integer || found->integer < least || found->integer > most)
    wrong("is no whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return found->integer;
}

double Field::number(double least, double most) const {
  const json::Number* found = value_ ? value_->number() : nullptr;
  if (!found || !(found->value >= least && found->value <= most))
    wrong("is no number from " + std::to_string(least) + " to " + std::to_string(most));
  return found->value;
}

const std::string& Field::text(std::size_t longest) const {
  const std::string* found = value_ ? value_->string() : nullptr;
  if (!found) wrong("is no string");
  if (found->size() > longest) wrong("is longer than " + std::to_string(longest) + " bytes");
  return *found;
}

const std::string& Field::word(std::initializer_list<const char*> known) const {
  std::string list;
  for (const char* one : known) {
    if (is_text() && *value_->string() == one) return *value_->string();
    list += (list.empty() ? "" : ", ") + std::string(one);
  }
  wrong("is none of " + list);
}

}  // namespace g4::rt
