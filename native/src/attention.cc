#include "attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace g4 {
namespace {

constexpr std::int64_t kTasks = 32;        // at least, where there are enough keys
constexpr std::int64_t kFewestKeys = 128;  // of a task
constexpr std::int64_t kBlockBytes = 32 << 10;  // of the keys in a block, and of its values: both stay near

// Keys that a query sees: from begin on, before end.
struct Seen {
  std::int64_t begin, end;
};

Seen seen(const Places& places, std::int64_t at, std::int64_t window) {
  const std::int64_t position = places.positions[at];
  Seen keys{window ? std::max<std::int64_t>(0, position - window + 1) : 0, position + 1};
  if (places.block_ends) keys = {std::min(keys.begin, places.block_starts[at]), places.block_ends[at] + 1};
  return keys;
}

// The rows of queries of one head of keys, N / K heads times S tokens, in equal blocks; each block's keys in parts.
class Split {
 public:
  Split(const AttentionShape& shape, const Places& places) : shape_(shape), places_(places) {
    rows_ = shape.N / shape.cache.K * shape.S;
    blocks_ = (rows_ + kBlockRows - 1) / kBlockRows;
    const std::int64_t all = shape.cache.B * shape.cache.K * blocks_;
    std::int64_t most = 0;
    for (std::int64_t b = 0; b < shape.cache.B; ++b)
      for (std::int64_t block = 0; block < blocks_; ++block) {
        const Seen keys = of_block(b, block);
        most = std::max(most, keys.end - keys.begin);
      }
    parts_ = std::max<std::int64_t>(1, std::min((kTasks + all - 1) / all, most / kFewestKeys));
  }

  std::int64_t parts() const { return parts_; }
  std::int64_t blocks() const { return shape_.cache.B * shape_.cache.K * blocks_; }
  std::int64_t first(std::int64_t block) const { return rows_ * block / blocks_; }
  std::int64_t most_rows() const { return (rows_ + blocks_ - 1) / blocks_; }  // of a block
  std::int64_t blocks_a_head() const { return blocks_; }
  std::int64_t rows_a_head() const { return rows_; }
  Seen of_row(std::int64_t b, std::int64_t row) const {
    return seen(places_, b * shape_.S + row % shape_.S, shape_.window);
  }
  Seen of_block(std::int64_t b, std::int64_t block) const {
    Seen all = of_row(b, first(block));
    for (std::int64_t row = first(block) + 1; row < first(block + 1); ++row) {
      const Seen one = of_row(b, row);
      all = {std::min(all.begin, one.begin), std::max(all.end, one.end)};
    }
    return all;
  }
  Seen of_part(const Seen& all, std::int64_t part) const {
    const std::int64_t step = ((all.end - all.begin + parts_ - 1) / parts_ + kBlockKeys - 1) / kBlockKeys * kBlockKeys;
    return {std::min(all.end, all.begin + step * part), std::min(all.end, all.begin + step * (part + 1))};
  }

 private:
  const AttentionShape& shape_;
  const Places& places_;
  std::int64_t rows_, blocks_, parts_;
};

// The sums of some rows over the keys of one part. `out` is theirs alone.
struct Sums {
  float largest[kBlockRows], total[kBlockRows];
};

struct Attention {
  const FloatKernels& kernels;
  const AttentionShape& shape;
  const float* query;
  const CacheData &keys, &values;
  const Split& split;

