// Compares the kernels of every instruction set of this machine with plain loops, bit by bit, through the C entry
// points; then feeds them wrong sizes. For sanitizers, and for machines without Python: it runs under an emulator too.
// The first line says which kernels run here, the second which of them are chosen; the last one holds a hash of all
// results, which is the same on every machine. `driver quick`: fewer cases.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "g4ops.h"
#include "plain.h"

using namespace g4::test;

namespace {

int failures = 0;
std::uint64_t hash = 14695981039346656037u;

void fail(const char* what, const Case& c, const char* kernels) {
  if (++failures > 20) return;
  std::printf("WRONG %s: %s bits %d block %d activation block %d rows %d K %d N %d zero points %d extreme %d\n", what,
              kernels, c.bits, c.block, c.activation_block, c.rows, c.K, c.N, c.zero_points, c.extreme);
}

void compare(const std::vector<float>& found, const std::vector<float>& expected, const char* what, const Case& c,
             const char* kernels) {
  if (std::memcmp(found.data(), expected.data(), found.size() * 4) != 0) fail(what, c, kernels);
}

void add_to_hash(const std::vector<float>& values) {
  for (const float value : values) {
    std::uint32_t word;
    std::memcpy(&word, &value, 4);
    hash = (hash ^ word) * 1099511628211u;
  }
}

struct Stored {
  std::vector<std::uint8_t> panels;
  G4Weights weights;
};

void store(const Matrix& m, Stored& to) {
  const std::size_t depth = static_cast<std::size_t>(m.K + 31) / 32 * 32;
  to.panels.resize(static_cast<std::size_t>(m.N + 31) / 32 * depth * 4 * static_cast<std::size_t>(m.bits));
  g4ops_pack(m.bits, m.K, m.N, m.codes.data(), to.panels.data(), to.panels.size());
  to.weights = {m.bits, m.block, m.K, m.N, to.panels.data(), to.panels.size(), nullptr, 0, nullptr, m.zeros.size()};
  to.weights.scales = m.block ? static_cast<const void*>(m.block_scales.data()) : m.scales.data();
  to.weights.scales_bytes = m.block ? m.block_scales.size() * 2 : m.scales.size() * 4;
  if (!m.zeros.empty()) to.weights.zero_points = m.zeros.data();
}

void run(const Case& c, Random& random, const std::vector<const G4Kernels*>& all, const std::vector<G4Pool*>& pools) {
  const Matrix m(c, random);
  Stored stored;
  store(m, stored);
  const auto rows = static_cast<std::size_t>(c.rows), K = static_cast<std::size_t>(c.K),
             N = static_cast<std::size_t>(c.N);
  std::vector<float> x(rows * K), expected(rows * N), exact(rows * N), y(rows * N), scales;
  for (float& value : x) value = c.extreme ? (random.below(8) ? 3.0f : -3.0f) : random.number();
  if (c.extreme)
    for (std::size_t i = 0; i < K; ++i) x[i] = i % 2 ? 1e-38f : 0.0f;  // a row that counts as zero
  std::vector<int> q;
  for (std::size_t r = 0; r < rows; ++r) {
    quantize(&x[r * K], c.K, c.activation_block, q, scales);
    for (int n = 0; n < c.N; ++n) {
      expected[r * N + static_cast<std::size_t>(n)] = product(m, n, q, scales, c.activation_block);
      exact[r * N + static_cast<std::size_t>(n)] = product_float(m, n, &x[r * K]);
    }
  }
  add_to_hash(expected);
  add_to_hash(exact);
  const std::size_t bytes = g4ops_activations_bytes(c.rows, c.K, c.activation_block);
  std::vector<std::uint32_t> packed(bytes / 4);
  for (const G4Kernels* kernels : all)
    for (G4Pool* pool : pools) {
      const char* name = g4ops_kernels_name(kernels);
      if (g4ops_quantize(kernels, pool, x.data(), c.rows, c.K, c.activation_block, packed.data(), bytes) ||
          g4ops_product(kernels, pool, &stored.weights, packed.data(), bytes, c.rows, c.activation_block, y.data()))
        fail(g4ops_last_error(), c, name);
      compare(y, expected, "product", c, name);
      if (g4ops_product_float(kernels, pool, &stored.weights, x.data(), c.rows, y.data()))
        fail(g4ops_last_error(), c, name);
      compare(y, exact, "float product", c, name);
    }
  std::vector<float> row(K), level(K);
  const std::int64_t id = random.below(c.N);
  if (g4ops_lookup(&stored.weights, &id, 1, row.data())) fail(g4ops_last_error(), c, "lookup");
  for (int k = 0; k < c.K; ++k)
    level[static_cast<std::size_t>(k)] = static_cast<float>(m.level(static_cast<int>(id), k)) *
                                         m.scale(static_cast<int>(id), c.block ? k / c.block : 0);
  compare(row, level, "lookup", c, "lookup");
}

// Wrong sizes are refused, whatever they are; the arrays have exactly the bytes that are stated.
void wrong_sizes(Random& random, const G4Kernels* kernels) {
  for (int i = 0; i < 2000; ++i) {
    const auto some = [&] { return static_cast<std::size_t>(random.below(3000)); };
    std::vector<std::uint8_t> codes(some()), scales(some()), zeros(random.below(2) ? some() : 0);
    const int widths[] = {2, 4, 8, 3}, blocks[] = {0, 32, 64, 128, 16};
    const std::int64_t K = random.below(100) - 1, N = random.below(70) - 1, rows = random.below(4);
    const G4Weights weights = {widths[random.below(4)], blocks[random.below(5)], K, N, codes.data(), codes.size(),
                               scales.data(), scales.size(), zeros.empty() ? nullptr : zeros.data(), zeros.size()};
    std::vector<std::uint32_t> packed(some() / 4);
    std::vector<float> y(4 * 70), x(4 * 100);
    const std::int64_t id = random.below(80) - 5;
    g4ops_product(kernels, nullptr, &weights, packed.data(), packed.size() * 4, rows, random.below(2) * 128, y.data());
    g4ops_product_float(kernels, nullptr, &weights, x.data(), rows, y.data());
    std::vector<float> row(100);
    g4ops_lookup(&weights, &id, 1, row.data());
    g4ops_quantize(kernels, nullptr, x.data(), rows, K, random.below(2) * 128, packed.data(), packed.size() * 4);
  }
}

// Two callers share a pool, and weights that only they read.
void two_callers(Random& random, const G4Kernels* kernels, G4Pool* pool) {
  const Case c{4, 32, 0, 13, 200, 300, true, false};
  const Matrix m(c, random);
  Stored stored;
  store(m, stored);
  std::vector<float> x(13 * 200, 0.5f), results[2];
  const std::size_t bytes = g4ops_activations_bytes(13, 200, 0);
  std::vector<std::uint32_t> packed(bytes / 4);
  g4ops_quantize(kernels, pool, x.data(), 13, 200, 0, packed.data(), bytes);
  const auto call = [&](std::vector<float>& y) {
    y.resize(13 * 300);
    for (int i = 0; i < 20; ++i) g4ops_product(kernels, pool, &stored.weights, packed.data(), bytes, 13, 0, y.data());
  };
  std::thread other(call, std::ref(results[0]));
  call(results[1]);
  other.join();
  compare(results[0], results[1], "two callers", c, g4ops_kernels_name(kernels));
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && std::string(arguments[1]) == "quick";
  std::vector<const G4Kernels*> all;
  for (const char* name : {"scalar", "avx2", "avx512vnni", "neon_dotprod", "neon_i8mm"})
    if (const G4Kernels* kernels = g4ops_kernels(name)) all.push_back(kernels), std::printf("%s ", name);
  const G4Kernels* chosen = g4ops_kernels(nullptr);
  std::printf("\nchosen %s\n", chosen ? g4ops_kernels_name(chosen) : g4ops_last_error());
  std::vector<G4Pool*> pools = {nullptr, g4ops_pool_create(3)};
  Random random{88172645463325252u};
  int cases = 0;
  const int rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 25, 49}, K[] = {1, 31, 32, 100, 160, 416, 1000};
  for (const int bits : {2, 4, 8})
    for (const int block : {0, 32, 64, 128})
      for (const int activation_block : {0, 128})
        for (const bool zeros : {false, true})
          for (const bool extreme : {false, true})
            for (int i = 0; i < (quick ? 1 : 6); ++i, ++cases)
              run({bits, block, activation_block, rows[random.below(13)], K[random.below(7)], 1 + random.below(100),
                   zeros, extreme},
                  random, all, pools);
  for (const int bits : {2, 4, 8})  // kernels have forms for numbers of rows: all that a tile can have
    for (const int block : {0, 64})
      for (const int activation_block : {0, 128})
        for (int r = 1; r <= 12; ++r, ++cases)
          run({bits, block, activation_block, r, 160, 40, block != 0, false}, random, all, pools);
  if (!quick)  // the largest K: sums stay within 32 bits
    for (const int bits : {2, 4, 8}) run({bits, 0, 0, 2, 65536, 33, false, true}, random, all, pools), ++cases;
  wrong_sizes(random, all.back());
  two_callers(random, all.back(), pools[1]);
  g4ops_pool_destroy(pools[1]);
  std::printf("%d cases, %d wrong\nhash %016llx\n", cases, failures, static_cast<unsigned long long>(hash));
  return failures != 0;
}
