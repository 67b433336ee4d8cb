// Attention in which every query sees every key, as encoders have it. LAYERS.md is the text of this.
//
// Scores never stand in memory but for a block of rows and keys. Work is split by sizes alone, so the result does not
// depend on the number of threads.
#pragma once
#include <cstdint>
#include <string>

#include "float_kernels.h"
#include "parallel.h"

namespace g4 {

struct EncoderShape {
  std::int64_t B = 0, N = 0, K = 0, S = 0, T = 0, D = 0;  // N heads of S queries, K heads of T keys
  float scale = 1;
};

// Returns what is wrong with a shape, or "".
std::string problem(const EncoderShape& shape);

// query [B, N, S, D], keys and values [B, K, T, D] -> out [B, S, N * D].
void encoder_attention(const EncoderKernels& kernels, const Parallel& parallel, const EncoderShape& shape,
                       const float* query, const float* keys, const float* values, float* out);

}  // namespace g4
