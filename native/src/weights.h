// Quantised weights [N, K] in panels, and the sizes of their arrays. LAYOUT.md is the text of this.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace g4 {

constexpr int kPanel = 32;              // channels in a panel; K is padded to a multiple of it too
constexpr std::int64_t kMaxK = 65536;   // int32 sums of 8-bit codes (and of 4-bit codes times 16) stay below 2^31
constexpr std::int64_t kMaxN = 1 << 24;

constexpr std::int64_t padded(std::int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

struct Format {
  std::int64_t bits = 0;   // 2, 4 or 8
  std::int64_t block = 0;  // weights of a row that share a scale: 32, 64, 128, or 0 for the whole row
  std::int64_t K = 0, N = 0;

  std::int64_t depth() const { return padded(K); }
  std::int64_t panels() const { return padded(N) / kPanel; }
  std::int64_t blocks() const { return block ? (depth() + block - 1) / block : 1; }
  std::int64_t panel_bytes() const { return depth() * kPanel * bits / 8; }
  std::int64_t scale_bytes() const { return block ? 2 : 4; }  // bfloat16 or float32
  int middle() const { return 1 << (bits - 1); }
};

// What is wrong with a format, or "".
std::string problem(const Format& format);

// A checked view: whoever makes one has compared the sizes of the arrays with the format.
struct Weights {
  Format format;
  const std::uint8_t* codes = nullptr;        // [panels][panel_bytes]
  const void* scales = nullptr;               // float32 [panels * 32] or bfloat16 [panels][blocks][32]
  const std::uint8_t* zero_points = nullptr;  // [panels][blocks][32]; null: the middle code
};

// Row ids of the weights as float32 [count][K]. Ids are below N.
void lookup(const Weights& weights, const std::int64_t* ids, std::int64_t count, float* y);

// Codes [N, K], one a byte and each below 2^bits, into panels.
void pack(const Format& format, const std::uint8_t* codes, std::uint8_t* panels);

}  // namespace g4
