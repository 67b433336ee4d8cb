// What the parts of the driver of libg4rt share: the bundle that it is given, and how it says what is wrong.
#pragma once
#include <atomic>
#include <cstdio>
#include <string>
#include <vector>

#include "g4rt.hpp"

namespace g4::test {

inline std::atomic<int> wrong{0};

inline void expect(bool right, const char* what, const char* file, int line) {
  if (!right && ++wrong <= 50) std::printf("WRONG %s:%d: %s (last error: %s)\n", file, line, what, g4rt_last_error());
}

#define EXPECT(condition) ::g4::test::expect((condition), #condition, __FILE__, __LINE__)
// A call that gives a status other than 0, with words that contain `text`.
#define REFUSED(call, expected, text)                                                                   \
  ::g4::test::expect((call) == (expected) && std::string(g4rt_last_error()).find(text) != std::string::npos, \
                     #call " gives " #expected ": " text, __FILE__, __LINE__)

struct Given {
  std::string bundle, onnxruntime, ops, scratch;  // scratch: a folder that is empty

  g4rt_options options() const {
    g4rt_options found{};
    found.threads = 1;
    found.onnxruntime = onnxruntime.c_str();
    found.ops = ops.c_str();
    return found;
  }
};

using Ids = std::vector<std::int32_t>;

inline Ids prompt(const g4rt_facts& facts, std::size_t count) {
  Ids ids;
  for (std::size_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(i * 37 + 11) % (facts.vocab_size / 2) + 3);
  return ids;
}

// The tokens of an answer behind `ids`.
inline Ids answer(g4rt::Session& session, const Ids& ids, const g4rt::Answer& how) {
  Ids found;
  session.generate(ids, [&](std::int32_t id, std::string_view) {
    if (id >= 0) found.push_back(id);
    return true;
  }, how);
  return found;
}

inline std::vector<std::uint8_t> picture(int width, int height) {
  std::vector<std::uint8_t> rgb;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int colour = 0; colour < 3; ++colour) rgb.push_back(static_cast<std::uint8_t>(x * 7 + y * 13 + colour * 50));
  return rgb;
}

inline std::vector<float> wave(int count) {
  std::vector<float> samples;
  for (int i = 0; i < count; ++i) samples.push_back(static_cast<float>(i * 37 % 200 - 100) / 400.0f);
  return samples;
}

constexpr int kWidth = 64, kHeight = 48, kBudget = 70, kSamples = 6000;

// The media that a bundle takes, and a text with their placeholders.
struct Mixed {
  Mixed(const g4rt::Model& model, const g4rt_facts& facts) : text("See") {
    if (facts.image) add(g4rt::Media::image(model, picture(kWidth, kHeight).data(), kWidth, kHeight, kBudget), " <|image|>");
    if (facts.audio) add(g4rt::Media::audio(model, wave(kSamples).data(), kSamples), " hear <|audio|>");
    for (const g4rt::Media& one : held) media.push_back(&one);
    text += " now.";
  }
  void add(g4rt::Media one, const char* words) {
    held.push_back(std::move(one));
    text += words;
  }
  std::vector<g4rt::Media> held;
  g4rt::MediaList media;
  std::string text;
};

void answers(const Given& given);   // prints them, for a comparison with Python's
void refusals(const Given& given);  // NULL everywhere, and values out of range
void threads(const Given& given);
void files(const Given& given);     // cut and changed

}  // namespace g4::test
