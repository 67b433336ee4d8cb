// Attention, caches, experts and norms of every instruction set of this machine against plain loops, through the C entry
// points; then wrong sizes. For sanitizers, and for machines without Python: it runs under an emulator too. The last
// line holds a hash of the results of experts and norms, and of what caches hold, which is the same on every machine.
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "g4ops.h"
#include "plain.h"

using namespace g4::test;

namespace {

int failures = 0;
std::uint64_t hash = 14695981039346656037u;

void expect(bool right, const char* what, const char* kernels) {
  if (!right && ++failures <= 20) std::printf("WRONG %s: %s (%s)\n", what, kernels, g4ops_last_error());
}

template <class Number>
void add_to_hash(const std::vector<Number>& values) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (std::size_t i = 0; i < values.size() * sizeof(Number); ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
}

std::size_t whole(std::int64_t n) { return static_cast<std::size_t>(n); }

struct LayerCase {
  std::int64_t type, B, K, group, D, past, S, window, ring;  // ring: slots, or 0
  bool blocks;  // the middle third of the new tokens is an image
};

struct Kept {
  std::vector<std::uint8_t> numbers;
  std::vector<float> scales;
  G4Cache cache;

  Kept(const LayerCase& c, std::int64_t slots) {
    const std::int64_t bytes[] = {4, 2, 1}, count = c.B * c.K * slots;
    numbers.resize(whole(count * c.D * bytes[c.type]));
    if (c.type == G4OPS_INT8) scales.resize(whole(count));
    cache = {c.type, c.ring != 0, c.B, c.K, slots, c.D, numbers.data(), numbers.size(),
             scales.empty() ? nullptr : scales.data(), scales.size() * 4};
  }

