// Attention over keys and values in caches, and the writing of caches. LAYERS.md says what a cache holds.
//
// The keys of a query are those with query - window < position <= query (window 0: from position 0 on), and all of its
// block, where there are blocks: the tokens of an image see each other. What a query sees is one range that follows from
// positions and blocks; no mask is made. Work is split by sizes and positions alone, and parts are joined in their
// order, so the result does not depend on the number of threads.
#pragma once
#include <cstdint>
#include <string>

#include "float_kernels.h"
#include "parallel.h"

namespace g4 {

// Keys or values of a layer [B, K, T, D]. The token at position p is in slot p, or p modulo T in a ring.
struct CacheShape {
  std::int64_t B = 0, K = 0, T = 0, D = 0;
  CacheType type = kFloat32;
  bool ring = false;

  std::int64_t numbers() const { return B * K * T * D; }
};

struct AttentionShape {
  CacheShape cache;
  std::int64_t N = 0, S = 0;  // heads of queries, new tokens
  std::int64_t window = 0;
  float scale = 1;
};

// Where queries stand, int64 [B, S] each. block_starts, block_ends: the first and the last position of the block that a
// query is of, its own position for a query of none; both null: there are no blocks.
struct Places {
  const std::int64_t* positions = nullptr;
  const std::int64_t *block_starts = nullptr, *block_ends = nullptr;
};

struct CacheData {
  const void* numbers = nullptr;   // [B, K, T, D]
  const float* scales = nullptr;   // [B, K, T] for int8, else null
};

// What is wrong with sizes, with positions [B, S], or with blocks; or "".
std::string problem(const CacheShape& cache);
std::string problem(const AttentionShape& shape);
std::string problem(const AttentionShape& shape, const Places& places);
std::string problem(const CacheShape& cache, std::int64_t S, const std::int64_t* positions);

// query [B, N, S, D], normed and rotated -> out [B, S, N * D].
void attention(const FloatKernels& kernels, const Parallel& parallel, const AttentionShape& shape, const float* query,
               const Places& places, const CacheData& keys, const CacheData& values, float* out);

// Rounds fresh [B, K, S, D] to the numbers of the cache and puts each token in its slot. All else stays as it is.
void write_cache(const Parallel& parallel, const CacheShape& cache, std::int64_t S, const float* fresh,
                 const std::int64_t* positions, void* numbers, float* scales);

}  // namespace g4
