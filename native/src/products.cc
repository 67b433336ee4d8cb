#include "products.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace g4 {
namespace {

constexpr std::int64_t kFewRows = 8;
// Bytes of panels in a task. Few rows read each panel once: long tasks keep the memory busy. Many rows read it once a
// tile, so the panels of a task stay in the L2 cache.
constexpr std::int64_t kFewRowsTask = 2 << 20, kManyRowsTask = 256 << 10;
constexpr std::int64_t kTasks = 16;  // at least, where there are enough panels: threads end at about the same time

template <class Number>
constexpr std::array<Number, kPanel> filled(Number value) {
  std::array<Number, kPanel> all{};
  for (Number& one : all) one = value;
  return all;
}
constexpr auto kMiddle2 = filled<std::uint8_t>(2);
constexpr auto kMiddle4 = filled<std::uint8_t>(8);
constexpr auto kMiddle8 = filled<std::uint8_t>(128);
constexpr auto kOnes = filled<std::uint16_t>(0x3f80);  // bfloat16

const std::uint8_t* middle(std::int64_t bits) {
  return bits == 2 ? kMiddle2.data() : bits == 4 ? kMiddle4.data() : kMiddle8.data();
}

// The arrays of a panel, in the words of both kinds of job.
template <class Job>
void set_panel(const Weights& w, std::int64_t panel, Job& job) {
  const Format& f = w.format;
  const std::int64_t blocks = panel * f.blocks() * kPanel;
  job.codes = w.codes + panel * f.panel_bytes();
  job.channel_scales = f.block ? nullptr : static_cast<const float*>(w.scales) + blocks;
  job.block_scales = f.block ? static_cast<const std::uint16_t*>(w.scales) + blocks : nullptr;
  job.zeros = w.zero_points ? w.zero_points + blocks : middle(f.bits);
  job.zeros_step = w.zero_points && f.block ? kPanel : 0;
}

// Runs `kernel` for rows first.. of a panel, through `edge` where the panel is wider than what is left of N.
template <class Job>
void run_panel(void (*kernel)(const Job&), Job& job, const Format& f, std::int64_t panel, std::int64_t first, float* y,
               float* edge) {
  const std::int64_t channel = panel * kPanel, width = std::min<std::int64_t>(kPanel, f.N - channel);
  float* to = y + first * f.N + channel;
  job.y = width == kPanel ? to : edge;
  job.y_step = width == kPanel ? f.N : kPanel;
  kernel(job);
  if (width < kPanel)
    for (int row = 0; row < job.rows; ++row)
      std::memcpy(to + row * f.N, edge + row * kPanel, static_cast<std::size_t>(width) * sizeof(float));
}

// The products of one matrix with packed activations, panel by panel and tile by tile.
struct Multiplier {
  const Kernels& kernels;
  const Weights& weights;
  const Activations& shape;
  const void* packed;
  PanelJob job{};

  Multiplier(const Kernels& k, const Weights& w, const Activations& a, const void* p)
      : kernels(k), weights(w), shape(a), packed(p) {
    job.depth = static_cast<int>(w.format.depth());
    job.block = static_cast<int>(block() ? block() : w.format.depth());
  }
  std::int64_t block() const { return weights.format.block ? weights.format.block : shape.block; }  // 0: all of K

  void to_tile(std::int64_t tile) {
    const auto* bytes = static_cast<const std::uint8_t*>(packed);
    const std::int64_t first = shape.first_row(tile);
    job.rows = static_cast<int>(shape.first_row(tile + 1) - first);
    job.q = reinterpret_cast<const std::int8_t*>(bytes) + first * shape.depth();
    job.sums = reinterpret_cast<const std::int32_t*>(bytes + shape.sums_at(block())) + first * shape.blocks(block());
    job.row_scales = reinterpret_cast<const float*>(bytes + shape.scales_at()) + first * shape.blocks(shape.block);
  }

  void to_panel(std::int64_t panel) {
    set_panel(weights, panel, job);
    job.block_scales_step = kPanel;
    if (!weights.format.block) job.block_scales = kOnes.data(), job.block_scales_step = 0;
  }

  auto kernel() const {
    const Spread spread = shape.block ? kBoth : weights.format.block ? kBlocks : kChannel;
    return kernels.product[bits_index(weights.format.bits)][spread];
  }

  // Rows [job.rows][32] of the panel, one behind the other.
  void multiply(float* to) {
    job.y = to;
    job.y_step = kPanel;
    kernel()(job);
  }
};

// Calls body(first panel, behind the last one) for all panels, some a task.
template <class Body>
void each_panels(const Parallel& parallel, std::int64_t panels, std::int64_t chunk, const Body& body) {
  auto task = [&](std::size_t index) {
    const std::int64_t first = static_cast<std::int64_t>(index) * chunk;
    body(first, std::min(panels, first + chunk));
  };
  parallel.each(static_cast<std::size_t>((panels + chunk - 1) / chunk), task);
}

}  // namespace

