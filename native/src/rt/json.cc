#include "json.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <unordered_set>

#include "decimal.h"
#include "failure.h"
#include "utf8.h"

namespace g4::rt::json {
namespace {

constexpr std::size_t kLongestNumber = 4096;  // digits that a double or a 64-bit integer may be written with

class Parser {
 public:
  Parser(std::string_view text, const char* what, g4rt_status status, Most most)
      : text_(text), what_(what), status_(status), left_(most.nested), values_(most.values) {}

  Value whole() {
    space();
    Value found = value();
    space();
    if (at_ < text_.size()) wrong("there is more behind its end");
    return found;
  }

 private:
  [[noreturn]] void wrong(const std::string& why) const {
    fail(status_, std::string(what_) + " is no valid JSON: " + why + ", at byte " + std::to_string(at_));
  }

  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Value value() {
    if (!values_--) wrong("it has too many values");
    switch (peek()) {
      case '{': return object();
      case '[': return array();
      case '"': return Value(string());
    }
    if (take("null")) return Value();
    if (take("true")) return Value(true);
    if (take("false")) return Value(false);
    return number();
  }

  struct Nesting {
    explicit Nesting(Parser& parser) : parser(parser) {
      if (--parser.left_ < 0) parser.wrong("it is nested too deep");
    }
    ~Nesting() { ++parser.left_; }
    Parser& parser;
  };

  Value object() {
    const Nesting deeper(*this);
    Object entries;
    std::unordered_set<std::string> names;
    ++at_;
    space();
    if (take("}")) return Value(std::move(entries));
    do {
      space();
      if (peek() != '"') wrong("a name is expected");
      std::string name = string();
      if (!names.insert(name).second) wrong("the name " + name.substr(0, 100) + " stands twice in one object");
      space();
      if (!take(":")) wrong("a colon is expected");
      space();
      entries.emplace_back(std::move(name), value());
      space();
    } while (take(","));
    if (!take("}")) wrong("a comma or } is expected");
    return Value(std::move(entries));
  }

  Value array() {
    const Nesting deeper(*this);
    Array entries;
    ++at_;
    space();
    if (take("]")) return Value(std::move(entries));
    do {
      space();
      entries.push_back(value());
      space();
    } while (take(","));
    if (!take("]")) wrong("a comma or ] is expected");
    return Value(std::move(entries));
  }

  std::string string() {
    std::string found;
    ++at_;
    while (true) {
      if (at_ >= text_.size()) wrong("a string has no end");
      const unsigned char byte = static_cast<unsigned char>(text_[at_]);
      if (byte == '"') return ++at_, found;
      if (byte < 0x20) wrong("a string has a control character");
      if (byte == '\\') {
        ++at_;
        escape(found);
        continue;
      }
      const std::size_t bytes = utf8_character(text_, at_);
      if (!bytes) wrong("a string is no valid UTF-8");
      found.append(text_, at_, bytes);
      at_ += bytes;
    }
  }

  void escape(std::string& to) {
    static constexpr std::string_view kWritten = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    const char letter = peek();
    const std::size_t known = letter ? kWritten.find(letter) : std::string_view::npos;
    if (known != std::string_view::npos) {
      ++at_;
      to += kMeant[known];
    } else if (take("u")) {
      std::uint32_t point = four_digits();
      if (point >= 0xDC00 && point <= 0xDFFF) wrong("half of a surrogate pair");
      if (point >= 0xD800 && point <= 0xDBFF) {
        if (!take("\\u")) wrong("half of a surrogate pair");
        const std::uint32_t low = four_digits();
        if (low < 0xDC00 || low > 0xDFFF) wrong("half of a surrogate pair");
        point = 0x10000 + ((point - 0xD800) << 10 | (low - 0xDC00));
      }
      append_utf8(to, point);
    } else {
      wrong("an escape that JSON does not have");
    }
  }

  std::uint32_t four_digits() {
    std::uint32_t found = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char digit = peek();
      const int number = digit >= '0' && digit <= '9'   ? digit - '0'
                         : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                         : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                        : -1;
      if (number < 0) wrong("four hexadecimal digits are expected");
      found = found << 4 | static_cast<std::uint32_t>(number);
    }
    return found;
  }

  void digits() {
    if (peek() < '0' || peek() > '9') wrong("a value is expected");
    while (peek() >= '0' && peek() <= '9') ++at_;
  }

  Value number() {
    const std::size_t start = at_;
    take("-");
    if (peek() == '0') {
      ++at_;
    } else {
      digits();
    }
    bool integer = true;
    if (take(".")) {
      integer = false;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      ++at_;
      if (!take("+")) take("-");
      digits();
    }
    if (at_ - start > kLongestNumber) wrong("a number is too long");
    Number found{std::string(text_.substr(start, at_ - start)), 0, 0, integer};
    // Beyond a double: the greatest of its sign, which no caller takes for a size.
    constexpr double kGreatest = std::numeric_limits<double>::max();
    found.value = std::clamp(nearest_double(found.text), -kGreatest, kGreatest);
    if (integer) {
      errno = 0;
      found.integer = std::strtoll(found.text.c_str(), nullptr, 10);
      found.is_integer = errno == 0;
    }
    return Value(std::move(found));
  }

  std::string_view text_;
  const char* what_;
  g4rt_status status_;
  int left_;  // levels of nesting
  std::size_t values_;  // that may follow
  std::size_t at_ = 0;
};

}  // namespace

const Value* Value::find(std::string_view name) const {
  const Object* entries = object();
  if (entries)
    for (const auto& [key, value] : *entries)
      if (key == name) return &value;
  return nullptr;
}

Value parse(std::string_view text, const char* what, g4rt_status status, Most most) {
  return Parser(text, what, status, most).whole();
}

bool is_utf8(std::string_view text) { return utf8_prefix(text) == text.size(); }

}  // namespace g4::rt::json
