// The entry points of include/g4ops.h for attention and experts.
#include "activations.h"
#include "attention.h"
#include "c_api.h"
#include "encoder_attention.h"
#include "experts.h"

namespace g4 {
namespace {

// Reads `from` into a shape and its arrays; returns what is wrong.
std::string checked(const char* name, const G4Cache* from, CacheShape& shape, CacheData& data) {
  if (!from) return std::string(name) + " is missing";
  if (from->type < 0 || from->type >= kCacheTypes) return std::string(name) + " has an unknown type";
  shape = {from->batch, from->heads, from->slots, from->depth, static_cast<CacheType>(from->type), from->ring != 0};
  std::string wrong = problem(shape);
  if (!wrong.empty()) return std::string(name) + ": " + wrong;
  const std::int64_t bytes = cache_bytes(shape.type), tokens = shape.B * shape.K * shape.T;
  wrong = size_problem(name, from->numbers, from->numbers_bytes, tokens * shape.D * bytes,
                       static_cast<std::size_t>(bytes));
  const bool scaled = shape.type == kInt8;
  if (wrong.empty() && (scaled || from->scales || from->scales_bytes))
    wrong = size_problem((std::string(name) + "' scales").c_str(), from->scales, from->scales_bytes,
                         scaled ? tokens * 4 : 0, 4);
  data = {from->numbers, scaled ? from->scales : nullptr};
  return wrong;
}

bool equal(const CacheShape& a, const CacheShape& b) {
  return a.B == b.B && a.K == b.K && a.T == b.T && a.D == b.D && a.type == b.type && a.ring == b.ring;
}

}  // namespace
}  // namespace g4

using namespace g4;

int g4ops_cache_write(G4Pool* pool, const G4Cache* cache, const float* fresh, int64_t tokens,
                      const int64_t* positions) {
  return guarded("g4ops_cache_write", [&] {
    CacheShape shape;
    CacheData data;
    std::string wrong = checked("cache", cache, shape, data);
    if (wrong.empty() && (tokens < 0 || tokens > kMaxRows)) wrong = "tokens is " + std::to_string(tokens);
    if (wrong.empty()) wrong = problem(shape, tokens, positions);
    if (wrong.empty()) write_cache(own(pool), shape, tokens, fresh, positions, cache->numbers, cache->scales);
    return wrong;
  });
}

int g4ops_attention(const G4Kernels* kernels, G4Pool* pool, const G4Queries* queries, const float* query,
                    const G4Cache* keys, const G4Cache* values, float* y) {
  return guarded("g4ops_attention", [&] {
    CacheShape of_keys, of_values;
    CacheData key_data, value_data;
    std::string wrong = checked("keys", keys, of_keys, key_data);
    if (wrong.empty()) wrong = checked("values", values, of_values, value_data);
    if (wrong.empty() && !equal(of_keys, of_values)) wrong = "keys and values differ in their sizes or types";
    if (wrong.empty() && !queries) wrong = "queries is missing";
    if (!wrong.empty()) return wrong;
    const AttentionShape shape{of_keys, queries->heads, queries->tokens, queries->window,
                               static_cast<float>(queries->scale)};
    wrong = problem(shape);
    const Places places{queries->positions, queries->block_starts, queries->block_ends};
    if (wrong.empty()) wrong = problem(shape, places);
    if (wrong.empty()) attention(*own(kernels).floats, own(pool), shape, query, places, key_data, value_data, y);
    return wrong;
  });
}

int g4ops_encoder_attention(const G4Kernels* kernels, G4Pool* pool, const G4Encoder* encoder, const float* query,
                            const float* keys, const float* values, float* y) {
  return guarded("g4ops_encoder_attention", [&]() -> std::string {
    if (!encoder) return "encoder is missing";
    const G4Encoder& e = *encoder;
    const EncoderShape shape{e.batch, e.heads, e.key_heads, e.queries, e.keys, e.depth, static_cast<float>(e.scale)};
    std::string wrong = problem(shape);
    if (wrong.empty()) encoder_attention(own(kernels).floats->encoder, own(pool), shape, query, keys, values, y);
    return wrong;
  });
}

int g4ops_experts(const G4Kernels* kernels, G4Pool* pool, const G4Experts* experts, const float* x,
                  const G4Choices* choices, float* y) {
  return guarded("g4ops_experts", [&]() -> std::string {
    if (!experts || !choices) return "experts or choices is missing";
    const auto format = [](const G4Weights& w) { return Format{w.bits, w.block, w.columns, w.rows}; };
    std::string wrong = problem(experts->count, format(experts->gate_up), format(experts->down));
    if (!wrong.empty()) return wrong;
    Experts all;
    all.count = experts->count;
    all.exact = experts->exact != 0;
    wrong = checked(&experts->gate_up, all.gate_up, all.count);
    if (!wrong.empty()) return "gate and up: " + wrong;
    wrong = checked(&experts->down, all.down, all.count);
    if (!wrong.empty()) return "down: " + wrong;
    const Choices chosen{choices->tokens, choices->each, choices->index, choices->weight};
    wrong = problem(all.count, chosen);
    if (wrong.empty() && chosen.tokens) run_experts(own(kernels), own(pool), all, x, chosen, y);
    return wrong;
  });
}