std::int64_t panels_a_task(const Format& f, std::int64_t M, std::int64_t panels) {
  const std::int64_t bytes = f.panel_bytes() + f.blocks() * kPanel * f.scale_bytes();
  return std::max<std::int64_t>(1, std::min((M <= kFewRows ? kFewRowsTask : kManyRowsTask) / bytes, panels / kTasks));
}

void product_panels(const Kernels& kernels, const Weights& weights, const Activations& shape, const void* packed,
                    std::int64_t begin, std::int64_t end, float* y) {
  float edge[kTile * kPanel];
  Multiplier matrix(kernels, weights, shape, packed);
  for (std::int64_t tile = 0; tile < shape.tiles(); ++tile) {
    matrix.to_tile(tile);
    for (std::int64_t panel = begin; panel < end; ++panel) {
      matrix.to_panel(panel);
      run_panel(matrix.kernel(), matrix.job, weights.format, panel, shape.first_row(tile), y, edge);
    }
  }
}

void product_float_panels(const Kernels& kernels, const Weights& weights, const float* x, std::int64_t M,
                          std::int64_t begin, std::int64_t end, float* y) {
  const Format& f = weights.format;
  const auto kernel = kernels.product_float[bits_index(f.bits)];
  float edge[kFloatRows * kPanel];
  FloatJob job{};
  job.depth = static_cast<int>(f.depth());
  job.block = f.block ? static_cast<int>(f.block) : 128;
  job.x_step = f.depth();
  for (std::int64_t first = 0; first < M; first += kFloatRows) {
    job.rows = static_cast<int>(std::min<std::int64_t>(kFloatRows, M - first));
    job.x = x + first * f.depth();
    for (std::int64_t panel = begin; panel < end; ++panel) {
      set_panel(weights, panel, job);
      run_panel(kernel, job, f, panel, first, y, edge);
    }
  }
}

void product(const Kernels& kernels, const Parallel& parallel, const Weights& weights, const Activations& shape,
             const void* packed, float* y) {
  const std::int64_t panels = weights.format.panels(), chunk = panels_a_task(weights.format, shape.M, panels);
  each_panels(parallel, panels, chunk, [&](std::int64_t begin, std::int64_t end) {
    product_panels(kernels, weights, shape, packed, begin, end, y);
  });
}

void gated_product(const Kernels& kernels, const Parallel& parallel, const Weights& gate, const Weights& up,
                   const Activations& shape, const void* packed, float* y) {
  const Format& f = gate.format;
  const std::int64_t panels = f.panels();
  const std::int64_t chunk = std::max<std::int64_t>(1, panels_a_task(f, shape.M, panels) / 2);
  each_panels(parallel, panels, chunk, [&](std::int64_t begin, std::int64_t end) {
    float gates[kTile * kPanel], ups[kTile * kPanel];
    Multiplier first(kernels, gate, shape, packed), second(kernels, up, shape, packed);
    for (std::int64_t tile = 0; tile < shape.tiles(); ++tile) {
      first.to_tile(tile);
      second.to_tile(tile);
      for (std::int64_t panel = begin; panel < end; ++panel) {
        first.to_panel(panel);
        first.multiply(gates);
        second.to_panel(panel);
        second.multiply(ups);
        kernels.floats->geglu(gates, ups, first.job.rows * kPanel, gates);
        const std::int64_t channel = panel * kPanel, width = std::min<std::int64_t>(kPanel, f.N - channel);
        float* to = y + shape.first_row(tile) * f.N + channel;
        for (int row = 0; row < first.job.rows; ++row)
          std::memcpy(to + row * f.N, gates + row * kPanel, static_cast<std::size_t>(width) * sizeof(float));
      }
    }
  });
}

void product_float(const Kernels& kernels, const Parallel& parallel, const Weights& weights, const float* x,
                   std::int64_t M, float* y) {
  const Format& f = weights.format;
  std::vector<float> wide;  // rows of K padded with zeros, where K is not a multiple of 32
  if (f.K != f.depth()) {
    wide.resize(static_cast<std::size_t>(M * f.depth()));
    for (std::int64_t row = 0; row < M; ++row) std::copy_n(x + row * f.K, f.K, wide.data() + row * f.depth());
    x = wide.data();
  }
  each_panels(parallel, f.panels(), panels_a_task(f, M, f.panels()), [&](std::int64_t begin, std::int64_t end) {
    product_float_panels(kernels, weights, x, M, begin, end, y);
  });
}

}  // namespace g4
