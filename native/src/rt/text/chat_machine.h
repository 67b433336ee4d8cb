// Runs a chat table for one conversation. Nothing that a table says is trusted: what its loader does not prove, the
// machine checks as it goes.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chat_table.h"
#include "chat_value.h"

namespace g4::rt::chat {

constexpr std::size_t kMostBuffers = 1 << 12;

using Variables = std::vector<std::pair<std::string, Value>>;

class Machine {
 public:
  Machine(const Table& table, Work& work, const Variables& variables);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // What `routine` writes.
  std::string run(std::uint32_t routine);
  // Of the source, where it stands.
  std::uint32_t line() const;

 private:
  struct Loop {
    Iterator source;
    bool judged = false;        // code accepts each item
    std::uint32_t accept = 0;   // where that stands
    std::int64_t size = -1;     // how many items there are, where that is known
    std::deque<Value> ahead;    // items that were asked for before their turn
    bool ended = false;         // nothing is behind `ahead`
    bool done = false;          // a body came to its end
    std::int64_t index = -1;
    Value before, current;
  };
  struct Frame {
    const Routine* routine;
    std::uint32_t at;
    std::vector<Value> slots;
    std::size_t stack, buffers;  // where its parts of these begin
    std::vector<Loop> loops;
    std::vector<std::pair<std::size_t, std::uint32_t>> judging;  // loops whose items are judged, and who asked
  };

  void begin(std::uint32_t routine, std::vector<Value> given);
  void values(const Instruction& one);   // what only changes the stack and slots
  void control(const Instruction& one);  // loops, calls and what is written
  void write(const std::string& text);

  void push(Value value);
  Value pop();
  // The `count` topmost values, the first of which stands at the given place; they stay until `drop`.
  Value* top(std::size_t count);
  void drop(std::size_t count);
  std::vector<Value> take(std::size_t count);

  Frame& frame() { return frames_.back(); }
  Value& slot(bool outer, std::uint32_t number);
  Space& space(bool outer, std::uint32_t number);
  Loop& loop();
  // A loop with a condition (`for x in l if c`) has code that judges an item. An instruction that needs one more item of
  // any loop asks: `offer` takes it from the source, pushes it and goes to that code. There `accept` puts it into `ahead`,
  // and `pull` offers the next one in the place of one that was not accepted; both go back to the instruction that asked,
  // which runs again. Loops without a condition put items into `ahead` at once.
  bool ask(std::size_t loop);
  bool offer(std::size_t loop);
  Value of_loop(const Loop& loop, LoopAttribute attribute) const;
  static bool knows(const Loop& loop, LoopAttribute attribute);
  void unpack(std::size_t count);
  void call(std::size_t given, std::size_t named);
  Value function(Function function, const Value* given, std::size_t count, std::size_t named);
  Value range(const Value* given, std::size_t count) const;

  const Table& table_;
  Work& work_;
  const Variables& variables_;
  std::vector<Value> constants_;
  std::vector<Value> stack_;
  std::vector<Frame> frames_;
  std::vector<std::string> buffers_;
  std::vector<std::unique_ptr<Space>> spaces_;
  std::size_t written_ = 0;  // characters
};

}  // namespace g4::rt::chat
