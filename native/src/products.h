// y [M, N] = x [M, K] * weights^T. A task computes whole panels, and K is never split: the result does not depend on
// the number of threads, nor on the instruction set.
#pragma once
#include "activations.h"
#include "kernels.h"
#include "parallel.h"
#include "weights.h"

namespace g4 {

// With activations that `quantize` packed; weights.format.K is shape.K.
void product(const Kernels& kernels, const Parallel& parallel, const Weights& weights, const Activations& shape,
             const void* packed, float* y);

// y = gelu_tanh(x * gate^T) * (x * up^T): two matrices of one size. Neither product is written to memory.
void gated_product(const Kernels& kernels, const Parallel& parallel, const Weights& gate, const Weights& up,
                   const Activations& shape, const void* packed, float* y);

// With float32 activations x [M, K].
void product_float(const Kernels& kernels, const Parallel& parallel, const Weights& weights, const float* x,
                   std::int64_t M, float* y);

// Some of it, by the thread that calls: the panels from `begin` on and before `end`. In the float product x is
// [M, K padded], with zeros behind K.
void product_panels(const Kernels& kernels, const Weights& weights, const Activations& shape, const void* packed,
                    std::int64_t begin, std::int64_t end, float* y);
void product_float_panels(const Kernels& kernels, const Weights& weights, const float* x, std::int64_t M,
                          std::int64_t begin, std::int64_t end, float* y);

// How many panels a task takes, of `panels` that are multiplied with about M rows each.
std::int64_t panels_a_task(const Format& format, std::int64_t M, std::int64_t panels);

}  // namespace g4
