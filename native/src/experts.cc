#include "experts.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "activations.h"
#include "products.h"

namespace g4 {
namespace {

constexpr std::int64_t kTokens = 512;  // at a time, so that what is kept between the products stays small

// Memory that is written before it is read.
template <class Number>
std::unique_ptr<Number[]> unset(std::int64_t count) {
  return std::unique_ptr<Number[]>(new Number[static_cast<std::size_t>(count)]);
}

Weights of_expert(const Weights& all, std::int64_t expert) {
  const Format& f = all.format;
  const std::int64_t scales = expert * f.panels() * f.blocks() * kPanel;
  return {f, all.codes + expert * f.panels() * f.panel_bytes(),
          static_cast<const char*>(all.scales) + scales * f.scale_bytes(),
          all.zero_points ? all.zero_points + scales : nullptr};
}

// Rows of one expert that are multiplied together.
struct Tile {
  std::int64_t first, rows;
};

struct Group {
  std::int64_t expert;
  std::vector<Tile> tiles;
  std::int64_t rows;
};

// Choices sorted by expert: row r is choice order[r] (token * each + place), and choice c is row `row_of[c]`.
struct Gathering {
  std::vector<std::int64_t> order;
  std::vector<std::int64_t> by_token;  // [tokens][each]: rows, in the order of their experts
  std::vector<Group> groups;
  std::vector<Tile> tiles;

  Gathering(const Choices& choices, std::int64_t experts, std::int64_t tile_rows) {
    const auto all = static_cast<std::size_t>(choices.tokens * choices.each);
    std::vector<std::int64_t> start(static_cast<std::size_t>(experts) + 1);
    for (std::size_t c = 0; c < all; ++c) ++start[static_cast<std::size_t>(choices.index[c]) + 1];
    for (std::size_t e = 0; e < static_cast<std::size_t>(experts); ++e) {
      const std::int64_t rows = start[e + 1], parts = (rows + tile_rows - 1) / tile_rows;
      start[e + 1] += start[e];
      if (!rows) continue;
      Group group{static_cast<std::int64_t>(e), {}, rows};
      for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t first = start[e] + rows * part / parts;
        group.tiles.push_back({first, start[e] + rows * (part + 1) / parts - first});
      }
      tiles.insert(tiles.end(), group.tiles.begin(), group.tiles.end());
      groups.push_back(std::move(group));
    }
    order.resize(all);
    for (std::size_t c = 0; c < all; ++c)
      order[static_cast<std::size_t>(start[static_cast<std::size_t>(choices.index[c])]++)] = static_cast<std::int64_t>(c);
    std::vector<std::int64_t> seen(static_cast<std::size_t>(choices.tokens));
    by_token.resize(all);
    for (std::size_t row = 0; row < all; ++row) {
      const std::int64_t token = order[row] / choices.each;
      by_token[static_cast<std::size_t>(token * choices.each + seen[static_cast<std::size_t>(token)]++)] =
          static_cast<std::int64_t>(row);
    }
  }
};

// Some panels of one expert.
struct Piece {
  const Group* group;
  std::int64_t begin, end;
};

// One of the two products, for all rows, from activations that are packed tile by tile (or float32 [rows, K padded]).
class Product {
 public:
  Product(const Kernels& kernels, const Weights& weights, bool exact, const Gathering& gathering)
      : kernels_(kernels), weights_(weights), exact_(exact) {
    const Format& f = weights.format;
    const auto rows = static_cast<std::int64_t>(gathering.order.size());
    const auto groups = static_cast<std::int64_t>(gathering.groups.size());
    row_bytes_ = exact ? f.depth() * 4 : Activations{1, f.K, 0}.row_bytes();
    packed_ = unset<std::uint32_t>(rows * row_bytes_ / 4);
    const std::int64_t chunk = panels_a_task(f, (rows + groups - 1) / groups, groups * f.panels());
    for (const Group& group : gathering.groups)
      for (std::int64_t begin = 0; begin < f.panels(); begin += chunk)
        pieces_.push_back({&group, begin, std::min(begin + chunk, f.panels())});
  }

  // x [tile.rows, K].
  void pack(const Tile& tile, const float* x) {
    const Format& f = weights_.format;
    if (!exact_) return quantize(kernels_, kAlone, {tile.rows, f.K, 0}, x, at(tile.first));
    auto* to = static_cast<float*>(at(tile.first));
    for (std::int64_t row = 0; row < tile.rows; ++row, to += f.depth(), x += f.K) {
      std::copy_n(x, f.K, to);
      std::fill(to + f.K, to + f.depth(), 0.0f);
    }
  }

