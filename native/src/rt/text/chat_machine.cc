#include "chat_machine.h"

#include <algorithm>

#include "chat_filters.h"
#include "chat_operators.h"
#include "chat_text.h"

namespace g4::rt::chat {
namespace {

constexpr std::size_t kDeepest = 200;      // macros in each other
constexpr std::size_t kMostStack = 1 << 17;  // what one instruction may take, and as much below it
constexpr std::string_view kFunctions[] = {"dict", "namespace", "raise_exception", "range"};

[[noreturn]] void malformed() {
  fail(G4RT_BAD_BUNDLE, "the chat table is malformed: its code does not fit its own stack; compile the bundle again");
}

}  // namespace

Machine::Machine(const Table& table, Work& work, const Variables& variables)
    : table_(table), work_(work), variables_(variables) {
  for (const Constant& one : table.constants) {
    switch (one.kind) {
      case Constant::Kind::none: constants_.push_back(Value::none()); break;
      case Constant::Kind::boolean: constants_.push_back(Value(one.integer != 0)); break;
      case Constant::Kind::integer: constants_.push_back(Value(one.integer)); break;
      case Constant::Kind::real: constants_.push_back(Value(one.real)); break;
      case Constant::Kind::string:
        constants_.push_back(make_text(work, table.strings[static_cast<std::size_t>(one.integer)]));
    }
  }
}

Machine::~Machine() = default;

std::string Machine::run(std::uint32_t routine) {
  begin(routine, {});
  while (!frames_.empty()) {
    const Instruction& one = table_.code[frame().at++];
    work_.step();
    if (one.op >= static_cast<std::uint8_t>(Op::text) || one.op == static_cast<std::uint8_t>(Op::call)) {
      control(one);
    } else {
      values(one);
    }
  }
  return std::move(buffers_.front());
}

std::uint32_t Machine::line() const { return frames_.empty() ? 0 : table_.line(frames_.back().at - 1); }

void Machine::begin(std::uint32_t number, std::vector<Value> given) {
  if (frames_.size() > kDeepest) refuse("more than " + std::to_string(kDeepest) + " macros are in each other");
  const Routine& routine = table_.routines[number];
  given.resize(routine.slots);
  if (buffers_.size() >= kMostBuffers) malformed();
  frames_.push_back({&routine, routine.begin, std::move(given), stack_.size(), buffers_.size(), {}, {}});
  buffers_.emplace_back();
}

void Machine::push(Value value) {
  if (stack_.size() >= kMostStack) malformed();
  stack_.push_back(std::move(value));
}

Value* Machine::top(std::size_t count) {
  if (stack_.size() - frame().stack < count) malformed();
  return stack_.data() + (stack_.size() - count);
}

void Machine::drop(std::size_t count) { stack_.resize(stack_.size() - count); }

Value Machine::pop() {
  Value found = std::move(*top(1));
  stack_.pop_back();
  return found;
}

std::vector<Value> Machine::take(std::size_t count) {
  Value* first = top(count);
  std::vector<Value> found(std::make_move_iterator(first), std::make_move_iterator(first + count));
  drop(count);
  return found;
}

Value& Machine::slot(bool outer, std::uint32_t number) {
  std::vector<Value>& slots = (outer ? frames_.front() : frame()).slots;
  if (number >= slots.size()) malformed();
  return slots[number];
}

Space& Machine::space(bool outer, std::uint32_t number) {
  const Value& value = slot(outer, number);
  if (!value.is(Kind::space)) refuse("an attribute is set of what is no namespace");
  return *value.space();
}

void Machine::values(const Instruction& one) {
  // Replaces `count` values by one.
  const auto give = [&](std::size_t count, Value value) {
    drop(count);
    push(std::move(value));
  };
  switch (static_cast<Op>(one.op)) {
    case Op::constant: return push(constants_[one.z]);
    case Op::undefined: return push(Value::undefined(Why::words, one.z));
    case Op::list: return push(make_list(work_, take(one.z)));
    case Op::tuple: return push(make_list(work_, take(one.z), Kind::tuple));
    case Op::dict: {
      Value* given = top(std::size_t{2} * one.z);
      std::vector<Entry> entries;
      for (std::size_t i = 0; i < one.z; ++i) {
        const Value &key = given[2 * i], &value = given[2 * i + 1];
        if (!key.is(Kind::text)) wrong(work_, "a dict whose key is no text, but", key);
        work_.step(1 + entries.size() / 8);
        const auto same = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
          return entry.first.text().bytes == key.text().bytes;
        });
        if (same != entries.end()) {
          same->second = value;
        } else {
          entries.emplace_back(key, value);
        }
      }
      return give(std::size_t{2} * one.z, make_dict(work_, std::move(entries)));
    }
    case Op::load:
    case Op::load_outer: {
      const Value& value = slot(static_cast<Op>(one.op) == Op::load_outer, one.y);
      return push(value.is(Kind::empty) ? Value::undefined(Why::name, one.z) : value);
    }
    case Op::store: slot(false, one.y) = pop(); return;
    case Op::clear: slot(false, one.y) = Value(); return;
    case Op::resolve: {
      const std::string& name = table_.strings[one.z];
      work_.step(variables_.size() / 8);
      Value found;
      for (std::size_t i = 0; i < std::size(kFunctions); ++i)
        if (kFunctions[i] == name) found = Value::function(static_cast<Function>(i));
      for (const auto& [known, value] : variables_)
        if (known == name) found = value;
      slot(false, one.y) = std::move(found);
      return;
    }
    case Op::copy: slot(false, one.y) = slot(false, one.z); return;
    case Op::copy_outer: slot(false, one.y) = slot(true, one.z); return;
    case Op::need_namespace: space(one.x == 1, one.y); return;
    case Op::set_attribute: {
      Value value = pop();
      work_.items(1);
      return space(one.x == 1, one.y).put(table_.strings[one.z], std::move(value));
    }
    case Op::skip_given:
      if (!slot(false, one.y).is(Kind::empty)) frame().at = one.z;
      return;
    case Op::macro: return push(Value::macro(one.z));
    case Op::attribute: return give(1, attribute(work_, *top(1), table_.strings[one.z], one.z));
    case Op::item: {
      const Value* given = top(2);
      return give(2, item(work_, given[0], given[1]));
    }
    case Op::slice: {
      const std::size_t count = 1 + (one.x & 1) + (one.x >> 1 & 1) + (one.x >> 2 & 1);
      const Value* given = top(count);
      Value parts[3] = {Value::none(), Value::none(), Value::none()};
      for (std::size_t i = 0, next = 1; i < 3; ++i)
        if (one.x >> i & 1) parts[i] = given[next++];
      return give(count, part(work_, given[0], parts[0], parts[1], parts[2]));
    }
    case Op::unary: return give(1, unary(work_, static_cast<Unary>(one.x), *top(1)));
    case Op::binary: {
      const Value* given = top(2);
      return give(2, binary(work_, static_cast<Binary>(one.x), given[0], given[1]));
    }
    case Op::compare: {
      const Value* given = top(2);
      return give(2, Value(compared(work_, static_cast<Compare>(one.x), given[0], given[1])));
    }
    case Op::concat: {
      const Value* given = top(one.z);
      std::string made;
      for (std::size_t i = 0; i < one.z; ++i) {
        chat::write(work_, made, given[i]);
        if (made.size() > kLongestText) work_.text(made.size());
      }
      return give(one.z, make_text(work_, std::move(made)));
    }
    case Op::jump: frame().at = one.z; return;
    case Op::jump_if_false:
      if (!truth(pop())) frame().at = one.z;
      return;
    case Op::and_:
    case Op::or_:
      if (truth(*top(1)) == (static_cast<Op>(one.op) == Op::or_)) {
        frame().at = one.z;
      } else {
        drop(1);
      }
      return;
    case Op::chain: {
      Value* given = top(2);
      const Value right = given[1];
      std::swap(given[0], given[1]);
      return push(right);
    }
    case Op::drop_under: {
      Value* given = top(2);
      given[0] = std::move(given[1]);
      return drop(1);
    }
    case Op::pop: top(1); return drop(1);
    case Op::filter: {
      const std::size_t count = 1 + static_cast<std::size_t>(arguments(static_cast<Filter>(one.x)));
      const Value* given = top(count);
      return give(count, filtered(work_, static_cast<Filter>(one.x), given[0], given + 1));
    }
    case Op::test: {
      const std::size_t count = 1 + static_cast<std::size_t>(arguments(static_cast<Test>(one.x)));
      const Value* given = top(count);
      return give(count, Value(tested(work_, static_cast<Test>(one.x), given[0], given + 1)));
    }
    case Op::method: {
      const std::size_t count = 1 + static_cast<std::size_t>(arguments(static_cast<Method>(one.x)));
      const Value* given = top(count);
      return give(count, called(work_, static_cast<Method>(one.x), given[0], given + 1));
    }
    case Op::map:
    case Op::map_attribute:
    case Op::select: {
      const Op op = static_cast<Op>(one.op);
      const bool leads = op == Op::map_attribute || (op == Op::select && (one.y & 2));
      const int takes = op == Op::map_attribute ? 1
                        : op == Op::map         ? arguments(static_cast<Filter>(one.x))
                                                : arguments(static_cast<Test>(one.x));
      const std::size_t count = static_cast<std::size_t>(takes);
      std::vector<Value> given = take(1 + leads + count);
      std::size_t depth = 0;
      for (const Value& value : given) depth = std::max(depth, value.depth());
      const auto does = op == Op::map      ? Lazy::Does::filter
                        : op == Op::select ? Lazy::Does::select
                                           : Lazy::Does::attribute;
      work_.items(given.size());
      auto* lazy = new Lazy(does, given[0], deeper(depth));
      const Value made(lazy);
      lazy->number = one.x;
      lazy->reject = (one.y & 1) != 0;
      if (leads) lazy->path = given[1];
      if (op == Op::map_attribute) lazy->other = given[2];
      lazy->arguments.assign(given.begin() + 1 + leads, given.end());
      return push(made);
    }
    default: malformed();
  }
}

}  // namespace g4::rt::chat
