// The entry points of include/g4ops.h for norms.
#include "c_api.h"
#include "norms.h"

namespace g4 {
namespace {

std::string checked(const G4Norm* from, std::int64_t rows, Norm& to) {
  if (!from || !from->weight) return "norm or its weight is missing";
  if (from->width < 1 || from->width > 1 << 24) return "width is " + std::to_string(from->width);
  if (rows < 0 || rows > kMaxRows) return "there are " + std::to_string(rows) + " rows";
  to = {from->width, from->weight, static_cast<float>(from->epsilon)};
  return "";
}

}  // namespace
}  // namespace g4

using namespace g4;

int g4ops_norm_add(const G4Kernels* kernels, G4Pool* pool, const G4Norm* norm, int64_t rows, const float* x,
                   const float* residual, double scale, float* y) {
  return guarded("g4ops_norm_add", [&] {
    Norm own_norm;
    std::string wrong = checked(norm, rows, own_norm);
    if (wrong.empty()) norm_add(own(kernels), own(pool), own_norm, rows, x, residual, static_cast<float>(scale), y);
    return wrong;
  });
}

int g4ops_norm_quantize(const G4Kernels* kernels, G4Pool* pool, const G4Norm* norm, int64_t rows, int64_t block,
                        const float* x, void* packed, size_t packed_bytes) {
  return guarded("g4ops_norm_quantize", [&] {
    Norm own_norm;
    std::string wrong = checked(norm, rows, own_norm);
    if (wrong.empty() && own_norm.width > kMaxK) wrong = "width is " + std::to_string(own_norm.width);
    if (wrong.empty() && block != 0 && block != 128) wrong = "block is " + std::to_string(block) + ", not 0 or 128";
    const Activations shape{rows, own_norm.width, block};
    if (wrong.empty())
      wrong = size_problem("packed", packed, packed_bytes, static_cast<std::int64_t>(shape.bytes()), 4);
    if (wrong.empty() && rows) norm_quantize(own(kernels), own(pool), own_norm, shape, x, packed);
    return wrong;
  });
}

int g4ops_norm_heads(const G4Kernels* kernels, G4Pool* pool, const G4Norm* norm, const G4Heads* heads, const float* x,
                     const float* cos, const float* sin, float* y) {
  return guarded("g4ops_norm_heads", [&]() -> std::string {
    if (!heads) return "heads is missing";
    Norm own_norm;
    const auto few = [](std::int64_t n) { return n >= 0 && n <= 1 << 20; };
    if (!few(heads->batch) || !few(heads->tokens) || !few(heads->heads) || !few(heads->parts) || !few(heads->pairs))
      return "heads is too large";
    std::string wrong = checked(norm, heads->batch * heads->tokens, own_norm);
    const Heads shape{heads->batch, heads->tokens, heads->heads, own_norm.width, heads->parts, heads->pairs};
    if (wrong.empty()) wrong = problem(shape);
    if (wrong.empty()) norm_heads(own(kernels), own(pool), own_norm, shape, x, cos, sin, y);
    return wrong;
  });
}
