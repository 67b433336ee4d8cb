// `tojson`, as `json.dumps` of Python writes.
#include <algorithm>

#include "../utf8.h"
#include "chat_filters.h"
#include "chat_text.h"

namespace g4::rt::chat {
namespace {

constexpr std::int64_t kWidest = 16;  // of an indent

struct Writer {
  Work& work;
  bool ascii, sorted;
  std::int64_t indent;  // below 0: all in one line
  std::string comma, colon;
  std::string made;

  void line(std::size_t depth) {
    if (indent < 0) return;
    made += '\n';
    made.append(static_cast<std::size_t>(indent) * depth, ' ');
  }

  void unit(std::uint32_t code) {
    static constexpr char kDigits[] = "0123456789abcdef";
    made += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) made += kDigits[code >> shift & 15];
  }

  void text(const std::string& bytes) {
    static constexpr std::string_view kMeant = "\"\\\b\f\n\r\t", kWritten = "\"\\bfnrt";
    work.text(bytes.size() + 2);
    made += '"';
    for (std::size_t at = 0; at < bytes.size(); at += character_bytes(bytes, at)) {
      const std::uint32_t character = character_at(bytes, at);
      const std::size_t known = character < 0x80 ? kMeant.find(static_cast<char>(character)) : std::string_view::npos;
      if (known != std::string_view::npos) {
        made += '\\';
        made += kWritten[known];
      } else if (character < 0x20 || (ascii && character == 0x7F)) {
        unit(character);
      } else if (character < 0x80 || !ascii) {
        append_utf8(made, character);
      } else if (character < 0x10000) {
        unit(character);
      } else {
        unit(0xD800 + ((character - 0x10000) >> 10));
        unit(0xDC00 + ((character - 0x10000) & 0x3FF));
      }
    }
    made += '"';
  }

  void values(const std::vector<Value>& values, std::size_t depth) {
    if (values.empty()) {
      made += "[]";
      return;
    }
    made += '[';
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i) made += comma;
      line(depth + 1);
      value(values[i], depth + 1);
    }
    line(depth);
    made += ']';
  }

  void entries(const Dict& dict, std::size_t depth) {
    if (dict.entries.empty()) {
      made += "{}";
      return;
    }
    std::vector<const Entry*> all;
    for (const Entry& entry : dict.entries) all.push_back(&entry);
    if (sorted) {
      std::sort(all.begin(), all.end(), [](const Entry* left, const Entry* right) {
        return left->first.text().bytes < right->first.text().bytes;
      });
    }
    made += '{';
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i) made += comma;
      line(depth + 1);
      text(all[i]->first.text().bytes);
      made += colon;
      value(all[i]->second, depth + 1);
    }
    line(depth);
    made += '}';
  }

  void value(const Value& value, std::size_t depth) {
    work.step();
    if (made.size() > kLongestText) work.text(made.size());
    switch (value.kind()) {
      case Kind::none: made += "null"; return;
      case Kind::boolean: made += value.integer() ? "true" : "false"; return;
      case Kind::integer: made += std::to_string(value.integer()); return;
      case Kind::big: made += value.text().bytes; return;
      case Kind::real: {
        const std::string number = shown(value.real());
        made += number == "nan" ? "NaN" : number == "inf" ? "Infinity" : number == "-inf" ? "-Infinity" : number;
        return;
      }
      case Kind::text: return text(value.text().bytes);
      case Kind::list:
      case Kind::tuple: return values(value.items().values, depth);
      case Kind::dict: return entries(value.dict(), depth);
      default: wrong(work, "`tojson`", value);
    }
  }
};

}  // namespace

Value to_json(Work& work, const Value& value, const Value* given) {
  const Value &ascii = given[0], &indent = given[1], &separators = given[2], &sorted = given[3];
  Writer writer{work, truth(ascii), truth(sorted), -1, ", ", ": ", {}};
  if (!indent.is(Kind::none)) {
    if (!indent.is(Kind::integer) || indent.integer() < 0 || indent.integer() > kWidest) {
      refuse("`indent` of `tojson` is a whole number from 0 to 16");
    }
    writer.indent = indent.integer();
    writer.comma = ",";
  }
  if (!separators.is(Kind::none)) {
    const bool listing = separators.is(Kind::list) || separators.is(Kind::tuple);
    if (!listing || separators.items().values.size() != 2 || !separators.items().values[0].is(Kind::text) ||
        !separators.items().values[1].is(Kind::text)) {
      refuse("`separators` of `tojson` are two texts");
    }
    writer.comma = separators.items().values[0].text().bytes;
    writer.colon = separators.items().values[1].text().bytes;
  }
  writer.value(value, 0);
  return make_text(work, std::move(writer.made));
}

}  // namespace g4::rt::chat
