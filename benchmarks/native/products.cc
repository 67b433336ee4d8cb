// The kernels alone, beside what the machine can do at most, in one run: each product stands between two runs of a
// limit. Prints a JSON object a line. One to eight rows count bytes of codes and scales, more rows count operations.
//
//   products THREADS REPEATS [MEGABYTES of weights: more than the caches, 512]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "activations.h"
#include "limits.h"
#include "pool.h"
#include "products.h"

using namespace g4;

namespace {

struct Bench {
  const Kernels& kernels;
  std::size_t threads;
  int repeats;
  Pool pool;
  std::vector<std::uint8_t> memory;
  std::vector<float> x, y;

  Bench(const Kernels& k, std::size_t t, int r, std::size_t bytes)
      : kernels(k), threads(t), repeats(r), pool(static_cast<int>(t)), memory(bytes), x(512 * 12288) {
    std::uint32_t state = 1;
    for (std::size_t i = 0; i + 4 <= bytes; i += 4) {
      state = state * 1664525 + 1013904223;
      std::memcpy(&memory[i], &state, 4);
    }
    for (float& value : x) {
      state = state * 1664525 + 1013904223;
      value = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
    }
  }

  void run(std::int64_t rows, std::int64_t K, std::int64_t N, std::int64_t bits, std::int64_t block, bool exact);
};

void Bench::run(std::int64_t rows, std::int64_t K, std::int64_t N, std::int64_t bits, std::int64_t block, bool exact) {
  const Format f{bits, block, K, N};
  const auto codes = static_cast<std::size_t>(f.panels() * f.panel_bytes());
  const auto scales = static_cast<std::size_t>(f.panels() * f.blocks() * kPanel * f.scale_bytes());
  const std::size_t bytes = (codes + scales + 4095) / 4096 * 4096, copies = memory.size() / bytes;
  const Activations shape{rows, K, 0};
  std::vector<std::uint32_t> packed(shape.bytes() / 4);
  const Parallel parallel = pool.parallel();
  quantize(kernels, parallel, shape, x.data(), packed.data());
  y.resize(static_cast<std::size_t>(rows * N));

  // Numbers of an ordinary size: some processors compute a hundred times slower below the normal numbers.
  for (std::size_t copy = 0; copy < copies; ++copy) {
    std::uint8_t* const to = &memory[copy * bytes + codes];
    constexpr float ordinary = 0.0078125f;
    std::uint8_t word[4];
    std::memcpy(word, &ordinary, 4);
    const std::size_t size = block ? 2 : 4;  // bfloat16 is the upper half of the word
    for (std::size_t i = 0; i < scales; ++i) to[i] = word[4 - size + i % size];
  }

  const bool few = rows <= 8;
  const std::size_t span = std::min<std::size_t>(std::max<std::size_t>(bytes, 8 << 20), 64 << 20) >> 20 << 20;
  std::vector<double> found, rates[limits::kLoops];
  int turn = 0;
  const auto limit = [&] {
    const std::size_t kind = few ? static_cast<std::size_t>(turn) % limits::kLoops : 0;
    const std::size_t places = (memory.size() - span) >> 20;
    const std::size_t at = static_cast<std::size_t>(turn) * 97 % (places ? places : 1) << 20;
    const char* from = reinterpret_cast<const char*>(&memory[at]);
    rates[kind].push_back(few ? limits::read_rate(parallel, from, span, limits::kAhead[kind])
                              : limits::product_rate(parallel, threads, kernels.name));
    ++turn;
  };
  limit();
  for (int i = 0; i < repeats; ++i) {
    const std::uint8_t* at = &memory[static_cast<std::size_t>(i) * 7 % copies * bytes];
    const Weights weights{f, at, at + codes, nullptr};
    const double start = limits::now();
    if (exact)
      product_float(kernels, parallel, weights, x.data(), rows, y.data());
    else
      product(kernels, parallel, weights, shape, packed.data(), y.data());
    const double seconds = limits::now() - start;
    const double operations = 2.0 * static_cast<double>(rows * K) * static_cast<double>(N);
    const double work = few ? static_cast<double>(codes + scales) : operations;
    found.push_back(work / seconds);
    limit();
  }
  const double best = limits::best(rates), rate = limits::median(found);
  std::printf(
      "{\"kernels\": \"%s\", \"threads\": %zu, \"rows\": %ld, \"K\": %ld, \"N\": %ld, \"bits\": %ld, \"block\": %ld, "
      "\"activations\": \"%s\", \"unit\": \"%s\", \"rate\": %.2f, \"limit\": %.2f, \"share\": %.3f}\n",
      kernels.name, threads, static_cast<long>(rows), static_cast<long>(K), static_cast<long>(N),
      static_cast<long>(bits), static_cast<long>(block), exact ? "float32" : "int8", few ? "GB/s" : "GOP/s", rate / 1e9,
      best / 1e9, best > 0 ? rate / best : 0.0);
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  const auto given = [&](int i, int otherwise) { return count > i ? std::atoi(arguments[i]) : otherwise; };
  const Kernels* kernels = chosen_kernels();
  if (!kernels) return std::fprintf(stderr, "G4OPS_INSTRUCTION_SET names nothing that runs here\n"), 2;
  Bench bench(*kernels, static_cast<std::size_t>(std::max(1, given(1, 2))), std::max(1, given(2, 20)),
              static_cast<std::size_t>(std::max(128, given(3, 512))) << 20);
  constexpr int kFormats[][2] = {{4, 0}, {4, 32}, {4, 128}, {2, 0}, {8, 0}};
  constexpr int kSizes[][2] = {{1536, 12288}, {6144, 1536}, {1536, 65536}};
  for (const auto& [bits, block] : kFormats)
    for (const auto& [K, N] : kSizes) bench.run(1, K, N, bits, block, false);
  for (const int rows : {2, 4, 8}) bench.run(rows, 1536, 12288, 4, 0, false);
  bench.run(1, 1536, 12288, 4, 0, true);
  for (const int rows : {512, 128})
    for (const auto& [bits, block] : kFormats)
      for (int size = 0; size < 2; ++size) bench.run(rows, kSizes[size][0], kSizes[size][1], bits, block, false);
  bench.run(128, 1536, 12288, 4, 0, true);
}
