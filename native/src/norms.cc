#include "norms.h"

#include <algorithm>
#include <vector>

namespace g4 {
namespace {

constexpr std::int64_t kTaskNumbers = 16 << 10;  // less is sooner done than handed to another thread

// Calls body(row) for all rows, some a task.
template <class Body>
void each_row(const Parallel& parallel, std::int64_t rows, std::int64_t width, const Body& body) {
  const std::int64_t chunk = std::max<std::int64_t>(1, kTaskNumbers / std::max<std::int64_t>(1, width));
  auto task = [&](std::size_t index) {
    const std::int64_t first = static_cast<std::int64_t>(index) * chunk;
    for (std::int64_t row = first; row < std::min(rows, first + chunk); ++row) body(row);
  };
  if (rows) parallel.each(static_cast<std::size_t>((rows + chunk - 1) / chunk), task);
}

NormRow row_of(const Norm& norm, const float* x, float* y) {
  return {x, norm.weight, nullptr, 1, norm.epsilon, norm.width, y};
}

}  // namespace

void norm_add(const Kernels& kernels, const Parallel& parallel, const Norm& norm, std::int64_t rows, const float* x,
              const float* residual, float scale, float* y) {
  each_row(parallel, rows, norm.width, [&](std::int64_t row) {
    NormRow one = row_of(norm, x + row * norm.width, y + row * norm.width);
    one.residual = residual + row * norm.width;
    one.scale = scale;
    kernels.floats->norm(one);
  });
}

void norm_quantize(const Kernels& kernels, const Parallel& parallel, const Norm& norm, const Activations& shape,
                   const float* x, void* packed) {
  quantize_rows(kernels, parallel, shape, packed, [&](std::int64_t row) -> const float* {
    thread_local std::vector<float> buffer;  // it lives as long as the thread, and is as large as its largest row
    if (buffer.size() < static_cast<std::size_t>(norm.width)) buffer.resize(static_cast<std::size_t>(norm.width));
    kernels.floats->norm(row_of(norm, x + row * norm.width, buffer.data()));
    return buffer.data();
  });
}

std::string problem(const Heads& h) {
  if (h.N < 1 || h.D < 1) return "there are " + std::to_string(h.N) + " heads of " + std::to_string(h.D) + " numbers";
  if (h.parts < 1 || h.D % h.parts)
    return "a head of " + std::to_string(h.D) + " numbers does not have " + std::to_string(h.parts) + " equal parts";
  if (2 * h.half > h.D / h.parts)
    return std::to_string(2 * h.half) + " numbers are to be rotated, a " + (h.parts > 1 ? "part of a head" : "head") +
           " has " + std::to_string(h.D / h.parts);
  return "";
}

void norm_heads(const Kernels& kernels, const Parallel& parallel, const Norm& norm, const Heads& h, const float* x,
                const float* cos, const float* sin, float* y) {
  each_row(parallel, h.B * h.S * h.N, h.D, [&](std::int64_t row) {
    const std::int64_t head = row % h.N, token = row / h.N, b = token / h.S, s = token % h.S;
    float* const to = y + ((b * h.N + head) * h.S + s) * h.D;
    kernels.floats->norm(row_of(norm, x + row * h.D, to));
    for (std::int64_t part = 0; part < h.parts && h.half; ++part) {
      const std::int64_t angles = (token * h.parts + part) * h.half;
      kernels.floats->rotate(to + part * (h.D / h.parts), cos + angles, sin + angles, h.half);
    }
  });
}

void layer_gate(const Kernels& kernels, const Parallel& parallel, std::int64_t rows, std::int64_t width,
                std::int64_t layers, std::int64_t layer, const float* gate, const float* inputs, float* y) {
  each_row(parallel, rows, width, [&](std::int64_t row) {
    kernels.floats->geglu(gate + row * width, inputs + (row * layers + layer) * width, width, y + row * width);
  });
}

}  // namespace g4
