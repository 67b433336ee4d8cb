// Attention in decode, and the experts of a layer, beside the read rate of the machine in the same run. Prints a JSON
// object a line: `ms` is a median, `share` that of the bytes that have to be read over the best read loop.
//
//   layers THREADS REPEATS
//
// Attention: 8 heads of queries on one head of keys; caches in turn, more than the caches of the processor hold.
// Experts: the sizes of 26B-A4B, int4 in blocks of 128, other experts at each turn; the router is not in it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "attention.h"
#include "experts.h"
#include "limits.h"
#include "pool.h"

using namespace g4;

namespace {

struct Bench {
  const Kernels& kernels;
  int threads, repeats;
  Pool pool;
  std::vector<std::uint8_t> memory;

  Bench(const Kernels& k, int t, int r) : kernels(k), threads(t), repeats(r), pool(t), memory(std::size_t{512} << 20) {
    std::uint32_t state = 1;
    for (std::size_t i = 0; i < memory.size(); i += 4) {  // numbers of 0.5..2 in float32 and bfloat16, any codes
      state = state * 1664525 + 1013904223;
      const std::uint32_t word = (state & 0x807f807f) | 0x3f803f80;
      std::memcpy(&memory[i], &word, 4);
    }
  }

  // The median of `body`, and the best read rate around it.
  void run(const char* name, const std::function<void(std::size_t)>& body, std::size_t bytes) {
    const std::size_t span = std::clamp<std::size_t>(bytes >> 20, 8, 128) << 20;
    std::vector<double> found, rates[limits::kLoops];
    for (int i = 0; i < repeats; ++i) {
      const auto turn = static_cast<std::size_t>(i);
      const std::size_t at = turn * 37 % ((memory.size() - span) >> 20) << 20;
      const char* from = reinterpret_cast<const char*>(&memory[at]);
      const std::size_t kind = turn % limits::kLoops;
      rates[kind].push_back(limits::read_rate(pool.parallel(), from, span, limits::kAhead[kind]));
      const double start = limits::now();
      body(turn);
      found.push_back(limits::now() - start);
    }
    const double best = limits::best(rates), seconds = limits::median(found);
    std::printf("{\"kernels\": \"%s\", \"threads\": %d, \"what\": \"%s\", ", kernels.name, threads, name);
    std::printf("\"ms\": %.4f, \"MB\": %.2f, \"read\": %.2f, \"share\": %.3f}\n", seconds * 1e3,
                static_cast<double>(bytes) / 1e6, best / 1e9, static_cast<double>(bytes) / best / seconds);
    std::fflush(stdout);
  }

  void attend(std::int64_t tokens, std::int64_t D, CacheType type, const char* type_name) {
    const AttentionShape shape{{1, 1, tokens, D, type, false}, 8, 1, 0, 1.0f / 64};
    const auto one = static_cast<std::size_t>(tokens * D * cache_bytes(type)), places = memory.size() / (2 * one);
    const std::vector<float> query(static_cast<std::size_t>(8 * D), 0.25f);
    const std::vector<float> scales(static_cast<std::size_t>(tokens), 0.01f);
    std::vector<float> y(query.size());
    const std::int64_t position = tokens - 1;
    char name[80];
    std::snprintf(name, sizeof name, "attention %s D=%d %d tokens", type_name, static_cast<int>(D),
                  static_cast<int>(tokens));
    run(name, [&](std::size_t turn) {
      const std::uint8_t* at = &memory[turn * 7 % places * 2 * one];
      const float* of = type == kInt8 ? scales.data() : nullptr;
      attention(*kernels.floats, pool.parallel(), shape, query.data(), {&position}, {at, of}, {at + one, of}, y.data());
    }, 2 * one + (type == kInt8 ? static_cast<std::size_t>(8 * tokens) : 0));
  }

  void experts(std::int64_t tokens, bool exact) {
    constexpr std::int64_t count = 128, H = 2816, I = 704, each = 8;
    Experts all;
    all.count = count;
    all.exact = exact;
    all.gate_up.format = {4, 128, H, 2 * I};
    all.down.format = {4, 128, I, H};
    std::size_t used = 0, bytes = 0;
    std::vector<std::uint16_t> scales[2];
    for (Weights* w : {&all.gate_up, &all.down}) {
      const Format& f = w->format;
      w->codes = &memory[used];
      used += static_cast<std::size_t>(count * f.panels() * f.panel_bytes());
      const std::int64_t numbers = f.panels() * f.blocks() * kPanel;
      auto& own = scales[w == &all.down];
      own.assign(static_cast<std::size_t>(count * numbers), 0x3c23);  // about 0.01
      w->scales = own.data();
      bytes += static_cast<std::size_t>(f.panels() * f.panel_bytes() + 2 * numbers);
    }
    const auto rows = static_cast<std::size_t>(tokens);
    std::vector<float> x(rows * H, 0.01f), y(x.size()), weight(rows * each, 0.125f);
    std::vector<std::int64_t> index(rows * each);
    const auto choose = [&](std::size_t turn) {
      for (std::size_t i = 0; i < index.size(); ++i)
        index[i] = static_cast<std::int64_t>((turn * 61 + i * 13 + i / each * 5) % count);
    };
    choose(0);
    std::vector<std::int64_t> different = index;
    std::sort(different.begin(), different.end());
    const auto hit = std::unique(different.begin(), different.end()) - different.begin();
    char name[80];
    std::snprintf(name, sizeof name, "experts %s %d tokens, %d experts hit", exact ? "exact" : "int8",
                  static_cast<int>(tokens), static_cast<int>(hit));
    run(name, [&](std::size_t turn) {
      choose(turn);
      run_experts(kernels, pool.parallel(), all, x.data(), {tokens, each, index.data(), weight.data()}, y.data());
    }, static_cast<std::size_t>(hit) * bytes);
  }
};

}  // namespace

int main(int count, char** arguments) {
  const Kernels* kernels = chosen_kernels();
  if (!kernels) return std::fprintf(stderr, "G4OPS_INSTRUCTION_SET names nothing that runs here\n"), 2;
  const auto given = [&](int i, int otherwise) { return count > i ? std::max(1, std::atoi(arguments[i])) : otherwise; };
  Bench bench(*kernels, given(1, 2), given(2, 40));
  constexpr const char* kNames[] = {"float32", "bfloat16", "int8"};
  for (const CacheType type : {kFloat32, kBfloat16, kInt8}) {
    bench.attend(16384, 512, type, kNames[type]);
    bench.attend(512, 256, type, kNames[type]);
  }
  bench.experts(1, false);
  bench.experts(128, false);
  bench.experts(1, true);
}
