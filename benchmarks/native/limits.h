// What a machine can do at most: bytes read, and 8-bit products, a second. Each loop runs on all threads of a pool.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "parallel.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace limits {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

inline volatile std::uint64_t sink;

// Which loop reads fastest changes with the machine: the best of these, by how many bytes each prefetches.
inline constexpr std::size_t kAhead[] = {0, 512, 2048, 4096};
constexpr std::size_t kLoops = 4;

// The best of the loops: the largest median.
inline double best(const std::vector<double> (&rates)[kLoops]) {
  double found = 0;
  for (const auto& values : rates) found = std::max(found, median(values));
  return found;
}

// Reads bytes of a slice, `ahead` of them prefetched (0: none).
#if defined(__x86_64__)
__attribute__((target("avx2"))) inline void read(const char* from, std::size_t bytes, std::size_t ahead) {
  __m256i sums[4] = {};
  for (std::size_t i = 0; i + 256 <= bytes; i += 256) {
    if (ahead)
      for (std::size_t line = 0; line < 256; line += 64) _mm_prefetch(from + i + ahead + line, _MM_HINT_T0);
    for (int part = 0; part < 8; ++part)
      sums[part % 4] = _mm256_add_epi64(
          sums[part % 4], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + 32 * part)));
  }
  const __m256i sum = _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  sink = sink + static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 0));
}
#else
inline void read(const char* from, std::size_t bytes, std::size_t ahead) {
  std::uint64_t sums[8] = {};
  for (std::size_t i = 0; i + 64 <= bytes; i += 64) {
    std::uint64_t words[8];
    std::memcpy(words, from + i, 64);
    if (ahead) __builtin_prefetch(from + i + ahead);
    for (int word = 0; word < 8; ++word) sums[word] += words[word];
  }
  for (const std::uint64_t sum : sums) sink = sink + sum;
}
#endif

// Bytes a second of one pass over `bytes`, in pieces of 1 MiB.
inline double read_rate(const g4::Parallel& parallel, const char* from, std::size_t bytes, std::size_t ahead) {
  constexpr std::size_t kPiece = 1 << 20;
  const double start = now();
  auto piece = [&](std::size_t i) { read(from + i * kPiece, kPiece, ahead); };
  parallel.each(bytes / kPiece, piece);
  return static_cast<double>(bytes / kPiece * kPiece) / (now() - start);
}

constexpr int kRounds = 20000;

#if defined(__x86_64__)
#define G4_TWELVE(X) X("0") X("1") X("2") X("3") X("4") X("5") X("6") X("7") X("8") X("9") X("10") X("11")
#define G4_CLOBBERED                                                                                              \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13", "xmm14", "cc"

// 12 independent vpdpbusd of 64 bytes a round: 12 * 128 operations.
__attribute__((target("avx512f"))) inline double dot_operations() {
  long rounds = kRounds;
#define X(i) "vpdpbusd %%zmm13, %%zmm12, %%zmm" i "\n\t"
  asm volatile("vpxord %%zmm12, %%zmm12, %%zmm12\n\tvpxord %%zmm13, %%zmm13, %%zmm13\n\t.p2align 6\n"
               "1:\n\t" G4_TWELVE(X) "dec %0\n\tjnz 1b"
               : "+r"(rounds)::G4_CLOBBERED);
#undef X
  return 12.0 * 128 * kRounds;
}

// 12 independent pairs of vpmaddubsw and vpaddw of 32 bytes a round: 12 * 64 operations.
__attribute__((target("avx2"))) inline double pair_operations() {
  long rounds = kRounds;
#define X(i) "vpmaddubsw %%ymm13, %%ymm12, %%ymm14\n\tvpaddw %%ymm14, %%ymm" i ", %%ymm" i "\n\t"
  asm volatile("vpxor %%ymm12, %%ymm12, %%ymm12\n\tvpxor %%ymm13, %%ymm13, %%ymm13\n\t.p2align 6\n"
               "1:\n\t" G4_TWELVE(X) "dec %0\n\tjnz 1b"
               : "+r"(rounds)::G4_CLOBBERED);
#undef X
  return 12.0 * 64 * kRounds;
}
#endif

// Operations a second of the 8-bit product that `kernels` use; 0 where no such loop is written.
inline double product_rate(const g4::Parallel& parallel, std::size_t threads, const char* kernels) {
  double operations = 0;
#if defined(__x86_64__)
  const bool dot = std::strcmp(kernels, "avx512vnni") == 0;
  if (!dot && std::strcmp(kernels, "avx2") != 0) return 0;
  const double start = now();
  double each = 0;
  auto loop = [&](std::size_t i) {
    const double done = dot ? dot_operations() : pair_operations();
    if (i == 0) each = done;
  };
  const std::size_t tasks = threads * 4;
  parallel.each(tasks, loop);
  operations = each * static_cast<double>(tasks) / (now() - start);
#else
  (void)parallel, (void)threads, (void)kernels;
#endif
  return operations;
}

}  // namespace limits
