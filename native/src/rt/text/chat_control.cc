// Loops, calls, and what is written.
#include <algorithm>

#include "chat_machine.h"
#include "chat_operators.h"
#include "chat_text.h"

namespace g4::rt::chat {
namespace {

constexpr std::int64_t kLongestRange = 100000;  // of Jinja's sandbox

[[noreturn]] void malformed() {
  fail(G4RT_BAD_BUNDLE,
       "the chat table is malformed: its code has loops or texts that do not fit; compile the bundle again");
}

}  // namespace

void Machine::write(const std::string& text) {
  work_.text(text.size());
  if (buffers_.size() == 1) {
    written_ += characters(text);
    if (written_ > kLongest) refuse("the template writes more than " + std::to_string(kLongest) + " characters");
  }
  buffers_.back() += text;
  if (buffers_.back().size() > kLongestText) work_.text(buffers_.back().size());
}

Machine::Loop& Machine::loop() {
  if (frame().loops.empty()) malformed();
  return frame().loops.back();
}

void Machine::control(const Instruction& one) {
  switch (static_cast<Op>(one.op)) {
    case Op::text: return write(table_.strings[one.z]);
    case Op::write: {
      const Value value = pop();
      return value.is(Kind::text) ? write(value.text().bytes) : write(text_of(work_, value));
    }
    case Op::buffer:
      if (buffers_.size() >= kMostBuffers) malformed();
      buffers_.emplace_back();
      return;
    case Op::capture: {
      if (buffers_.size() - frame().buffers < 2) malformed();
      Value made = make_text(work_, std::move(buffers_.back()));
      buffers_.pop_back();
      return push(std::move(made));
    }
    case Op::discard:
      if (buffers_.size() - frame().buffers < 1 + std::size_t{one.z}) malformed();
      buffers_.resize(buffers_.size() - one.z);
      return;
    case Op::return_: {
      const std::size_t buffer = frame().buffers;
      stack_.resize(frame().stack);
      frames_.pop_back();
      if (frames_.empty()) return;
      Value made = make_text(work_, std::move(buffers_[buffer]));
      buffers_.resize(buffer);
      return push(std::move(made));
    }
    case Op::loop: {
      if (frame().loops.size() >= kMostLoops) malformed();
      const Value values = pop();
      Loop made;
      made.source = Iterator(values);
      made.judged = one.x == 1;
      made.accept = one.z;
      if (made.judged || !length_of(values, made.size)) made.size = -1;
      frame().loops.push_back(std::move(made));
      return;
    }
    case Op::next: {
      Loop& now = loop();
      if (now.ahead.empty() && !now.ended && !ask(frame().loops.size() - 1)) return;
      if (now.ahead.empty()) {
        frame().at = one.z;
        return;
      }
      ++now.index;
      now.before = std::move(now.current);
      now.current = std::move(now.ahead.front());
      now.ahead.pop_front();
      return push(now.current);
    }
    case Op::pull: {
      if (frame().judging.empty()) malformed();
      const auto [number, asked] = frame().judging.back();
      if (!offer(number)) return;
      frame().judging.pop_back();
      frame().at = asked;
      return;
    }
    case Op::accept: {
      if (frame().judging.empty()) malformed();
      const auto [number, asked] = frame().judging.back();
      if (number >= frame().loops.size()) malformed();
      frame().loops[number].ahead.push_back(pop());
      frame().judging.pop_back();
      frame().at = asked;
      return;
    }
    case Op::done: loop().done = true; return;
    case Op::end: {
      const bool done = loop().done;
      frame().loops.pop_back();
      if (done && one.x == 1) frame().at = one.z;
      return;
    }
    case Op::loop_attribute: {
      if (one.y >= frame().loops.size()) malformed();
      const auto attribute = static_cast<LoopAttribute>(one.x);
      while (!knows(frame().loops[one.y], attribute))
        if (!ask(one.y)) return;
      return push(of_loop(frame().loops[one.y], attribute));
    }
    case Op::unpack: return unpack(one.z);
    case Op::call: return call(one.y, one.z);
    default: malformed();
  }
}

// One more item of a loop; false where code has to judge it first, behind which the same instruction runs again.
bool Machine::ask(std::size_t number) {
  const std::uint32_t again = frame().at - 1;
  if (frame().judging.size() >= kMostLoops) malformed();
  if (offer(number)) return true;
  frame().judging.emplace_back(number, again);
  return false;
}

bool Machine::offer(std::size_t number) {
  if (number >= frame().loops.size()) malformed();
  Loop& from = frame().loops[number];
  Value item;
  if (!from.source.next(work_, item)) {
    from.ended = true;
    return true;
  }
  if (from.judged) {
    push(std::move(item));
    frame().at = from.accept;
    return false;
  }
  from.ahead.push_back(std::move(item));
  return true;
}

bool Machine::knows(const Loop& loop, LoopAttribute attribute) {
  switch (attribute) {
    case LoopAttribute::last:
    case LoopAttribute::nextitem: return !loop.ahead.empty() || loop.ended;
    case LoopAttribute::length:
    case LoopAttribute::revindex:
    case LoopAttribute::revindex0: return loop.size >= 0 || loop.ended;
    default: return true;
  }
}

Value Machine::of_loop(const Loop& loop, LoopAttribute attribute) const {
  const std::int64_t seen = loop.index + 1 + static_cast<std::int64_t>(loop.ahead.size());
  const std::int64_t length = loop.size >= 0 ? loop.size : seen;
  switch (attribute) {
    case LoopAttribute::index: return Value(loop.index + 1);
    case LoopAttribute::index0: return Value(loop.index);
    case LoopAttribute::revindex: return Value(length - loop.index);
    case LoopAttribute::revindex0: return Value(length - loop.index - 1);
    case LoopAttribute::first: return Value(loop.index == 0);
    case LoopAttribute::last: return Value(loop.ahead.empty());
    case LoopAttribute::length: return Value(length);
    case LoopAttribute::previtem: return loop.before.is(Kind::empty) ? Value::undefined(Why::previous) : loop.before;
    case LoopAttribute::nextitem: return loop.ahead.empty() ? Value::undefined(Why::next) : loop.ahead.front();
    case LoopAttribute::depth: return Value(std::int64_t{1});
    default: return Value(std::int64_t{0});
  }
}

void Machine::unpack(std::size_t count) {
  std::vector<Value> values = listed(work_, pop());
  if (values.size() != count) refuse(std::to_string(values.size()) + " values for " + std::to_string(count) + " names");
  for (std::size_t i = count; i-- > 0;) push(std::move(values[i]));
}

void Machine::call(std::size_t given, std::size_t named) {
  std::vector<Value> all = take(1 + given + 2 * named);
  const Value& callee = all[0];
  Value* names = all.data() + 1 + given;
  for (std::size_t i = 0; i < named; ++i)
    if (!names[2 * i].is(Kind::text)) malformed();
  if (callee.is(Kind::function)) {
    return push(function(static_cast<Function>(callee.index()), all.data() + 1, given, named));
  }
  if (!callee.is(Kind::macro)) wrong(work_, "a call", callee);
  const std::vector<std::uint32_t>& parameters = table_.routines[callee.index()].parameters;
  std::vector<Value> values(parameters.size());
  if (given > parameters.size()) refuse("a macro is called with more values than it takes");
  for (std::size_t i = 0; i < given; ++i) values[i] = std::move(all[1 + i]);
  for (std::size_t i = 0; i < named; ++i) {
    const std::string& name = names[2 * i].text().bytes;
    std::size_t at = given;
    while (at < parameters.size() && table_.strings[parameters[at]] != name) ++at;
    if (at == parameters.size()) refuse("a macro is called with '" + name + "', which it does not take");
    values[at] = std::move(names[2 * i + 1]);
  }
  begin(callee.index(), std::move(values));
}

Value Machine::function(Function function, const Value* given, std::size_t count, std::size_t named) {
  const Value* names = given + count;
  if (function == Function::raise_exception) {
    if (count + named != 1 || (named && names[0].text().bytes != "message")) refuse("`raise_exception` takes one text");
    refuse(text_of(work_, count ? given[0] : names[1]));
  }
  if (function == Function::range) {
    if (named) refuse("`range` takes no named values");
    return range(given, count);
  }
  if (count > 1 || (count == 1 && !given[0].is(Kind::dict))) {
    refuse("`dict` and `namespace` take one dict, and named values");
  }
  std::vector<Entry> entries;
  if (count) entries = given[0].dict().entries;
  for (std::size_t i = 0; i < named; ++i) {
    const Value &name = names[2 * i], &value = names[2 * i + 1];
    const auto same = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
      return entry.first.text().bytes == name.text().bytes;
    });
    work_.step(1 + entries.size() / 8);
    if (same != entries.end()) {
      same->second = value;
    } else {
      entries.emplace_back(name, value);
    }
  }
  if (function == Function::dict) return make_dict(work_, std::move(entries));
  work_.items(16 + 2 * entries.size());
  spaces_.push_back(std::make_unique<Space>());
  for (auto& [name, value] : entries) spaces_.back()->put(name.text().bytes, std::move(value));
  return Value(spaces_.back().get());
}

Value Machine::range(const Value* given, std::size_t count) const {
  if (count < 1 || count > 3 || !std::all_of(given, given + count, is_whole)) {
    refuse("`range` takes one to three whole numbers");
  }
  const std::int64_t start = count > 1 ? given[0].integer() : 0, stop = given[count > 1].integer();
  const std::int64_t step = count > 2 ? given[2].integer() : 1;
  if (step == 0) refuse("`range` with steps of 0");
  std::uint64_t length = 0;
  if (step > 0 ? start < stop : start > stop) {
    const auto bits = [](std::int64_t number) { return static_cast<std::uint64_t>(number); };
    const std::uint64_t way = step > 0 ? bits(stop) - bits(start) : bits(start) - bits(stop);
    length = (way - 1) / (step > 0 ? bits(step) : ~bits(step) + 1) + 1;
  }
  if (length > static_cast<std::uint64_t>(kLongestRange)) {
    refuse("`range` of more than " + std::to_string(kLongestRange) + " numbers");
  }
  return Value(new Range(start, stop, step, static_cast<std::int64_t>(length)));
}

}  // namespace g4::rt::chat