  // Goes through the keys of a part, a block of consecutive slots at a time.
  void add_keys(std::int64_t head, std::int64_t block, const Seen& part, float* const* out, Sums& sums) const {
    const CacheShape& c = shape.cache;
    const std::int64_t b = head / c.K, first = split.first(block), bytes = cache_bytes(c.type);
    const int rows = static_cast<int>(split.first(block + 1) - first);
    int begin[kBlockRows], end[kBlockRows];
    alignas(64) float scores[kBlockRows * kBlockKeys];
    AttentionBlock job{};
    job.query = query + (head * split.rows_a_head() + first) * c.D;
    job.rows = rows;
    job.depth = static_cast<int>(c.D);
    job.begin = begin;
    job.end = end;
    job.scale = shape.scale;
    job.scores = scores;
    job.largest = sums.largest;
    job.total = sums.total;
    job.out = out;
    Seen seen[kBlockRows];
    for (int row = 0; row < rows; ++row) {
      seen[row] = split.of_row(b, first + row);
      sums.largest[row] = kNoScore;
      sums.total[row] = 0;
      std::fill_n(out[row], c.D, 0.0f);
    }
    const std::int64_t largest_block = std::clamp<std::int64_t>(kBlockBytes / (c.D * bytes), 16, kBlockKeys);
    for (std::int64_t at = part.begin, next; at < part.end; at = next) {
      const std::int64_t slot = c.ring ? at % c.T : at;
      const std::int64_t count = std::min({largest_block, part.end - at, c.T - slot});
      next = at + count;
      const std::int64_t token = head * c.T + slot;
      const std::int64_t next_token = head * c.T + (next == part.end ? slot : c.ring ? next % c.T : next);
      job.keys = static_cast<const char*>(keys.numbers) + token * c.D * bytes;
      job.values = static_cast<const char*>(values.numbers) + token * c.D * bytes;
      job.next_keys = static_cast<const char*>(keys.numbers) + next_token * c.D * bytes;
      if (c.type == kInt8) {
        job.key_scales = keys.scales + token;
        job.value_scales = values.scales + token;
      }
      job.count = static_cast<int>(count);
      for (int row = 0; row < rows; ++row) {
        begin[row] = static_cast<int>(std::clamp<std::int64_t>(seen[row].begin - at, 0, count));
        end[row] = static_cast<int>(std::clamp<std::int64_t>(seen[row].end - at, 0, count));
      }
      kernels.attend[c.type](job);
    }
  }

  // Where the rows of a block go in the output [B, S, N, D].
  void rows_out(std::int64_t head, std::int64_t block, float* y, float** out) const {
    const CacheShape& c = shape.cache;
    const std::int64_t heads = shape.N / c.K;
    for (std::int64_t row = split.first(block), i = 0; row < split.first(block + 1); ++row, ++i) {
      const std::int64_t n = head % c.K * heads + row / shape.S, s = row % shape.S;
      out[i] = y + ((head / c.K * shape.S + s) * shape.N + n) * c.D;
    }
  }
};

void divide(float* y, std::int64_t D, float total) {
  const float inverse = 1 / total;
  for (std::int64_t d = 0; d < D; ++d) y[d] *= inverse;
}

}  // namespace

std::string problem(const AttentionShape& s) {
  std::string wrong = problem(s.cache);
  if (!wrong.empty()) return wrong;
  if (s.N < 1 || s.N > 4096 || s.N % s.cache.K)
    return "the queries have " + std::to_string(s.N) + " heads, which the " + std::to_string(s.cache.K) +
           " heads of keys do not divide";
  if (s.S < 0 || s.S > 1 << 24)
    return "there are " + std::to_string(s.S) + " new tokens, not 0.." + std::to_string(1 << 24);
  if (s.window < 0) return "window is " + std::to_string(s.window) + ", below 0";
  return "";
}

