// libFuzzer: any bytes as g4.json, as they are and with the own hash mended; and what a manifest that is taken says of
// media, with which sizes are reckoned. Failures are what is expected; what the sanitizers say, an endless call and too
// much memory are not.
#include <cstdint>
#include <string_view>

#include "expected.h"
#include "rt/manifest.h"
#include "rt/media/patches.h"
#include "rt/media/placeholders.h"

namespace {

using namespace g4::rt;

void use(const Manifest& manifest) {
  ++fuzz::taken;
  if (!manifest.graph(kEmbed) || !manifest.graph(kDecoder) || !manifest.files.count(kData)) __builtin_trap();
  std::uint64_t bytes = 0;  // as g4rt_model_facts counts them
  for (const KVLayer& layer : manifest.kv.layers)
    for (const KVPart& part : manifest.kv.parts())
      bytes += static_cast<std::uint64_t>(layer.heads * (part.scale ? 1 : layer.head_dim)) * part.bytes;
  if (!bytes) __builtin_trap();
  if (!manifest.media) return;
  const std::vector<Item> items = {{Kind::kImage, 2}, {Kind::kSound, 1}};
  const std::string text = "a" + manifest.media->image.text + "b" + manifest.media->audio.text;
  fuzz::expect_failures([&] { write_out(text, items, *manifest.media); });
  if (!manifest.media->image_patches) return;
  for (const Size from : {Size{1, 1}, Size{32768, 1}, Size{3, 2000}, Size{8000, 8000}}) {
    const Size to = target_size(from, *manifest.media->image_patches);
    if (to.width <= 0 || to.height <= 0 || pixels_between(from, to) <= 0) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view given(reinterpret_cast<const char*>(data), size);
  fuzz::expect_failures([&] { use(read_manifest(given)); });
  fuzz::expect_failures([&] { use(read_manifest(fuzz::with_own_hash(given))); });
  return 0;
}
