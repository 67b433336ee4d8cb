#include "mel.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "../failure.h"
#include "fft.h"
#include "words.h"

namespace g4::rt {
namespace {

constexpr std::int64_t kFramesOfToken = 4;  // the two convolutions of the tower halve time
// Of the published models: 512 points, 384 thousand values, and 1.5 million points in all frames.
constexpr std::int64_t kMostPoints = 1 << 16, kMostValues = 1 << 26, kMostWork = 1 << 28;

[[noreturn]] void wrong(const std::string& why) {
  fail(G4RT_BAD_BUNDLE, "media.audio of g4.json: " + why + ". Compile the bundle again");
}

void check_work(std::int64_t frames, const AudioSpec& spec) {
  if (spec.fft_length > kMostPoints)
    wrong("fft_length is " + grouped(spec.fft_length) + ", and at most " + grouped(kMostPoints) + " is computed");
  if (frames * spec.feature_size > kMostValues || frames * spec.fft_length > kMostWork)
    wrong("hop_length " + grouped(spec.hop_length) + " makes " + grouped(frames) + " frames of this sound, more than " +
          "are computed");
}

// Hann's, periodic.
std::vector<float> window_of(std::int64_t length) {
  std::vector<float> found(static_cast<std::size_t>(length));
  for (std::int64_t i = 0; i < length; ++i) {
    const double angle = std::numbers::pi * static_cast<double>(2 * i - length) / static_cast<double>(length);
    found[static_cast<std::size_t>(i)] = static_cast<float>(0.5 + 0.5 * std::cos(angle));
  }
  return found;
}

// `count` numbers from `first` to `last`, as NumPy's linspace has them.
std::vector<double> evenly(double first, double last, std::int64_t count) {
  std::vector<double> found(static_cast<std::size_t>(count), first);
  if (count < 2) return found;
  const double step = (last - first) / static_cast<double>(count - 1);
  for (std::int64_t i = 1; i < count; ++i) found[static_cast<std::size_t>(i)] = static_cast<double>(i) * step + first;
  found.back() = last;
  return found;
}

double mel_of(double hertz) { return 2595.0 * std::log10(1.0 + hertz / 700.0); }

// A filter: weights of the bins from `first` on.
struct Triangle {
  std::size_t first;
  std::vector<double> weights;
};

// Triangles that are equally wide in mel (HTK's), not normalised.
std::vector<Triangle> triangles_of(const AudioSpec& spec) {
  if (!(spec.min_frequency < spec.max_frequency)) wrong("min_frequency is not below max_frequency");
  std::vector<double> edges = evenly(mel_of(spec.min_frequency), mel_of(spec.max_frequency), spec.feature_size + 2);
  for (double& edge : edges) edge = 700.0 * (std::pow(10.0, edge / 2595.0) - 1.0);
  const std::vector<double> bins = evenly(0, static_cast<double>(spec.sampling_rate / 2), spec.fft_length / 2 + 1);
  std::vector<Triangle> found;
  for (std::size_t m = 0; m + 2 < edges.size(); ++m) {
    const double rise = edges[m + 1] - edges[m], fall = edges[m + 2] - edges[m + 1];
    if (!(rise > 0 && fall > 0)) wrong("feature_size is more than its frequencies have room for");
    const auto begin = std::upper_bound(bins.begin(), bins.end(), edges[m]);
    Triangle triangle{static_cast<std::size_t>(begin - bins.begin()), {}};
    for (auto bin = begin; bin < bins.end() && *bin < edges[m + 2]; ++bin)
      triangle.weights.push_back(std::max(0.0, std::min((*bin - edges[m]) / rise, (edges[m + 2] - *bin) / fall)));
    found.push_back(std::move(triangle));
  }
  return found;
}

}  // namespace

Frames mel_frames(const float* samples, std::size_t count, const AudioSpec& spec) {
  const std::int64_t length = spec.frame_length, hop = spec.hop_length, before = length / 2;
  const auto all = static_cast<std::int64_t>(count);
  // A frame has one sample more than is used, and that one must be of the sound too.
  const std::int64_t room = before + all - length;
  if (room <= 0) {
    const double rate = static_cast<double>(spec.sampling_rate) / 1000;
    fail(G4RT_BAD_ARGUMENT, "the sound is too short: it has " + grouped(all) + " samples, " +
                                tenths(static_cast<double>(all) / rate) + " ms. Give at least " +
                                tenths(static_cast<double>(length + 1 - before) / rate) + " ms");
  }
  const std::int64_t frames = (room + hop - 1) / hop;
  check_work(frames, spec);
  const std::vector<float> window = window_of(length);
  const std::vector<Triangle> triangles = triangles_of(spec);
  RealFft fft(static_cast<std::size_t>(spec.fft_length));
  Frames found;
  found.rows = static_cast<std::size_t>(frames);
  found.columns = static_cast<std::size_t>(spec.feature_size);
  found.tokens = (frames + kFramesOfToken - 1) / kFramesOfToken;
  found.values.reserve(found.rows * found.columns);
  std::vector<double> windowed(static_cast<std::size_t>(spec.fft_length)), magnitudes(fft.bins());
  for (std::int64_t frame = 0; frame < frames; ++frame) {
    const std::int64_t first = frame * hop - before;  // zeros stand before the sound
    for (std::int64_t i = 0; i < std::min(length, spec.fft_length); ++i)
      windowed[static_cast<std::size_t>(i)] =
          first + i < 0 ? 0.0f : samples[first + i] * window[static_cast<std::size_t>(i)];
    fft.magnitudes(windowed.data(), magnitudes.data());
    for (const Triangle& triangle : triangles) {
      double sum = 0;
      for (std::size_t i = 0; i < triangle.weights.size(); ++i)
        sum += magnitudes[triangle.first + i] * triangle.weights[i];
      found.values.push_back(static_cast<float>(std::log(sum + spec.mel_floor)));
    }
  }
  return found;
}

}  // namespace g4::rt
