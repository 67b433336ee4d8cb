// Images and sounds.
#include "c_api.h"
#include "media/patches.h"
#include "media/sound.h"

using namespace g4::rt;

namespace {

const MediaSpec& spec_of(const g4rt_model* model, const char* modality) {
  const Manifest& manifest = need(model, "model")->model->manifest();
  if (!manifest.takes(modality) || !manifest.media)
    fail(G4RT_UNSUPPORTED, std::string("this bundle takes no ") + modality + ": where the checkpoint does, compile it with --modalities text," + modality);
  return *manifest.media;
}

}  // namespace

g4rt_status g4rt_image_create(const g4rt_model* model, const uint8_t* rgb, int32_t width, int32_t height, int32_t budget,
                              g4rt_media** media) {
  return guarded([&] {
    *need(media, "media") = nullptr;
    const MediaSpec& spec = spec_of(model, "image");
    Patches made = image_patches(need(rgb, "rgb"), width, height, *spec.image_patches, budget);
    *media = new g4rt_media{model->model,
                            {Kind::kImage, made.tokens, made.rows, made.columns, std::move(made.values), std::move(made.positions)}};
  });
}

g4rt_status g4rt_audio_create(const g4rt_model* model, const float* samples, size_t count, g4rt_media** media) {
  return guarded([&] {
    *need(media, "media") = nullptr;
    const MediaSpec& spec = spec_of(model, "audio");
    Frames made = sound_frames(need(samples, "samples"), count, *spec.sound);
    *media = new g4rt_media{model->model, {Kind::kSound, made.tokens, made.rows, made.columns, std::move(made.values), {}}};
  });
}

void g4rt_media_destroy(g4rt_media* media) { delete media; }

int32_t g4rt_media_tokens(const g4rt_media* media) { return media ? static_cast<int32_t>(media->media.tokens) : 0; }

g4rt_status g4rt_media_values(const g4rt_media* media, const float** values, size_t* rows, size_t* columns,
                              const int64_t** positions) {
  return guarded([&] {
    const Media& found = need(media, "media")->media;
    *need(values, "values") = found.values.data();
    *need(rows, "rows") = found.rows;
    *need(columns, "columns") = found.columns;
    if (positions) *positions = found.positions.empty() ? nullptr : found.positions.data();
  });
}
