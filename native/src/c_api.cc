// The entry points of include/g4ops.h.
#include "g4ops.h"

#include "activations.h"
#include "c_api.h"
#include "products.h"

namespace g4 {
namespace {

std::string problem(const Activations& a) {
  if (a.M < 0 || a.M > kMaxRows) return "rows is " + std::to_string(a.M) + ", not in 0.." + std::to_string(kMaxRows);
  if (a.K < 1 || a.K > kMaxK) return "K is " + std::to_string(a.K) + ", not in 1.." + std::to_string(kMaxK);
  if (a.block != 0 && a.block != 128) return "block is " + std::to_string(a.block) + ", not 0 or 128";
  return "";
}

}  // namespace
}  // namespace g4

using namespace g4;

thread_local std::string g4::last_error;

int g4ops_layout_version(void) { return G4OPS_LAYOUT_VERSION; }

const char* g4ops_last_error(void) { return last_error.c_str(); }

const G4Kernels* g4ops_kernels(const char* name) {
  const Kernels* found = name ? find_kernels(name) : chosen_kernels();
  if (!found)
    last_error = name ? "g4ops_kernels: this machine or library has no \"" + std::string(name) + "\""
                      : std::string("g4ops_kernels: G4OPS_INSTRUCTION_SET names nothing that runs here");
  return reinterpret_cast<const G4Kernels*>(found);
}

const char* g4ops_kernels_name(const G4Kernels* kernels) { return own(kernels).name; }

G4Pool* g4ops_pool_create(int threads) {
  Pool* pool = nullptr;
  guarded("g4ops_pool_create", [&]() -> std::string {
    if (threads < 1 || threads > 1024) return "threads is " + std::to_string(threads) + ", not in 1..1024";
    pool = new Pool(threads);
    return "";
  });
  return reinterpret_cast<G4Pool*>(pool);
}

void g4ops_pool_destroy(G4Pool* pool) { delete reinterpret_cast<Pool*>(pool); }

size_t g4ops_activations_bytes(int64_t rows, int64_t columns, int64_t block) {
  const Activations shape{rows, columns, block};
  return problem(shape).empty() ? shape.bytes() : 0;
}

int g4ops_quantize(const G4Kernels* kernels, G4Pool* pool, const float* x, int64_t rows, int64_t columns,
                   int64_t block, void* packed, size_t packed_bytes) {
  return guarded("g4ops_quantize", [&] {
    const Activations shape{rows, columns, block};
    std::string wrong = problem(shape);
    if (!wrong.empty() || rows == 0) return wrong;
    wrong = size_problem("packed", packed, packed_bytes, static_cast<std::int64_t>(shape.bytes()), 4);
    if (wrong.empty()) quantize(own(kernels), own(pool), shape, x, packed);
    return wrong;
  });
}

int g4ops_product(const G4Kernels* kernels, G4Pool* pool, const G4Weights* weights, const void* packed,
                  size_t packed_bytes, int64_t rows, int64_t block, float* y) {
  return guarded("g4ops_product", [&] {
    Weights w;
    std::string wrong = checked(weights, w);
    if (!wrong.empty()) return wrong;
    const Activations shape{rows, w.format.K, block};
    wrong = problem(shape);
    if (!wrong.empty() || rows == 0) return wrong;
    wrong = size_problem("packed", packed, packed_bytes, static_cast<std::int64_t>(shape.bytes()), 4);
    if (wrong.empty()) product(own(kernels), own(pool), w, shape, packed, y);
    return wrong;
  });
}

int g4ops_product_float(const G4Kernels* kernels, G4Pool* pool, const G4Weights* weights, const float* x,
                        int64_t rows, float* y) {
  return guarded("g4ops_product_float", [&] {
    Weights w;
    std::string wrong = checked(weights, w);
    if (!wrong.empty()) return wrong;
    wrong = problem(Activations{rows, w.format.K, 0});
    if (wrong.empty() && rows > 0) product_float(own(kernels), own(pool), w, x, rows, y);
    return wrong;
  });
}

int g4ops_lookup(const G4Weights* weights, const int64_t* ids, int64_t count, float* y) {
  return guarded("g4ops_lookup", [&] {
    Weights w;
    std::string wrong = checked(weights, w);
    if (!wrong.empty()) return wrong;
    for (int64_t i = 0; i < count; ++i)
      if (ids[i] < 0 || ids[i] >= w.format.N)
        return "id " + std::to_string(ids[i]) + " is not in 0.." + std::to_string(w.format.N - 1);
    lookup(w, ids, count, y);
    return wrong;
  });
}

int g4ops_pack(int64_t bits, int64_t columns, int64_t rows, const uint8_t* codes, void* panels, size_t panels_bytes) {
  return guarded("g4ops_pack", [&] {
    const Format f{bits, 0, columns, rows};
    std::string wrong = problem(f);
    if (wrong.empty()) wrong = size_problem("panels", panels, panels_bytes, f.panels() * f.panel_bytes(), 1);
    if (!wrong.empty()) return wrong;
    for (int64_t i = 0; i < rows * columns; ++i)
      if (codes[i] >> bits) return "code " + std::to_string(codes[i]) + " has more than " + std::to_string(bits) + " bits";
    pack(f, codes, static_cast<std::uint8_t*>(panels));
    return wrong;
  });
}