  double at(std::int64_t head, std::int64_t position, std::int64_t d) const {
    const std::int64_t token = head * cache.slots + position % cache.slots, i = token * cache.depth + d;
    if (cache.type == G4OPS_INT8) return static_cast<std::int8_t>(numbers[whole(i)]) * double{scales[whole(token)]};
    std::uint32_t word = 0;
    if (cache.type == G4OPS_FLOAT32) std::memcpy(&word, &numbers[whole(i * 4)], 4);
    else word = static_cast<std::uint32_t>(numbers[whole(i * 2)] | numbers[whole(i * 2 + 1)] << 8) << 16;
    float value;
    std::memcpy(&value, &word, 4);
    return value;
  }
};

void run_attention(const LayerCase& c, Random& random, const std::vector<const G4Kernels*>& all,
                   const std::vector<G4Pool*>& pools) {
  const std::int64_t slots = c.ring ? c.ring : c.past + c.S, tokens = c.past + c.S, N = c.K * c.group;
  Kept kept[2] = {{c, slots}, {c, slots}};
  for (Kept& one : kept)
    for (std::int64_t first = 0; first < tokens; ++first) {  // a token at a time
      std::vector<float> fresh(whole(c.B * c.K * c.D));
      for (float& value : fresh) value = random.number();
      const std::vector<std::int64_t> positions(whole(c.B), first);
      expect(!g4ops_cache_write(pools.back(), &one.cache, fresh.data(), 1, positions.data()), "cache", "");
    }
  for (const Kept& one : kept) add_to_hash(one.numbers), add_to_hash(one.scales);
  std::vector<float> query(whole(c.B * N * c.S * c.D)), y(whole(c.B * N * c.S * c.D)), first_y;
  for (float& value : query) value = random.number() / 16;
  std::vector<std::int64_t> positions;
  for (std::int64_t b = 0; b < c.B; ++b)
    for (std::int64_t s = 0; s < c.S; ++s) positions.push_back(c.past + s);
  std::vector<std::int64_t> starts = positions, ends = positions;
  for (std::size_t i = 0; i < positions.size(); ++i)
    if (const std::int64_t s = positions[i] - c.past; c.blocks && s >= c.S / 3 && s <= c.S * 2 / 3)
      starts[i] = c.past + c.S / 3, ends[i] = c.past + c.S * 2 / 3;
  std::vector<double> right(y.size());
  for (std::int64_t b = 0; b < c.B; ++b)
    for (std::int64_t n = 0; n < N; ++n)
      for (std::int64_t s = 0; s < c.S; ++s) {
        const std::int64_t p = c.past + s, head = b * c.K + n / c.group;
        const std::int64_t low = std::min(c.window ? std::max<std::int64_t>(0, p - c.window + 1) : 0, starts[whole(s)]);
        const std::int64_t high = ends[whole(s)];
        const float* const row = &query[whole(((b * N + n) * c.S + s) * c.D)];
        std::vector<double> scores;
        for (std::int64_t j = low; j <= high; ++j) {
          double sum = 0;
          for (std::int64_t d = 0; d < c.D; ++d) sum += row[d] * kept[0].at(head, j, d);
          scores.push_back(sum);
        }
        const double most = *std::max_element(scores.begin(), scores.end());
        for (double& score : scores) score = std::exp(score - most);
        const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
        for (std::int64_t d = 0; d < c.D; ++d) {
          double sum = 0;
          for (std::int64_t j = low; j <= high; ++j) sum += scores[whole(j - low)] * kept[1].at(head, j, d);
          right[whole(((b * c.S + s) * N + n) * c.D + d)] = sum / total;
        }
      }
  const G4Queries queries = {N, c.S, c.window, 1.0, positions.data(), starts.data(), ends.data()};
  for (const G4Kernels* kernels : all) {
    const char* name = g4ops_kernels_name(kernels);
    for (G4Pool* pool : pools) {
      const int status =
          g4ops_attention(kernels, pool, &queries, query.data(), &kept[0].cache, &kept[1].cache, y.data());
      expect(status == 0, "status", name);
      if (pool == pools.front()) first_y = y;
      expect(std::memcmp(first_y.data(), y.data(), y.size() * 4) == 0, "threads", name);
      for (std::size_t i = 0; i < y.size(); ++i) expect(std::fabs(y[i] - right[i]) < 4e-5, "attention", name);
    }
  }
}

struct EncoderCase {
  std::int64_t B, K, group, S, T, D;
};

void run_encoder(const EncoderCase& c, Random& random, const std::vector<const G4Kernels*>& all,
                 const std::vector<G4Pool*>& pools) {
  const std::int64_t N = c.K * c.group;
  std::vector<float> query(whole(c.B * N * c.S * c.D)), keys(whole(c.B * c.K * c.T * c.D)), values(keys.size());
  for (float& value : query) value = random.number() / 16;
  for (float& value : keys) value = random.number();
  for (float& value : values) value = random.number();
  std::vector<float> y(query.size()), first;
  std::vector<double> right(y.size());
  for (std::int64_t head = 0; head < c.B * N; ++head)
    for (std::int64_t s = 0; s < c.S; ++s) {
      const std::int64_t of_keys = head / c.group * c.T * c.D;
      std::vector<double> scores;
      for (std::int64_t j = 0; j < c.T; ++j) {
        double sum = 0;
        for (std::int64_t d = 0; d < c.D; ++d)
          sum += double{query[whole((head * c.S + s) * c.D + d)]} * keys[whole(of_keys + j * c.D + d)];
        scores.push_back(sum * 0.5);
      }
      const double most = *std::max_element(scores.begin(), scores.end());
      for (double& score : scores) score = std::exp(score - most);
      const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
      for (std::int64_t d = 0; d < c.D; ++d) {
        double sum = 0;
        for (std::int64_t j = 0; j < c.T; ++j) sum += scores[whole(j)] * values[whole(of_keys + j * c.D + d)];
        right[whole(((head / N * c.S + s) * N + head % N) * c.D + d)] = sum / total;
      }
    }
  const G4Encoder encoder = {c.B, N, c.K, c.S, c.T, c.D, 0.5};
  for (const G4Kernels* kernels : all) {
    const char* name = g4ops_kernels_name(kernels);
    for (G4Pool* pool : pools) {
      std::fill(y.begin(), y.end(), NAN);
      const int status =
          g4ops_encoder_attention(kernels, pool, &encoder, query.data(), keys.data(), values.data(), y.data());
      expect(status == 0, "status", name);
      if (pool == pools.front()) first = y;
      expect(std::memcmp(first.data(), y.data(), y.size() * 4) == 0, "threads", name);
      for (std::size_t i = 0; i < y.size(); ++i) expect(std::fabs(y[i] - right[i]) < 4e-5, "encoder", name);
    }
  }
}

struct Stack {
  std::vector<Matrix> matrices;
  std::vector<std::uint8_t> panels, zeros;
  std::vector<float> scales;
  std::vector<std::uint16_t> block_scales;
  G4Weights weights;

