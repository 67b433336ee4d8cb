// What g4.json says of a bundle for ONNX Runtime on the CPU: docs/manifest.md, as far as this runtime reads it.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "g4/ort_api.h"
#include "media/spec.h"

namespace g4::rt {

struct Tensor {
  std::string name;
  std::string dtype;                // "float", "bfloat16", "int8", "int32", "int64"
  std::vector<std::int64_t> shape;  // -1: dynamic
  std::vector<std::string> axes;    // names of dynamic sizes, else empty
};

struct GraphSpec {
  std::string name, file, part;
  std::vector<Tensor> inputs, outputs;
};

// A tensor of each layer, as graphs name it behind `past_key_values.N.` and `present.N.`
struct KVPart {
  const char* name;
  const char* dtype;
  ONNXTensorElementDataType type;
  std::size_t bytes;  // of a number
  bool scale;         // one number a token and head, not head_dim
};

struct KVLayer {
  std::int64_t layer, heads, head_dim;
  std::int64_t window, keep;  // 0: a full layer
  std::int64_t slots;         // of a ring; 0 where a layer is none
  bool in_place() const { return keep == 0 || slots != 0; }

  // Numbers of a token and head, and bytes of a token. Sizes are those that a manifest may have: the product fits.
  std::int64_t width(const KVPart& part) const { return part.scale ? 1 : head_dim; }
  std::int64_t bytes(const KVPart& part) const { return heads * width(part) * static_cast<std::int64_t>(part.bytes); }
};

struct KVSpec {
  std::string dtype;  // "float32", "bfloat16", "int8"
  std::int64_t rewind = 0;
  std::vector<KVLayer> layers;
  const std::vector<KVPart>& parts() const;
};

struct FileSpec {
  std::uint64_t bytes;
  std::string sha256;
};

struct Manifest {
  std::string target, sha256;
  std::int64_t context, vocab_size, bos_token_id, pad_token_id;
  std::vector<std::int32_t> stop_token_ids;
  std::vector<std::string> requires_words, modalities;
  KVSpec kv;
  std::vector<GraphSpec> graphs;
  std::map<std::string, FileSpec> files;
  std::optional<MediaSpec> media;
  std::string tokenizer, chat;                    // files of tables; empty where there is none
  std::map<std::string, std::string> no_table;    // "tokenizer", "chat" -> why there is none

  bool needs(std::string_view word) const;
  bool takes(std::string_view modality) const;
  const GraphSpec* graph(std::string_view part) const;  // null where there is none
};

inline constexpr const char *kManifest = "g4.json", *kData = "weights.data";
inline constexpr const char *kEmbed = "embed", *kDecoder = "decoder", *kVision = "vision", *kAudio = "audio";
inline constexpr const char *kPast = "past_key_values.", *kPresent = "present.";

// The manifest of `bytes`, after the checks 1 to 7 of docs/bundle.md. Throws Failure: G4RT_UNSUPPORTED for a bundle of
// another target, or that needs what this runtime does not know; G4RT_BAD_BUNDLE with the field that is wrong.
Manifest read_manifest(std::string_view bytes);

// The dtype of a graph's input or output for ONNX Runtime.
ONNXTensorElementDataType element_type(const std::string& dtype);

}  // namespace g4::rt
