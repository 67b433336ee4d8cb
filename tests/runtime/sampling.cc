// Sampling as docs/sampling.md states it, written from that page alone: the test compares its tokens with the runtime's.
// Arguments: temperature, top_k, top_p, seed, number of draws. Standard input: float32 logits.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

static double uniform(uint64_t seed, uint64_t draw) {
  uint32_t c[4] = {uint32_t(draw), uint32_t(draw >> 32), 0, 0};
  uint32_t k[2] = {uint32_t(seed), uint32_t(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    uint64_t first = 0xD2511F53ull * c[0], second = 0xCD9E8D57ull * c[2];
    uint32_t next[4] = {uint32_t(second >> 32) ^ c[1] ^ k[0], uint32_t(second),
                        uint32_t(first >> 32) ^ c[3] ^ k[1], uint32_t(first)};
    std::copy(next, next + 4, c);
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return double((uint64_t(c[1]) << 32 | c[0]) >> 11) * 0x1p-53;
}

static double power_of_e(double x) {
  if (x < -700.0) return 0.0;
  double n = std::floor(x * 0x1.71547652b82fep+0 + 0.5);
  double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  double inverse[14] = {1.0};
  for (double i = 1, factorial = 1; i < 14; ++i) inverse[int(i)] = 1.0 / (factorial *= i);
  double p = inverse[13];
  for (int i = 12; i >= 0; --i) p = p * r + inverse[i];
  return std::ldexp(p, int(n));
}

int main(int, char** arguments) {
  double temperature = atof(arguments[1]), top_p = atof(arguments[3]);
  size_t top_k = strtoull(arguments[2], nullptr, 10), draws = strtoull(arguments[5], nullptr, 10);
  uint64_t seed = strtoull(arguments[4], nullptr, 10);
  std::vector<float> logits;
  for (float one; fread(&one, sizeof one, 1, stdin) == 1;) logits.push_back(one);
  std::vector<int> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  std::stable_sort(tokens.begin(), tokens.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  if (top_k && top_k < tokens.size()) tokens.resize(top_k);
  std::vector<double> sums;
  double sum = 0;
  for (int token : tokens) {
    sum += power_of_e((double(logits[token]) - double(logits[tokens[0]])) / temperature);
    sums.push_back(sum);
  }
  size_t kept = 0;
  while (sums[kept] < top_p * sum) ++kept;
  for (size_t draw = 0; draw < draws; ++draw) {
    double point = uniform(seed, draw) * sums[kept];
    size_t place = 0;
    while (sums[place] <= point) ++place;
    printf("%d\n", tokens[place]);
  }
}
