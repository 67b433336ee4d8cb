#include "chat_table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "../failure.h"
#include "../json.h"

namespace g4::rt::chat {
namespace {

constexpr std::string_view kMagic("G4CHAT\0\0", 8);
constexpr std::size_t kLargest = 1 << 24;
constexpr std::uint32_t kVersion = 1, kMostRoutines = 1 << 12, kMostTaken = 1 << 16;
constexpr std::uint32_t kMostRows = 1 << 20, kMostStrings = 1 << 16;

enum Section : std::size_t {
  string_ends, characters_of, constants_of, variables_of, templates_of, routines_of, parameters_of, code_of, lines_of,
  hidden, cased, ignorable, lower, upper, title, lower_special, upper_special, title_special, sections
};

[[noreturn]] void malformed(const std::string& why) {
  fail(G4RT_BAD_BUNDLE, "the chat table is malformed: " + why + "; compile the bundle again");
}

std::uint32_t number_at(std::string_view bytes, std::size_t at) {
  std::uint32_t found = 0;
  for (std::size_t i = 4; i-- > 0;) found = found << 8 | static_cast<unsigned char>(bytes[at + i]);
  return found;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) {
    const std::size_t head = 16 + 8 * sections;
    if (bytes.size() < head || bytes.size() > kLargest || bytes.substr(0, 8) != kMagic) malformed("it has no head");
    if (number_at(bytes, 8) != kVersion) malformed("its version is " + std::to_string(number_at(bytes, 8)));
    if (number_at(bytes, 12) != bytes.size()) malformed("its size is not the one that it names");
    for (std::size_t i = 0; i < sections; ++i) {
      const std::size_t at = number_at(bytes, 16 + 8 * i), size = number_at(bytes, 20 + 8 * i);
      if (at < head || at > bytes.size() || size > bytes.size() - at) malformed("a section is not within it");
      parts_[i] = bytes.substr(at, size);
    }
  }

  std::string_view bytes(Section section) const { return parts_[section]; }

  // Rows of `columns` numbers each.
  std::size_t rows(Section section, std::size_t columns) const {
    const std::size_t count = parts_[section].size() / (4 * columns);
    if (parts_[section].size() % (4 * columns) || count > kMostRows) malformed("a section is not whole, or too long");
    return count;
  }

  std::uint32_t number(Section section, std::size_t at) const { return number_at(parts_[section], 4 * at); }

  std::uint32_t below(Section section, std::size_t at, std::size_t end) const {
    const std::uint32_t found = number(section, at);
    if (found >= end) malformed("a number names something that is not there");
    return found;
  }

 private:
  std::array<std::string_view, sections> parts_;
};

void read_strings(const Reader& reader, std::vector<std::string>& strings) {
  const std::string_view all = reader.bytes(characters_of);
  std::size_t begin = 0;
  const std::size_t count = reader.rows(string_ends, 1);
  if (count > kMostStrings) malformed("it has too many strings");
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end = reader.number(string_ends, i);
    if (end < begin || end > all.size()) malformed("a string is not within it");
    strings.emplace_back(all.substr(begin, end - begin));
    if (!json::is_utf8(strings.back())) malformed("a string is no valid UTF-8");
    begin = end;
  }
}

void read_constants(const Reader& reader, std::size_t strings, std::vector<Constant>& constants) {
  for (std::size_t i = 0, count = reader.rows(constants_of, 4); i < count; ++i) {
    Constant made{static_cast<Constant::Kind>(reader.below(constants_of, 4 * i, 5)), 0, 0};
    const std::uint64_t low = reader.number(constants_of, 4 * i + 2), high = reader.number(constants_of, 4 * i + 3);
    const std::uint64_t bits = high << 32 | low;
    made.integer = static_cast<std::int64_t>(bits);
    std::memcpy(&made.real, &bits, sizeof bits);
    if (made.kind == Constant::Kind::string && bits >= strings) malformed("a constant names no string");
    if (made.kind == Constant::Kind::boolean && bits > 1) malformed("a constant is no boolean");
    if (made.kind == Constant::Kind::real && !std::isfinite(made.real)) malformed("a constant is not finite");
    constants.push_back(made);
  }
}