  Stack(int count, const Case& c, Random& random) {
    const std::size_t bytes = whole((c.N + 31) / 32) * whole((c.K + 31) / 32 * 32) * 4 * whole(c.bits);
    panels.resize(bytes * whole(count));
    for (int e = 0; e < count; ++e) {
      const Matrix m(c, random);
      g4ops_pack(c.bits, c.K, c.N, m.codes.data(), panels.data() + bytes * whole(e), bytes);
      zeros.insert(zeros.end(), m.zeros.begin(), m.zeros.end());
      scales.insert(scales.end(), m.scales.begin(), m.scales.end());
      block_scales.insert(block_scales.end(), m.block_scales.begin(), m.block_scales.end());
      matrices.push_back(m);
    }
    weights = {c.bits, c.block, c.K, c.N, panels.data(), panels.size(), nullptr, 0, nullptr, zeros.size()};
    weights.scales = c.block ? static_cast<const void*>(block_scales.data()) : scales.data();
    weights.scales_bytes = c.block ? block_scales.size() * 2 : scales.size() * 4;
    if (!zeros.empty()) weights.zero_points = zeros.data();
  }
};

double exact_product(const Matrix& m, int n, const std::vector<double>& x) {
  double sum = 0;
  for (int k = 0; k < m.K; ++k) sum += x[whole(k)] * m.level(n, k) * m.scale(n, m.block ? k / m.block : 0);
  return sum;
}

struct ExpertCase {
  int count, each, tokens, H, I, bits, block;
};

void run_experts(const ExpertCase& c, Random& random, const std::vector<const G4Kernels*>& all,
                 const std::vector<G4Pool*>& pools) {
  const auto [count, each, tokens, H, I, bits, block] = c;
  Stack gate_up(count, {bits, block, 0, tokens, H, 2 * I, true, false}, random);
  Stack down(count, {bits, block, 0, tokens, I, H, false, false}, random);
  std::vector<float> x(whole(tokens * H)), weight(whole(tokens * each)), y(x.size());
  for (float& value : x) value = random.number() / 8;
  for (float& value : weight) value = static_cast<float>(random.below(100)) / 100;
  std::vector<std::int64_t> index(weight.size());
  for (std::int64_t& one : index) one = random.below(count);
  std::vector<double> right(y.size());
  for (int t = 0; t < tokens; ++t)
    for (int i = 0; i < each; ++i) {
      const auto e = whole(index[whole(t * each + i)]);
      const std::vector<double> row(x.begin() + t * H, x.begin() + (t + 1) * H);
      std::vector<double> hidden;
      for (int n = 0; n < I; ++n) {
        const double gate = exact_product(gate_up.matrices[e], n, row);
        const double up = exact_product(gate_up.matrices[e], n + I, row);
        hidden.push_back(gate / (1 + std::exp(-1.5957691216057308 * (gate + 0.044715 * gate * gate * gate))) * up);
      }
      for (int h = 0; h < H; ++h)
        right[whole(t * H + h)] += weight[whole(t * each + i)] * exact_product(down.matrices[e], h, hidden);
    }
  double largest = 0;
  for (const double value : right) largest = std::max(largest, std::fabs(value));
  const G4Choices choices = {tokens, each, index.data(), weight.data()};
  for (const bool exact : {true, false}) {
    const G4Experts experts = {count, exact, gate_up.weights, down.weights};
    std::vector<float> first;
    for (const G4Kernels* kernels : all)
      for (G4Pool* pool : pools) {
        const char* name = g4ops_kernels_name(kernels);
        expect(!g4ops_experts(kernels, pool, &experts, x.data(), &choices, y.data()), "status", name);
        if (first.empty()) first = y, add_to_hash(y);
        expect(std::memcmp(first.data(), y.data(), y.size() * 4) == 0, exact ? "exact bits" : "bits", name);
        for (std::size_t i = 0; i < y.size() && exact; ++i)
          expect(std::fabs(y[i] - right[i]) <= 1e-5 * largest, "exact experts", name);
      }
  }
}

struct NormCase {
  int rows, heads, width, parts, pairs;
};

void run_norms(const NormCase& c, Random& random, const std::vector<const G4Kernels*>& all,
               const std::vector<G4Pool*>& pools) {
  const auto some = [&](std::int64_t count) {
    std::vector<float> values(whole(count));
    for (float& value : values) value = random.number();
    return values;
  };
  const std::int64_t count = std::int64_t{c.rows} * c.heads * c.width;
  const std::vector<float> x = some(count), residual = some(count), weight = some(c.width);
  const std::vector<float> cos = some(c.rows * c.parts * c.pairs), sin = some(c.rows * c.parts * c.pairs);
  const G4Norm norm = {c.width, 1e-6, weight.data()};
  const G4Heads heads = {1, c.rows, c.heads, c.parts, c.pairs};
  std::vector<float> sum(x.size()), turned(x.size()), first_sum, first_turned;
  for (const G4Kernels* kernels : all)
    for (G4Pool* pool : pools) {
      const char* name = g4ops_kernels_name(kernels);
      expect(!g4ops_norm_add(kernels, pool, &norm, c.rows * c.heads, x.data(), residual.data(), 0.5, sum.data()),
             "status", name);
      expect(!g4ops_norm_heads(kernels, pool, &norm, &heads, x.data(), cos.data(), sin.data(), turned.data()),
             "status", name);
      if (first_sum.empty()) first_sum = sum, first_turned = turned, add_to_hash(sum), add_to_hash(turned);
      expect(std::memcmp(first_sum.data(), sum.data(), sum.size() * 4) == 0, "bits of a norm", name);
      expect(std::memcmp(first_turned.data(), turned.data(), sum.size() * 4) == 0, "bits of heads", name);
    }
  for (int row = 0; row < c.rows * c.heads; ++row) {
    double squares = 0;
    for (int d = 0; d < c.width; ++d) squares += double{x[whole(row * c.width + d)]} * x[whole(row * c.width + d)];
    for (int d = 0; d < c.width; ++d) {
      const std::size_t at = whole(row * c.width + d);
      const double right = (residual[at] + x[at] / std::sqrt(squares / c.width + 1e-6) * weight[whole(d)]) * 0.5;
      expect(std::fabs(sum[at] - right) < 1e-5, "norm", "");
    }
  }
}

// Arrays of any size, and shapes that mostly do not fit them.
void wrong_sizes(Random& random, const G4Kernels* kernels) {
  for (int i = 0; i < 4000; ++i) {
    const auto some = [&] { return whole(random.below(700)); };
    const std::int64_t D = random.below(4) * 8, B = random.below(4) - 1, K = random.below(4), T = random.below(8) - 1;
    const std::int64_t type = random.below(4), bytes = type == 0 ? 4 : type == 1 ? 2 : 1;
    const bool fits = random.below(2) && B > 0 && T > 0;
    std::vector<std::uint8_t> keys(fits ? whole(B * K * T * D * bytes) : some() / 4 * 4), values(keys.size());
    std::vector<float> scales(fits && type == 2 ? whole(B * K * T) : 0), y(4 * 4 * 40 * 24), query(y.size());
    const std::int64_t N = random.below(9), S = random.below(3), window = random.below(6) - 1, ring = random.below(2);
    std::vector<std::int64_t> positions;
    for (int p = 0; p < 12; ++p) positions.push_back(random.below(12) - 1);
    const G4Cache of_keys = {type, ring, B, K, T, D, keys.data(), keys.size(),
                             scales.empty() ? nullptr : scales.data(), scales.size() * 4};
    G4Cache of_values = of_keys;
    of_values.numbers = values.data();
    std::vector<std::int64_t> starts = positions, ends = positions;
    for (std::size_t p = 0; p < positions.size(); ++p) starts[p] -= random.below(3), ends[p] += random.below(3);
    const bool blocks = random.below(2);
    const G4Queries queries = {N, S, window, 1.0, positions.data(), blocks ? starts.data() : nullptr,
                               blocks && random.below(9) ? ends.data() : nullptr};
    g4ops_cache_write(nullptr, &of_keys, query.data(), S, positions.data());
    g4ops_attention(kernels, nullptr, &queries, query.data(), &of_keys, &of_values, y.data());
    std::vector<std::uint8_t> codes(some()), down(some());
    std::vector<float> of_codes(some() / 8), x(400);
    const std::int64_t H = random.below(40), I = random.below(20);
    const std::size_t scale_bytes = of_codes.size() * 4;
    const G4Experts experts = {random.below(4), random.below(2),
                               {4, 0, H, 2 * I, codes.data(), codes.size(), of_codes.data(), scale_bytes, nullptr, 0},
                               {4, 0, I, H, down.data(), down.size(), of_codes.data(), scale_bytes, nullptr, 0}};
    const G4Choices choices = {random.below(3), random.below(4), positions.data(), x.data()};
    g4ops_experts(kernels, nullptr, &experts, x.data(), &choices, y.data());
  }
}

}  // namespace

