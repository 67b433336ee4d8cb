// The chosen experts of each token, weighted and summed:
//
//   y[t] = sum of weight[t, i] * down[e] (gelu_tanh(gate) * up),   [gate; up] = gate_up[e] x[t],   e = index[t, i]
//
// Tokens are gathered by expert, multiplied, and added back in the order of their experts. Weights of experts that no
// token chose are not read. The result does not depend on the number of threads, nor on the instruction set.
#pragma once
#include <cstdint>
#include <string>

#include "kernels.h"
#include "parallel.h"
#include "weights.h"

namespace g4 {

// Weights of all experts, one behind the other in each array.
struct Experts {
  std::int64_t count = 0;
  Weights gate_up;     // [2 I, H] each, the rows of gate first
  Weights down;        // [H, I] each
  bool exact = false;  // float32 activations; otherwise int8, a scale a row

  std::int64_t hidden() const { return gate_up.format.K; }
  std::int64_t width() const { return down.format.K; }  // I
};

struct Choices {
  std::int64_t tokens = 0, each = 0;  // each: experts a token
  const std::int64_t* index = nullptr;  // [tokens, each]
  const float* weight = nullptr;        // [tokens, each]
};

constexpr std::int64_t kMaxExperts = 1 << 16;

// What does not fit, or "".
std::string problem(std::int64_t count, const Format& gate_up, const Format& down);
std::string problem(std::int64_t count, const Choices& choices);

// x [tokens, H] -> y [tokens, H].
void run_experts(const Kernels& kernels, const Parallel& parallel, const Experts& experts, const float* x,
                 const Choices& choices, float* y);

}  // namespace g4
