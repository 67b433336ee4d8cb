#include "weights.h"

#include <cstring>

namespace g4 {
namespace {

// Where the code of a channel of a panel and an index of K stands: a byte of the panel and a shift in it.
struct Place {
  std::int64_t byte;
  int shift;
};

Place place(std::int64_t bits, std::int64_t channel, std::int64_t k) {
  const std::int64_t half = channel / 16, in_half = channel % 16, lane = k % 4;
  if (bits == 8) return {k / 4 * 128 + channel * 4 + lane, 0};
  if (bits == 4) return {k / 4 * 64 + in_half * 4 + lane, static_cast<int>(4 * half)};
  return {k / 8 * 64 + in_half * 4 + lane, static_cast<int>(4 * (k / 4 % 2) + 2 * half)};
}

float from_bfloat16(std::uint16_t value) {
  const std::uint32_t word = static_cast<std::uint32_t>(value) << 16;
  float number;
  std::memcpy(&number, &word, sizeof number);
  return number;
}

}  // namespace

std::string problem(const Format& f) {
  if (f.bits != 2 && f.bits != 4 && f.bits != 8) return "bits is " + std::to_string(f.bits) + ", not 2, 4 or 8";
  if (f.block != 0 && f.block != 32 && f.block != 64 && f.block != 128)
    return "block is " + std::to_string(f.block) + ", not 0, 32, 64 or 128";
  if (f.K < 1 || f.K > kMaxK) return "K is " + std::to_string(f.K) + ", not in 1.." + std::to_string(kMaxK);
  if (f.N < 1 || f.N > kMaxN) return "N is " + std::to_string(f.N) + ", not in 1.." + std::to_string(kMaxN);
  return "";
}

void lookup(const Weights& weights, const std::int64_t* ids, std::int64_t count, float* y) {
  const Format& f = weights.format;
  const int mask = (1 << f.bits) - 1;
  const std::int64_t block = f.block ? f.block : f.depth();
  for (std::int64_t i = 0; i < count; ++i, y += f.K) {
    const std::int64_t panel = ids[i] / kPanel, channel = ids[i] % kPanel;
    const std::uint8_t* codes = weights.codes + panel * f.panel_bytes();
    for (std::int64_t b = 0, k = 0; k < f.K; ++b) {
      const std::int64_t at = (panel * f.blocks() + b) * kPanel + channel;
      const float scale = f.block ? from_bfloat16(static_cast<const std::uint16_t*>(weights.scales)[at])
                                  : static_cast<const float*>(weights.scales)[at];
      const int zero = weights.zero_points ? weights.zero_points[at] : f.middle();
      for (const std::int64_t end = k + block < f.K ? k + block : f.K; k < end; ++k) {
        const Place p = place(f.bits, channel, k);
        y[k] = static_cast<float>((codes[p.byte] >> p.shift & mask) - zero) * scale;
      }
    }
  }
}

void pack(const Format& f, const std::uint8_t* codes, std::uint8_t* panels) {
  for (std::int64_t panel = 0; panel < f.panels(); ++panel, panels += f.panel_bytes()) {
    std::memset(panels, 0, static_cast<std::size_t>(f.panel_bytes()));
    for (std::int64_t channel = 0; channel < kPanel; ++channel)
      for (std::int64_t k = 0, n = panel * kPanel + channel; k < f.depth(); ++k) {
        const int code = n < f.N && k < f.K ? codes[n * f.K + k] : f.middle();
        const Place p = place(f.bits, channel, k);
        panels[p.byte] = static_cast<std::uint8_t>(panels[p.byte] | code << p.shift);
      }
  }
}

}  // namespace g4