int main() {
  std::vector<const G4Kernels*> all;
  for (const char* name : {"scalar", "avx2", "avx512vnni", "neon_dotprod", "neon_i8mm"})
    if (const G4Kernels* kernels = g4ops_kernels(name)) all.push_back(kernels), std::printf("%s ", name);
  const std::vector<G4Pool*> pools = {nullptr, g4ops_pool_create(3)};
  Random random{88172645463325252u};
  int cases = 0;
  for (const int type : {G4OPS_FLOAT32, G4OPS_BFLOAT16, G4OPS_INT8})
    for (const std::int64_t past : {0, 5, 63, 300})
      for (const std::int64_t S : {1, 3, 33, 150})
        for (const std::int64_t window : {0, 64}) {
          const std::int64_t depths[] = {8, 16, 40, 64, 128};
          const std::int64_t D = depths[random.below(5)], K = 1 + random.below(2);
          const std::int64_t ring = window && random.below(2) ? 63 + S + random.below(9) : 0;
          const std::int64_t B = 1 + random.below(2), group = 1 + random.below(9);
          const LayerCase c = {type, B, K, group, D, past, S, window, ring, cases % 3 == 1};
          run_attention(c, random, all, pools), ++cases;
        }
  for (const std::int64_t S : {1, 33, 48, 100})
    for (const std::int64_t T : {1, 33, 256, 300})
      for (const std::int64_t D : {8, 20, 72, 144}) {
        const std::int64_t K = 1 + random.below(3), group = 1 + random.below(2);
        run_encoder({1 + random.below(2), K, group, S, T, D}, random, all, pools), ++cases;
      }
  for (const int bits : {2, 4, 8})
    for (const int block : {0, 32})
      for (const int tokens : {1, 5, 30}) {  // drawn one by one: compilers order arguments as they like
        const int count = 1 + random.below(9), each = 1 + random.below(4), H = 8 + random.below(90);
        const int I = 8 + random.below(60);
        run_experts({count, each, tokens, H, I, bits, block}, random, all, pools), ++cases;
      }
  for (const int width : {1, 7, 16, 40, 256, 1000}) {
    run_norms({1 + random.below(40), 1 + random.below(4), width, 1, width / 2}, random, all, pools), ++cases;
    run_norms({1, 8, width, 1, 0}, random, all, pools), ++cases;
    if (width % 4 == 0) run_norms({5, 3, width, 2, width / 4}, random, all, pools), ++cases;
  }
  wrong_sizes(random, all.back());
  g4ops_pool_destroy(pools[1]);
  std::printf("%d cases, %d wrong\nhash %016llx\n", cases, failures, static_cast<unsigned long long>(hash));
  return failures != 0;
}
