// What libg4rt knows of media, without the library: for tests/native/rt/test_media.py, which calls it by ctypes. Every
// call returns a status of g4rt.h; what it made is in `Made`, one for each thread, until the next call.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "rt/failure.h"
#include "rt/media/feeds.h"
#include "rt/media/patches.h"
#include "rt/media/placeholders.h"
#include "rt/media/resize.h"
#include "rt/media/sound.h"

namespace {

using namespace g4::rt;

struct Made {
  std::vector<std::uint8_t> bytes;
  std::vector<float> values;
  std::vector<std::int64_t> integers;
  std::string text;  // of a result or of a failure
  std::size_t rows = 0, columns = 0;
  std::int64_t tokens = 0;
};

thread_local Made made;

template <class Call>
int called(Call call) {
  made = {};
  try {
    call();
    return G4RT_OK;
  } catch (const Failure& failure) {
    made.text = failure.words;
    return failure.status;
  }
}

std::vector<Item> items(const std::int64_t* kinds, const std::int64_t* tokens, std::size_t count) {
  std::vector<Item> found;
  for (std::size_t i = 0; i < count; ++i) found.push_back({kinds[i] ? Kind::kSound : Kind::kImage, tokens[i]});
  return found;
}

MediaSpec tokens_of_gemma() {
  MediaSpec spec;
  spec.image = {"<|image|>", 1002};
  spec.video = {"<|video|>", 1007};
  spec.audio = {"<|audio|>", 1005};
  spec.boi = "<|image>", spec.eoi = "<image|>", spec.boa = "<|audio>", spec.eoa = "<audio|>";
  return spec;
}

void keep(const std::vector<std::int64_t>& numbers) {
  made.integers.insert(made.integers.end(), numbers.begin(), numbers.end());
}

}  // namespace

#define G4_TEST extern "C" __attribute__((visibility("default")))

G4_TEST const char* made_text(std::size_t* bytes) {
  *bytes = made.text.size();
  return made.text.data();
}
G4_TEST std::size_t made_bytes(std::uint8_t* to) {
  if (to) std::copy(made.bytes.begin(), made.bytes.end(), to);
  return made.bytes.size();
}
G4_TEST std::size_t made_values(float* to, std::size_t* columns, std::int64_t* tokens) {
  if (to) std::copy(made.values.begin(), made.values.end(), to);
  *columns = made.columns;
  *tokens = made.tokens;
  return made.rows;
}
G4_TEST std::size_t made_integers(std::int64_t* to) {
  if (to) std::copy(made.integers.begin(), made.integers.end(), to);
  return made.integers.size();
}

G4_TEST int media_resize(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, std::int64_t to_width,
                         std::int64_t to_height) {
  return called([&] { made.bytes = resize(rgb, {width, height}, {to_width, to_height}); });
}

// `spec`: the four numbers of PatchSpec.
G4_TEST int media_target_size(std::int64_t width, std::int64_t height, const std::int64_t* spec) {
  return called([&] {
    const Size size = target_size({width, height}, {spec[0], spec[1], spec[2], spec[3]});
    keep({size.height, size.width});
  });
}

G4_TEST int media_patches(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, const std::int64_t* spec,
                          std::int64_t budget) {
  return called([&] {
    Patches found = image_patches(rgb, width, height, {spec[0], spec[1], spec[2], spec[3]}, budget);
    made.values = std::move(found.values);
    made.integers = std::move(found.positions);
    made.rows = found.rows, made.columns = found.columns, made.tokens = found.tokens;
  });
}

// `integers`: sampling_rate, max_samples, frame_length, hop_length, fft_length, feature_size, audio_samples_per_token;
// `doubles`: min_frequency, max_frequency, mel_floor.
G4_TEST int media_sound(const float* samples, std::size_t count, int mel, const std::int64_t* integers,
                        const double* doubles) {
  return called([&] {
    const std::int64_t* n = integers;
    const AudioSpec spec{mel != 0, n[0], n[1], n[2], n[3], n[4], n[5], doubles[0], doubles[1], doubles[2], n[6]};
    Frames found = sound_frames(samples, count, spec);
    made.values = std::move(found.values);
    made.rows = found.rows, made.columns = found.columns, made.tokens = found.tokens;
  });
}

// Kinds are 0 for images and 1 for sounds.
G4_TEST int media_write_out(const char* text, std::size_t bytes, const std::int64_t* kinds, const std::int64_t* tokens,
                            std::size_t count) {
  return called([&] { made.text = write_out({text, bytes}, items(kinds, tokens, count), tokens_of_gemma()); });
}

G4_TEST int media_check_written_out(const std::int32_t* ids, std::size_t length, const std::int64_t* kinds,
                                    const std::int64_t* tokens, std::size_t count) {
  return called([&] { check_written_out(ids, length, items(kinds, tokens, count), tokens_of_gemma()); });
}

// The places of all items behind each other, then those that are seen.
G4_TEST int media_places(const std::int32_t* ids, std::size_t length, const std::int64_t* kinds,
                         const std::int64_t* tokens, std::size_t count) {
  return called([&] {
    const Places found = places_of(ids, length, items(kinds, tokens, count), tokens_of_gemma());
    for (const auto& places : found.items) keep(places);
    keep(found.seen);
  });
}

G4_TEST int media_blocks(const std::int64_t* places, std::size_t count, std::int64_t length, std::int64_t tokens) {
  return called([&] {
    const Blocks found = blocks({places, places + count}, length, tokens);
    keep(found.starts);
    keep(found.ends);
  });
}

G4_TEST int media_pieces(const std::int64_t* ends, std::size_t count, std::int64_t chunk) {
  return called([&] {
    for (const Piece& piece : pieces({ends, ends + count}, chunk)) keep({piece.start, piece.stop});
  });
}
