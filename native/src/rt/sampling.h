// The next token of logits, as docs/sampling.md states it: equal to Python's with the same settings and seed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "g4rt.h"

namespace g4::rt {

// The number `draw` of `seed`: at least 0 and below 1.
double uniform(std::uint64_t seed, std::uint64_t draw);
// e to the power of x, at most 0, with the same bits on all machines.
double power_of_e(double x);

class Sampler {
 public:
  // Null is greedy. Throws Failure G4RT_BAD_ARGUMENT for settings out of range.
  explicit Sampler(const g4rt_sampling* settings);
  // Throws Failure G4RT_BAD_BUNDLE where the greatest logit is not finite, or any is no number.
  std::int32_t choose(const float* logits, std::size_t count);

 private:
  double temperature_ = 0, top_p_ = 1;
  std::size_t top_k_ = 0;
  std::uint64_t seed_ = 0, draws_ = 0;
  std::vector<std::pair<float, std::int32_t>> likeliest_;
  std::vector<double> sums_;
};

}  // namespace g4::rt
