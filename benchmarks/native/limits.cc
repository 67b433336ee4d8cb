// What this machine can do at most, as one JSON object: bytes a second of the best read loop, and operations a second of
// the 8-bit product that the chosen kernels use (0 where no such loop is written). Medians.
//
//   limits THREADS [MEGABYTES that are read: more than the caches, 512]
#include <cstdio>
#include <cstdlib>

#include "kernels.h"
#include "limits.h"
#include "pool.h"

using namespace g4;

namespace {

constexpr int kPasses = 6, kProducts = 600;  // about half a second each

}  // namespace

int main(int count, char** arguments) {
  const auto given = [&](int i, int otherwise) { return count > i ? std::atoi(arguments[i]) : otherwise; };
  const Kernels* kernels = chosen_kernels();
  if (!kernels) return std::fprintf(stderr, "G4OPS_INSTRUCTION_SET names nothing that runs here\n"), 2;
  const auto threads = static_cast<std::size_t>(std::max(1, given(1, 2)));
  const std::size_t bytes = static_cast<std::size_t>(std::max(1, given(2, 512))) << 20;
  Pool pool(static_cast<int>(threads));
  const Parallel parallel = pool.parallel();
  const std::vector<char> memory(bytes, 1);
  std::vector<double> reads[limits::kLoops], products;
  for (int pass = 0; pass < kPasses; ++pass)
    for (std::size_t kind = 0; kind < limits::kLoops; ++kind)
      reads[kind].push_back(limits::read_rate(parallel, memory.data(), bytes, limits::kAhead[kind]));
  for (int turn = 0; turn < kProducts; ++turn)
    products.push_back(limits::product_rate(parallel, threads, kernels->name));
  std::printf("{\"kernels\": \"%s\", \"threads\": %zu, \"read\": %.4g, \"int8\": %.4g}\n", kernels->name, threads,
              limits::best(reads), limits::median(products));
}
