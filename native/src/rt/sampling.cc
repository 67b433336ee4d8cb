#include "sampling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "failure.h"
#include "files.h"

namespace g4::rt {
namespace {

void check_settings(const g4rt_sampling& given) {
  const auto refuse = [](const char* what, const char* range) {
    fail(G4RT_BAD_ARGUMENT, std::string(what) + " must be " + range);
  };
  if (given.temperature != 0 && !(given.temperature >= 0.00001 && std::isfinite(given.temperature)))
    refuse("temperature", "0, or a number of at least 0.00001");
  if (given.top_k < 0) refuse("top_k", "0 or more");
  if (given.top_p != 0 && !(given.top_p >= 0.000000001 && given.top_p <= 1)) refuse("top_p", "from 0.000000001 to 1, or 0 for 1");
}

// Falling logits; of equal ones the lower token first. -0 equals 0.
bool likelier(const std::pair<float, std::int32_t>& a, const std::pair<float, std::int32_t>& b) {
  return a.first > b.first || (a.first == b.first && a.second < b.second);
}

}  // namespace

double uniform(std::uint64_t seed, std::uint64_t draw) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  std::array<std::uint32_t, 4> c{low(draw), high(draw), 0, 0};
  std::uint32_t k0 = low(seed), k1 = high(seed);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0], b = std::uint64_t{0xCD9E8D57} * c[2];
    c = {high(b) ^ c[1] ^ k0, low(b), high(a) ^ c[3] ^ k1, low(a)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return static_cast<double>((std::uint64_t{c[1]} << 32 | c[0]) >> 11) * 0x1p-53;
}

double power_of_e(double x) {
  static constexpr std::array<double, 14> kInverse = [] {
    std::array<double, 14> inverse{1};
    double factorial = 1;
    for (int i = 1; i < 14; ++i) inverse[i] = 1 / (factorial *= i);
    return inverse;
  }();
  if (x < -700) return 0;
  const double n = std::floor(x * 0x1.71547652b82fep+0 + 0.5);
  const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  double p = kInverse[13];
  for (int i = 12; i >= 0; --i) {
    p *= r;  // two roundings: no fused multiply and add
    p += kInverse[i];
  }
  return std::ldexp(p, static_cast<int>(n));
}

Sampler::Sampler(const g4rt_sampling* settings) {
  if (!settings) return;
  check_settings(*settings);
  temperature_ = settings->temperature;
  top_p_ = settings->top_p == 0 ? 1 : settings->top_p;
  top_k_ = static_cast<std::size_t>(settings->top_k);
  seed_ = settings->seeded ? settings->seed : temperature_ == 0 ? 0 : random_bits();
}

std::int32_t Sampler::choose(const float* logits, std::size_t count) {
  if (!count) fail(G4RT_BAD_ARGUMENT, "there are no logits");
  std::size_t best = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::isnan(logits[i])) best = i;
    if (std::isnan(logits[best])) break;
    if (logits[i] > logits[best]) best = i;
  }
  if (!std::isfinite(logits[best]))
    fail(G4RT_BAD_BUNDLE, "the greatest logit is not finite, so no token can be chosen: a weight was damaged");
  if (temperature_ == 0) return static_cast<std::int32_t>(best);
  likeliest_.resize(count);
  for (std::size_t i = 0; i < count; ++i) likeliest_[i] = {logits[i], static_cast<std::int32_t>(i)};
  const std::size_t kept = top_k_ ? std::min(top_k_, count) : count;
  const auto behind = likeliest_.begin() + static_cast<std::ptrdiff_t>(kept);
  if (kept < count) std::nth_element(likeliest_.begin(), behind, likeliest_.end(), likelier);
  std::sort(likeliest_.begin(), behind, likelier);
  sums_.clear();
  double sum = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    sum += power_of_e((static_cast<double>(likeliest_[i].first) - static_cast<double>(likeliest_[0].first)) / temperature_);
    sums_.push_back(sum);
  }
  const auto last = std::lower_bound(sums_.begin(), sums_.end(), top_p_ * sum);  // first that is at least so much
  const double point = uniform(seed_, draws_++) * *last;
  const auto place = std::upper_bound(sums_.begin(), sums_.end(), point);
  return likeliest_[static_cast<std::size_t>(place - sums_.begin())].second;
}

}  // namespace g4::rt
