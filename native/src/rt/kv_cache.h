// Keys and values of one conversation, as the graph lays them out: docs/bundle.md, "KV".
#pragma once
#include <memory>
#include <vector>

#include "graph.h"
#include "manifest.h"
#include "ort.h"
#include "state_file.h"

namespace g4::rt {

// Copies share memory: what either writes stands behind its `length`, or in tensors of its own. So a copy made before a
// call is the state to go back to when that call fails.
class KVCache {
 public:
  // `capacity`: most tokens that it may hold.
  KVCache(std::shared_ptr<const Ort> ort, const KVSpec& spec, std::int64_t capacity);

  std::int64_t length() const { return length_; }
  std::uint64_t bytes() const;
  // New tokens that rings have room for in one run; 0 where there are no rings.
  std::int64_t most_new() const;

  // Gives this cache rings of its own where a call of `tokens` would write over what a copy of it still sees.
  void detach(std::int64_t tokens);
  // Makes room for the `tokens` of a run. Throws Failure G4RT_MACHINE, with nothing changed.
  void reserve(std::int64_t tokens);
  // Past inputs and present outputs of a run; outputs without a value are those that `advance` takes over.
  void bind(Graph::Named& inputs, Graph::Named& outputs) const;
  // Takes over what a run of `tokens` gave back.
  void advance(std::int64_t tokens, const Graph::Named& outputs);
  // Forgets the last `tokens`, at most `length`. Throws Failure G4RT_BAD_ARGUMENT past what sliding layers hold.
  void rewind(std::int64_t tokens);

  // The state as tensors that it lends, in the order of a file, and back: those of `read_state`.
  std::vector<StateTensor> lend() const;
  void restore(const State& state);

 private:
  struct Held {
    std::int64_t tokens = 0, slots = 0;
    std::vector<Value> values;  // a part each
  };
  std::int64_t slots_for(std::int64_t tokens) const;  // of full layers that hold `tokens`
  Value empty(const KVLayer& layer, const KVPart& part, std::int64_t slots) const;
  Value copied(const KVLayer& layer, const KVPart& part, const Value& from, std::int64_t old_slots, std::int64_t slots,
               std::int64_t count) const;
  Value larger_ring(const KVLayer& layer, const KVPart& part, const Value& from, std::int64_t old_slots,
                    std::int64_t slots) const;

  std::shared_ptr<const Ort> ort_;
  const KVSpec* spec_;
  std::int64_t most_, length_ = 0, capacity_ = 0;
  std::vector<Held> layers_;  // as those of the spec
};

}  // namespace g4::rt