void read_pairs(const Reader& reader, Section section, std::size_t first, std::size_t second,
                std::vector<std::pair<std::uint32_t, std::uint32_t>>& pairs) {
  for (std::size_t i = 0, count = reader.rows(section, 2); i < count; ++i) {
    pairs.emplace_back(reader.below(section, 2 * i, first), reader.below(section, 2 * i + 1, second));
  }
}

void read_routines(const Reader& reader, Table& table) {
  const std::size_t count = reader.rows(routines_of, 6), code = table.code.size();
  const std::size_t parameters = reader.rows(parameters_of, 1);
  if (count == 0 || count > kMostRoutines) malformed("it has no routines, or too many");
  std::uint32_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto number = [&](std::size_t column) { return reader.number(routines_of, 6 * i + column); };
    Routine made{reader.below(routines_of, 6 * i, table.strings.size()), number(1), number(2), number(3), {}};
    if (made.begin != at || made.end <= made.begin || made.end > code) malformed("a routine has no code of its own");
    if (table.code[made.end - 1].op != static_cast<std::uint8_t>(Op::return_)) malformed("a routine has no end");
    const std::size_t first = number(4), given = number(5);
    if (made.slots > kMostSlots || given > kMostArguments || given > made.slots || first > parameters ||
        given > parameters - first) {
      malformed("a routine has too many variables");
    }
    for (std::size_t one = first; one < first + given; ++one) {
      made.parameters.push_back(reader.below(parameters_of, one, table.strings.size()));
    }
    at = made.end;
    table.routines.push_back(std::move(made));
  }
  if (at != code) malformed("code belongs to no routine");
}

// Whether what an instruction names is there.
bool sound(const Table& table, const Routine& routine, const Instruction& one) {
  const bool jump = one.z >= routine.begin && one.z < routine.end, slot = one.y < routine.slots;
  const bool string = one.z < table.strings.size(), any_slot = one.x == 1 ? one.y < kMostSlots : one.x == 0 && slot;
  const auto is_filter = one.x > 0 && one.x < static_cast<int>(Filter::count);
  const auto is_test = one.x < static_cast<int>(Test::count);
  switch (static_cast<Op>(one.op)) {
    case Op::constant: return one.z < table.constants.size();
    case Op::undefined:
    case Op::attribute:
    case Op::text: return string;
    case Op::list:
    case Op::tuple:
    case Op::dict:
    case Op::concat:
    case Op::discard:
    case Op::unpack: return one.z < kMostTaken;
    case Op::load:
    case Op::resolve: return slot && string;
    case Op::load_outer: return one.y < kMostSlots && string;
    case Op::store:
    case Op::clear: return slot;
    case Op::copy: return slot && one.z < routine.slots;
    case Op::copy_outer: return slot && one.z < kMostSlots;
    case Op::need_namespace: return any_slot;
    case Op::set_attribute: return any_slot && string;
    case Op::skip_given: return slot && jump;
    case Op::macro: return one.z < table.routines.size();
    case Op::slice: return one.x < 8;
    case Op::unary: return one.x < static_cast<int>(Unary::count);
    case Op::binary: return one.x < static_cast<int>(Binary::count);
    case Op::compare: return one.x < static_cast<int>(Compare::count);
    case Op::jump:
    case Op::jump_if_false:
    case Op::and_:
    case Op::or_:
    case Op::next: return jump;
    case Op::loop:
    case Op::end: return jump && one.x < 2;
    case Op::filter:
    case Op::map: return is_filter;
    case Op::select: return is_test && one.y < 4;
    case Op::test: return is_test && one.x > 0;
    case Op::call: return one.y <= kMostArguments && one.z <= kMostArguments;
    case Op::method: return one.x > 0 && one.x < static_cast<int>(Method::count);
    case Op::loop_attribute: return one.x < static_cast<int>(LoopAttribute::count) && one.y < kMostLoops;
    case Op::item:
    case Op::chain:
    case Op::drop_under:
    case Op::pop:
    case Op::map_attribute:
    case Op::write:
    case Op::buffer:
    case Op::capture:
    case Op::pull:
    case Op::accept:
    case Op::done:
    case Op::return_: return true;
  }
  return false;
}

