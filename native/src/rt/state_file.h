// The file of a session's state. Little endian, as it stands in memory:
//
//   bytes 0   "g4state" and a NUL
//         8   uint32 1, the version; uint32 number of tensors
//        16   32 bytes, the SHA-256 of the bundle's manifest
//        48   int64 tokens; int64 number of logits (0, or the vocabulary)
//        64   of each tensor: int64 tokens that count as held (of a sliding layer), int64 slots
//             logits, float32; then the tensors [heads, slots, width], in the order of the manifest's layers
//   at the end 32 bytes, the SHA-256 of all before
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "manifest.h"

namespace g4::rt {

// Keys or values of a layer, borrowed.
struct StateTensor {
  const KVLayer* layer;
  const KVPart* part;
  std::int64_t held, slots;
  std::string_view data;

  // Slots are bounded by `read_state`, so that this fits 64 bits; the sum of all tensors need not.
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(layer->bytes(*part)) * static_cast<std::uint64_t>(slots); }
};

struct State {
  std::int64_t tokens;
  std::string_view logits;
  std::vector<StateTensor> tensors;
};

// Writes `path`, whole or not at all. Throws Failure G4RT_MACHINE.
void write_state(const std::string& path, const Manifest& manifest, const State& state);

// The state in `bytes` of the file `path`, which nobody vouches for. Throws Failure: G4RT_BAD_BUNDLE for what is no state
// of the bundle of `manifest`, G4RT_CONTEXT_FULL for one of more than `capacity` tokens.
State read_state(std::string_view bytes, const std::string& path, const Manifest& manifest, std::int64_t capacity);

}  // namespace g4::rt