  // y [rows, N].
  void run(const Parallel& parallel, float* y) {
    auto task = [&](std::size_t index) {
      const Piece& piece = pieces_[index];
      const Weights own = of_expert(weights_, piece.group->expert);
      for (const Tile& tile : piece.group->tiles) {
        float* to = y + tile.first * own.format.N;
        if (exact_)
          product_float_panels(kernels_, own, static_cast<const float*>(at(tile.first)), tile.rows, piece.begin,
                               piece.end, to);
        else
          product_panels(kernels_, own, {tile.rows, own.format.K, 0}, at(tile.first), piece.begin, piece.end, to);
      }
    };
    parallel.each(pieces_.size(), task);
  }

 private:
  void* at(std::int64_t row) { return packed_.get() + row * row_bytes_ / 4; }

  const Kernels& kernels_;
  const Weights& weights_;
  bool exact_;
  std::int64_t row_bytes_;
  std::unique_ptr<std::uint32_t[]> packed_;
  std::vector<Piece> pieces_;
};

void run_some(const Kernels& kernels, const Parallel& parallel, const Experts& experts, const float* x,
              const Choices& choices, float* y) {
  const Gathering gathering(choices, experts.count, experts.exact ? kFloatRows : kTile);
  const std::int64_t rows = choices.tokens * choices.each, H = experts.hidden(), I = experts.width();
  const std::unique_ptr<float[]> wide = unset<float>(rows * H), both = unset<float>(rows * 2 * I);

  Product first(kernels, experts.gate_up, experts.exact, gathering);
  auto gather = [&](std::size_t index) {
    const Tile& tile = gathering.tiles[index];
    float* to = wide.get() + tile.first * H;
    for (std::int64_t row = 0; row < tile.rows; ++row)
      std::copy_n(x + gathering.order[static_cast<std::size_t>(tile.first + row)] / choices.each * H, H, to + row * H);
    first.pack(tile, to);
  };
  parallel.each(gathering.tiles.size(), gather);
  first.run(parallel, both.get());

  Product second(kernels, experts.down, experts.exact, gathering);
  auto activate = [&](std::size_t index) {
    const Tile& tile = gathering.tiles[index];
    float* hidden = both.get() + tile.first * 2 * I;  // a row ends before the next row of gate and up starts
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      const float* gate = both.get() + (tile.first + row) * 2 * I;
      kernels.floats->geglu(gate, gate + I, I, hidden + row * I);
    }
    second.pack(tile, hidden);
  };
  parallel.each(gathering.tiles.size(), activate);
  second.run(parallel, wide.get());

  auto scatter = [&](std::size_t index) {
    const auto token = static_cast<std::int64_t>(index);
    float* to = y + token * H;
    std::fill_n(to, H, 0.0f);
    for (std::int64_t i = 0; i < choices.each; ++i) {
      const std::int64_t row = gathering.by_token[static_cast<std::size_t>(token * choices.each + i)];
      kernels.floats->weigh(choices.weight[gathering.order[static_cast<std::size_t>(row)]], wide.get() + row * H, H, to);
    }
  };
  parallel.each(static_cast<std::size_t>(choices.tokens), scatter);
}

}  // namespace

std::string problem(std::int64_t count, const Format& gate_up, const Format& down) {
  if (count < 1 || count > kMaxExperts)
    return "there are " + std::to_string(count) + " experts, not 1.." + std::to_string(kMaxExperts);
  for (const Format* format : {&gate_up, &down}) {
    const std::string wrong = problem(*format);
    if (!wrong.empty()) return (format == &down ? "down: " : "gate and up: ") + wrong;
  }
  if (gate_up.N != 2 * down.K || gate_up.K != down.N)
    return "gate and up are [" + std::to_string(gate_up.N) + ", " + std::to_string(gate_up.K) + "] and down is [" +
           std::to_string(down.N) + ", " + std::to_string(down.K) + "], not [2 I, H] and [H, I]";
  return "";
}

std::string problem(std::int64_t count, const Choices& c) {
  if (c.tokens < 0 || c.tokens > kMaxRows)
    return "there are " + std::to_string(c.tokens) + " tokens, not 0.." + std::to_string(kMaxRows);
  if (c.each < 1 || c.each > 256) return "a token chooses " + std::to_string(c.each) + " experts, not 1..256";
  for (std::int64_t i = 0; i < c.tokens * c.each; ++i)
    if (c.index[i] < 0 || c.index[i] >= count)
      return "index holds " + std::to_string(c.index[i]) + " at place " + std::to_string(i) + ", not in 0.." +
             std::to_string(count - 1);
  return "";
}

void run_experts(const Kernels& kernels, const Parallel& parallel, const Experts& experts, const float* x,
                 const Choices& choices, float* y) {
  for (std::int64_t token = 0; token < choices.tokens; token += kTokens) {
    Choices some = choices;
    some.tokens = std::min(kTokens, choices.tokens - token);
    some.index += token * choices.each;
    some.weight += token * choices.each;
    run_some(kernels, parallel, experts, x + token * experts.hidden(), some, y + token * experts.hidden());
  }
}

}  // namespace g4