std::string problem(const AttentionShape& s, const Places& places) {
  std::string wrong = problem(s.cache, s.S, places.positions);
  if (!wrong.empty()) return wrong;
  if (!places.block_starts != !places.block_ends) return "block_starts and block_ends go together";
  const std::int64_t count = s.cache.B * s.S;
  if (places.block_ends) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t start = places.block_starts[i], end = places.block_ends[i], position = places.positions[i];
      if (start < 0 || start > position || end < position)
        return "the block " + std::to_string(start) + ".." + std::to_string(end) + " does not hold its position " +
               std::to_string(position);
    }
    wrong = problem(s.cache, s.S, places.block_ends);
    if (!wrong.empty()) return "block_ends: " + wrong;
  }
  for (std::int64_t b = 0; b < s.cache.B && s.S && s.cache.ring; ++b) {
    Seen all = seen(places, b * s.S, s.window);
    for (std::int64_t i = b * s.S; i < (b + 1) * s.S; ++i) {
      const Seen one = seen(places, i, s.window);
      all = {std::min(all.begin, one.begin), std::max(all.end, one.end)};
    }
    if (all.end - all.begin > s.cache.T)
      return "a ring of " + std::to_string(s.cache.T) + " slots cannot hold the keys at positions " +
             std::to_string(all.begin) + ".." + std::to_string(all.end - 1);
  }
  return "";
}

void attention(const FloatKernels& kernels, const Parallel& parallel, const AttentionShape& shape, const float* query,
               const Places& places, const CacheData& keys, const CacheData& values, float* out) {
  const CacheShape& c = shape.cache;
  if (c.B == 0 || shape.S == 0) return;
  const FloatKernels* chosen = &kernels;
  while (c.D % chosen->lanes) chosen = chosen->narrower;
  const Split split(shape, places);
  const Attention work{*chosen, shape, query, keys, values, split};
  const std::int64_t parts = split.parts(), in_head = split.blocks_a_head();
  const std::int64_t shared = parts > 1 ? split.blocks() * parts : 0, most_rows = split.most_rows();
  // Of the thread that calls, and kept: fresh pages at every call would cost more than the sums of a short context.
  thread_local std::vector<Sums> sums;
  thread_local std::vector<float> partial;
  sums.resize(static_cast<std::size_t>(shared));
  partial.resize(static_cast<std::size_t>(shared * most_rows * c.D));
  Sums* const all_sums = sums.data();
  float* const all_partial = partial.data();

  auto task = [&](std::size_t index) {
    const auto task_index = static_cast<std::int64_t>(index);
    const std::int64_t at = task_index / parts, head = at / in_head, block = at % in_head;
    const int rows = static_cast<int>(split.first(block + 1) - split.first(block));
    const Seen all = split.of_block(head / c.K, block);
    float* to[kBlockRows];
    if (parts > 1) {
      for (int row = 0; row < rows; ++row) to[row] = all_partial + (task_index * most_rows + row) * c.D;
      return work.add_keys(head, block, split.of_part(all, task_index % parts), to, all_sums[index]);
    }
    Sums own;
    work.rows_out(head, block, out, to);
    work.add_keys(head, block, all, to, own);
    for (int row = 0; row < rows; ++row) divide(to[row], c.D, own.total[row]);
  };
  parallel.each(static_cast<std::size_t>(split.blocks() * parts), task);
  if (parts == 1) return;

  auto join = [&](std::size_t index) {  // the parts of a block, in their order
    const std::int64_t at = static_cast<std::int64_t>(index), head = at / in_head, block = at % in_head;
    const int rows = static_cast<int>(split.first(block + 1) - split.first(block));
    float* to[kBlockRows];
    work.rows_out(head, block, out, to);
    for (int row = 0; row < rows; ++row) {
      float largest = kNoScore, total = 0;
      for (std::int64_t part = 0; part < parts; ++part)
        largest = std::max(largest, all_sums[at * parts + part].largest[row]);
      std::fill_n(to[row], c.D, 0.0f);
      for (std::int64_t part = 0; part < parts; ++part) {
        const Sums& one = all_sums[at * parts + part];
        const float weight = std::exp(one.largest[row] - largest);
        total += weight * one.total[row];
        chosen->weigh(weight, all_partial + ((at * parts + part) * most_rows + row) * c.D, c.D, to[row]);
      }
      divide(to[row], c.D, total);
    }
  };
  parallel.each(static_cast<std::size_t>(split.blocks()), join);
}

}  // namespace g4
