#include "consistency.h"

#include <set>

#include "failure.h"

namespace g4::rt {
namespace {

struct Expected {
  std::string dtype;
  std::vector<std::int64_t> shape;  // -1: dynamic
};
using ExpectedTensors = std::map<std::string, Expected>;

[[noreturn]] void contradicts(const std::string& what) {
  fail(G4RT_BAD_BUNDLE, "g4.json contradicts itself: " + what);
}

std::string shown(const std::string& dtype, const std::vector<std::int64_t>& shape) {
  std::string text = dtype + "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("?") : std::to_string(shape[i]));
  return text + "]";
}

void check_tensors(const std::string& kind, const std::vector<Tensor>& declared, const ExpectedTensors& expected) {
  std::set<std::string> seen;
  for (const Tensor& one : declared) {
    const auto wanted = expected.find(one.name);
    if (wanted == expected.end()) contradicts(one.name + ", " + kind + ", is not one that such a graph has");
    if (one.dtype != wanted->second.dtype || one.shape != wanted->second.shape)
      contradicts(one.name + ", " + kind + ", is " + shown(one.dtype, one.shape) + ", and by the other fields " +
                  shown(wanted->second.dtype, wanted->second.shape));
    seen.insert(one.name);
  }
  for (const auto& [name, wanted] : expected)
    if (!seen.count(name)) contradicts(name + ", " + kind + ", is not there");
}

ExpectedTensors kv_tensors(const KVSpec& kv, const char* begin, bool growing) {
  ExpectedTensors found;
  for (const KVLayer& layer : kv.layers)
    for (const KVPart& part : kv.parts())
      found[begin + std::to_string(layer.layer) + "." + part.name] = {
          part.dtype, {-1, layer.heads, growing || !layer.slots ? -1 : layer.slots, layer.width(part)}};
  return found;
}

void check_decoder(const Manifest& manifest, const GraphSpec& embed, const GraphSpec& decoder) {
  const bool growing = manifest.needs("image-blocks");
  ExpectedTensors inputs = kv_tensors(manifest.kv, kPast, growing), outputs = kv_tensors(manifest.kv, kPresent, growing);
  for (const Tensor& one : embed.outputs) inputs[one.name] = {one.dtype, one.shape};
  inputs["position_ids"] = {"int64", {-1, -1}};
  inputs["num_logits_to_keep"] = {"int64", {}};
  outputs["logits"] = {"float", {-1, -1, manifest.vocab_size}};
  bool reads_ends = false;
  for (const Tensor& one : decoder.inputs)
    if (one.name == "block_starts" || one.name == "block_ends") {
      reads_ends |= one.name == "block_ends";
      if (growing) inputs[one.name] = {"int64", {-1, -1}};
    }
  if (growing && !reads_ends) contradicts("requires has image-blocks, and decoder does not read block_ends");
  check_tensors("an input of embed", embed.inputs, {{"input_ids", {"int64", {-1, -1}}}});
  check_tensors("an input of decoder", decoder.inputs, inputs);
  check_tensors("an output of decoder", decoder.outputs, outputs);
  // Features take the place of its rows.
  if (embed.outputs.empty() || embed.outputs.front().name != "inputs_embeds" || embed.outputs.front().dtype != "float" ||
      embed.outputs.front().shape.size() != 3 || embed.outputs.front().shape.back() < 1)
    contradicts("inputs_embeds is not the first output of embed, float with three axes and a width");
}

void check_encoder(const Manifest& manifest, const char* modality, const char* part, const ExpectedTensors& inputs,
                   bool described) {
  const GraphSpec* graph = manifest.graph(part);
  if (manifest.takes(modality) != (graph != nullptr) || described != (graph != nullptr))
    contradicts(std::string("modalities, the graphs and media do not agree on whether ") + modality + " is taken");
  if (!graph) return;
  const Tensor& embeds = manifest.graph(kEmbed)->outputs.front();
  check_tensors(std::string("an input of ") + part, graph->inputs, inputs);
  check_tensors(std::string("an output of ") + part, graph->outputs,
                {{std::string(modality) + "_features", {embeds.dtype, {-1, embeds.shape.back()}}}});
}

// What the bundle uses must be named, so that a runtime that does not know it refuses it.
void check_words(const Manifest& manifest) {
  bool rings = false;
  for (const KVLayer& layer : manifest.kv.layers) rings |= layer.slots != 0;
  const bool bfloat16 = manifest.kv.dtype == "bfloat16", int8 = manifest.kv.dtype == "int8";
  for (const auto& [word, used] : {std::pair{"ring-kv", rings}, {"bfloat16-kv", bfloat16}, {"int8-kv", int8}, {"g4ops", rings || bfloat16}})
    if (used && !manifest.needs(word)) contradicts(std::string("requires does not have ") + word);
}

void check_files(const Manifest& manifest) {
  const auto need = [&](const std::string& name, const std::string& why) {
    if (!manifest.files.count(name)) contradicts("files does not have " + name + ", where " + why + " stands");
  };
  for (const GraphSpec& one : manifest.graphs) need(one.file, "the graph " + one.name);
  need(kData, "the bundle's weights");
  if (!manifest.tokenizer.empty()) need(manifest.tokenizer, "the table of the tokenizer");
  if (!manifest.chat.empty()) need(manifest.chat, "the table of the chat template");
}

}  // namespace

void check_layer(const Field& field, const KVLayer& layer, const KVSpec& kv, std::int64_t bytes_per_token) {
  if (!kv.layers.empty() && kv.layers.back().layer >= layer.layer)
    field.wrong("has the number " + std::to_string(layer.layer) + ", which does not ascend");
  if (layer.keep && layer.keep < layer.window - 1 + kv.rewind)
    field.wrong("keeps " + std::to_string(layer.keep) + " tokens, fewer than its window and the rewind see");
  if (layer.slots && layer.slots <= layer.keep)
    field.wrong("has " + std::to_string(layer.slots) + " slots, no more than the tokens that it keeps");
  std::int64_t bytes = 0;
  for (const KVPart& part : kv.parts()) bytes += layer.bytes(part);
  if (bytes != bytes_per_token)
    field.wrong("has " + std::to_string(bytes_per_token) + " bytes a token, and its heads have " + std::to_string(bytes));
}

MediaSpec read_media(const Field& field, std::int64_t vocab_size) {
  MediaSpec spec;
  const Field tokens = field.at("tokens");
  for (const auto& [name, to] : {std::pair{"image", &spec.image}, {"video", &spec.video}, {"audio", &spec.audio}}) {
    to->text = tokens.at(name).at("text").text(64);
    if (to->text.empty()) tokens.at(name).wrong("has no text");
    // What the bundle does not take may have an id beyond a small vocabulary; it is then among no ids.
    const std::int64_t id = tokens.at(name).at("id").integer(0, std::int64_t{1} << 31);
    to->id = id < vocab_size ? static_cast<std::int32_t>(id) : -1;
    if (to->id < 0 && field.at(name).given()) tokens.at(name).wrong("has an id beyond the vocabulary");
  }
  for (const auto& [name, to] : {std::pair{"boi", &spec.boi}, {"eoi", &spec.eoi}, {"boa", &spec.boa}, {"eoa", &spec.eoa}})
    *to = tokens.at(name).text(64);
  if (const Field image = field.at("image"); image.given())
    spec.image_patches = PatchSpec{image.at("patch_size").integer(1, 1024), image.at("pooling_kernel_size").integer(1, 64),
                                   image.at("max_soft_tokens").integer(1, 1120), image.at("positions").integer(1, 1 << 20)};
  if (const Field sound = field.at("audio"); sound.given()) {
    const std::int64_t most = 1 << 24;
    AudioSpec audio{};
    audio.mel = sound.at("type").word({"mel", "wave"}) == "mel";
    audio.sampling_rate = sound.at("sampling_rate").integer(1000, 384000);
    audio.max_samples = sound.at("max_samples").integer(1, most);
    if (audio.mel) {
      audio.frame_length = sound.at("frame_length").integer(1, most);
      audio.hop_length = sound.at("hop_length").integer(1, most);
      audio.fft_length = sound.at("fft_length").integer(1, most);
      audio.feature_size = sound.at("feature_size").integer(1, 4096);
      audio.min_frequency = sound.at("min_frequency").number(0, 192000);
      audio.max_frequency = sound.at("max_frequency").number(0, 192000);
      audio.mel_floor = sound.at("mel_floor").number(1e-300, 1);
    } else {
      audio.audio_samples_per_token = sound.at("audio_samples_per_token").integer(1, most);
    }
    spec.sound = audio;
  }
  return spec;
}

void check_consistent(const Manifest& manifest) {
  const GraphSpec *embed = manifest.graph(kEmbed), *decoder = manifest.graph(kDecoder);
  if (!embed || !decoder) contradicts(std::string("the bundle has no graph of the part ") + (embed ? kDecoder : kEmbed));
  check_words(manifest);
  check_decoder(manifest, *embed, *decoder);
  const bool image = manifest.media && manifest.media->image_patches, audio = manifest.media && manifest.media->sound;
  const std::int64_t pixels = image ? 3 * manifest.media->image_patches->patch_size * manifest.media->image_patches->patch_size : 0;
  const std::int64_t features = !audio                       ? 0
                                : manifest.media->sound->mel ? manifest.media->sound->feature_size
                                                             : manifest.media->sound->audio_samples_per_token;
  check_encoder(manifest, "image", kVision,
                {{"pixel_values", {"float", {-1, pixels}}}, {"pixel_position_ids", {"int64", {-1, 2}}}}, image);
  check_encoder(manifest, "audio", kAudio, {{"input_features", {"float", {-1, features}}}}, audio);
  check_files(manifest);
}

}  // namespace g4::rt
