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

// With float32 activations x [M, K].
void product_float(const Kernels& kernels, const Parallel& parallel, const Weights& weights, const float* x,
                   std::int64_t M, float* y);

}  // namespace g4
