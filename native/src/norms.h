// RMS norms with what stands around them, over rows of float32. LAYERS.md is the text of this.
#pragma once
#include <cstdint>
#include <string>

#include "activations.h"
#include "kernels.h"
#include "parallel.h"

namespace g4 {

// Rows of `width` numbers. weight: [width].
struct Norm {
  std::int64_t width = 0;
  const float* weight = nullptr;
  float epsilon = 0;
};

// y [rows, width] = (residual + norm of x) * scale. y may be residual.
void norm_add(const Kernels& kernels, const Parallel& parallel, const Norm& norm, std::int64_t rows, const float* x,
              const float* residual, float scale, float* y);

// packed = what `quantize` makes of the norm of x [shape.M, width], where shape.K is the width.
void norm_quantize(const Kernels& kernels, const Parallel& parallel, const Norm& norm, const Activations& shape,
                   const float* x, void* packed);

// Heads [B, S, N, D] that are normed one by one, rotated, and turned to [B, N, S, D]. A head is `parts` equal parts, each
// with angles of its own. half: pairs of a part that are rotated, (i, half + i) by the angle i; 0: none.
struct Heads {
  std::int64_t B = 0, S = 0, N = 0, D = 0, parts = 1, half = 0;
};

// Returns what is wrong with a shape, or "".
std::string problem(const Heads& heads);

// x: [B, S, N * D]; norm.width is D; cos, sin: [B, S, parts, half]; y: [B, N, S, D].
void norm_heads(const Kernels& kernels, const Parallel& parallel, const Norm& norm, const Heads& heads, const float* x,
                const float* cos, const float* sin, float* y);

// y [rows, width] = gelu_tanh(gate) * layer `layer` of inputs [rows, layers, width].
void layer_gate(const Kernels& kernels, const Parallel& parallel, std::int64_t rows, std::int64_t width,
                std::int64_t layers, std::int64_t layer, const float* gate, const float* inputs, float* y);

}  // namespace g4