void read_ranges(const Reader& reader, Section section, std::vector<Cases::Range>& ranges) {
  for (std::size_t i = 0, count = reader.rows(section, 2); i < count; ++i) {
    const Cases::Range one{reader.number(section, 2 * i), reader.number(section, 2 * i + 1)};
    if (one.last < one.first || (i && one.first <= ranges.back().last)) malformed("ranges of characters do not ascend");
    ranges.push_back(one);
  }
}

bool is_character(std::int64_t number) {
  return number >= 0 && number < 0x110000 && (number < 0xD800 || number > 0xDFFF);
}

void read_changes(const Reader& reader, Section runs, Section special, Cases::Changes& changes) {
  for (std::size_t i = 0, count = reader.rows(runs, 4); i < count; ++i) {
    const Cases::Run one{reader.number(runs, 4 * i), reader.number(runs, 4 * i + 1), reader.number(runs, 4 * i + 2),
                         static_cast<std::int32_t>(reader.number(runs, 4 * i + 3))};
    const std::int64_t first = one.first, last = one.last;
    const bool one_part = (first + one.added < 0xD800) == (last + one.added < 0xD800);
    if (last < first || !one.every || !is_character(first + one.added) || !is_character(last + one.added) ||
        !one_part || (i && one.first <= changes.runs.back().last)) {
      malformed("a change of letters makes no characters");
    }
    changes.runs.push_back(one);
  }
  for (std::size_t i = 0, count = reader.rows(special, 4); i < count; ++i) {
    Cases::Special one{reader.number(special, 4 * i), {}};
    for (std::size_t part = 0; part < 3; ++part) {
      one.becomes[part] = reader.number(special, 4 * i + 1 + part);
      if (!is_character(one.becomes[part])) malformed("a change of letters makes no characters");
    }
    if (i && one.character <= changes.special.back().character) malformed("changes of letters do not ascend");
    changes.special.push_back(one);
  }
}

}  // namespace

Table::Table(std::string_view bytes) {
  const Reader reader(bytes);
  read_strings(reader, strings);
  read_constants(reader, strings.size(), constants);
  read_pairs(reader, variables_of, strings.size(), strings.size(), variables);
  for (std::size_t i = 0, count = reader.rows(code_of, 2); i < count; ++i) {
    const std::uint32_t head = reader.number(code_of, 2 * i);
    code.push_back({static_cast<std::uint8_t>(head), static_cast<std::uint8_t>(head >> 8),
                    static_cast<std::uint16_t>(head >> 16), reader.number(code_of, 2 * i + 1)});
  }
  read_routines(reader, *this);
  read_pairs(reader, templates_of, strings.size(), routines.size(), templates);
  read_pairs(reader, lines_of, code.size(), SIZE_MAX, lines);
  for (const Routine& routine : routines) {
    for (std::uint32_t at = routine.begin; at < routine.end; ++at) {
      if (!sound(*this, routine, code[at])) malformed("instruction " + std::to_string(at) + " names what is not there");
    }
  }
  read_ranges(reader, hidden, cases.hidden_ranges);
  read_ranges(reader, cased, cases.cased_ranges);
  read_ranges(reader, ignorable, cases.ignorable_ranges);
  read_changes(reader, lower, lower_special, cases.lower_changes);
  read_changes(reader, upper, upper_special, cases.upper_changes);
  read_changes(reader, title, title_special, cases.title_changes);
}

std::uint32_t Table::line(std::uint32_t at) const {
  std::uint32_t found = 0;
  for (const auto& [first, line] : lines) {
    if (first > at) break;
    found = line;
  }
  return found;
}

const std::uint32_t* Table::find_template(std::string_view name) const {
  for (const auto& [string, routine] : templates)
    if (strings[string] == name) return &routine;
  return nullptr;
}

}  // namespace g4::rt::chat
