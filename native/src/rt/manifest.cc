#include "manifest.h"

#include <algorithm>
#include <unordered_set>

#include "consistency.h"
#include "failure.h"
#include "field.h"
#include "sha256.h"

namespace g4::rt {
namespace {

constexpr std::int64_t kCount = std::int64_t{1} << 31, kBytes = std::int64_t{1} << 50;
constexpr std::int64_t kVersion = 3;
constexpr std::size_t kMostValues = 1 << 20;  // four times those of the largest; a file of 16 MiB could have 8 million

struct Word {
  const char* word;
  bool here;  // whether this runtime does it
};
// docs/manifest.md, "What a runtime must understand".
constexpr Word kWords[] = {{"weight-steps", false}, {"host-tables", false}, {"ring-kv", true}, {"tensor-parallel", false},
                           {"bfloat16-kv", true},   {"int8-kv", true},      {"onnxruntime-ops", true}, {"g4ops", true},
                           {"g4cuda", false},       {"image-blocks", true}, {"panels-1", true},
                           {"onnxruntime-genai", false}};

void check_version(const Field& root) {
  const Field version = root.at("manifest_version");
  const std::int64_t found = version.integer(0, kCount);
  if (found != kVersion)
    fail(G4RT_UNSUPPORTED, "the bundle has manifest version " + std::to_string(found) + ", and this libg4rt reads version " +
                               std::to_string(kVersion) + ": " +
                               (found > kVersion ? "update libg4rt" : "compile the bundle again"));
}

// Other targets are named before the words that they require: who reads the error wants to know which bundle it is.
void check_target(const Field& root) {
  const std::string& target = root.at("target").text(64);
  if (root.at("engine").given() || root.at("cuda").given())
    fail(G4RT_UNSUPPORTED, "this is a bundle of the target " + target +
                               ", which libg4rt does not run: compile it for onnx-cpu or onnx-mobile");
  for (const Field& one : root.at("requires").items()) {
    const std::string& word = one.text(64);
    const auto known = std::find_if(std::begin(kWords), std::end(kWords), [&](const Word& w) { return w.word == word; });
    if (known == std::end(kWords) || !known->here)
      fail(G4RT_UNSUPPORTED, "this bundle of the target " + target + " needs " + word + ", which this libg4rt does not " +
                                 (known == std::end(kWords) ? "know: update libg4rt" : "do"));
  }
}

// docs/bundle.md: the hash is taken with zeros in the place of its digits.
std::string own_hash(std::string_view bytes) {
  static constexpr std::string_view kName = "\"manifest_sha256\"", kSpaces = " \t\r\n";
  const auto wrong = [](const std::string& why) { fail(G4RT_BAD_BUNDLE, "g4.json is not what was written: " + why); };
  std::size_t digits = 0;
  int times = 0;
  for (std::size_t at = bytes.find(kName); at != bytes.npos; at = bytes.find(kName, at + 1)) {
    std::size_t next = bytes.find_first_not_of(kSpaces, at + kName.size());
    if (next == bytes.npos || bytes[next] != ':') continue;
    next = bytes.find_first_not_of(kSpaces, next + 1);
    if (next == bytes.npos || bytes[next] != '"' || bytes.size() - next < 66 || bytes[next + 65] != '"') continue;
    if (bytes.substr(next + 1, 64).find_first_not_of("0123456789abcdef") != bytes.npos) continue;
    digits = next + 1;
    ++times;
  }
  if (times != 1) wrong("its field manifest_sha256 stands " + std::to_string(times) + " times in it, not once");
  Sha256 sum;
  sum.put(bytes.substr(0, digits));
  sum.put(std::string(64, '0'));
  sum.put(bytes.substr(digits + 64));
  const std::string found = hex(sum.digest());
  if (found != bytes.substr(digits, 64)) wrong("the SHA-256 of its bytes is not the one in its field manifest_sha256");
  return found;
}

std::string plain_name(const Field& field, const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find_first_of(std::string_view("/\\:\0", 4)) != name.npos)
    field.wrong("names " + name.substr(0, 100) + ", which is not the plain name of a file in the bundle");
  return name;
}

std::vector<Tensor> tensors(const Field& field) {
  std::vector<Tensor> found;
  std::unordered_set<std::string> names;  // not a search through `found`: a file of 16 MiB would take minutes
  for (const Field& one : field.items()) {
    Tensor tensor{one.at("name").text(), one.at("dtype").word({"float", "bfloat16", "int8", "int32", "int64"}), {}, {}};
    for (const Field& size : one.at("shape").items()) {
      tensor.shape.push_back(size.is_text() ? -1 : size.integer(1, kCount));
      tensor.axes.push_back(size.is_text() ? size.text() : "");
    }
    if (!names.insert(tensor.name).second) one.wrong("has the name " + tensor.name + ", as another one");
    found.push_back(std::move(tensor));
  }
  return found;
}

KVSpec read_kv(const Field& field) {
  KVSpec kv{field.at("dtype").word({"float32", "bfloat16", "int8"}), field.at("rewind").integer(0, kCount), {}};
  for (const Field& one : field.at("layers").items()) {
    KVLayer layer{one.at("layer").integer(0, 65535), one.at("heads").integer(1, 1024),
                  one.at("head_dim").integer(1, 16384), 0, 0, 0};
    const bool sliding = one.at("kind").word({"full_attention", "sliding_attention"}) == "sliding_attention";
    for (const auto& [name, to] : {std::pair{"window", &layer.window}, {"keep", &layer.keep}, {"slots", &layer.slots}}) {
      if (one.at(name).given()) *to = one.at(name).integer(1, kCount);
      const bool optional = to == &layer.slots;
      if (optional ? *to && !sliding : (*to != 0) != sliding) one.wrong("has not the kind that its " + std::string(name) + " tells");
    }
    check_layer(one, layer, kv, one.at("bytes_per_token").integer(0, kBytes));
    kv.layers.push_back(layer);
  }
  if (kv.layers.empty()) field.wrong("has no layers");
  return kv;
}

void read_graphs(const Field& root, Manifest& to) {
  std::unordered_set<std::string> parts;
  for (const auto& [name, one] : root.at("graphs").entries()) {
    if (one.at("variant").given()) one.at("variant").word({"any"});
    if (one.at("rank").given()) one.at("rank").integer(0, 0);
    GraphSpec graph{name, plain_name(one, one.at("file").text()), one.at("part").text(), tensors(one.at("inputs")),
                    tensors(one.at("outputs"))};
    if (!parts.insert(graph.part).second) one.wrong("is of the part " + graph.part + ", as another graph");
    to.graphs.push_back(std::move(graph));
  }
}

void read_files(const Field& root, Manifest& to) {
  for (const auto& [name, one] : root.at("files").entries()) {
    const std::string& digits = one.at("sha256").text(64);
    if (digits.size() != 64 || digits.find_first_not_of("0123456789abcdef") != digits.npos)
      one.at("sha256").wrong("is no SHA-256 of 64 digits");
    to.files[plain_name(one, name)] = {static_cast<std::uint64_t>(one.at("bytes").integer(0, kBytes)), digits};
  }
}

void read_tables(const Field& root, Manifest& to) {
  const Field tables = root.at("text_tables");
  if (!tables.given()) return;
  for (const auto& [name, file] : {std::pair{"tokenizer", &to.tokenizer}, {"chat", &to.chat}})
    if (tables.at(name).given()) *file = plain_name(tables.at(name), tables.at(name).text());
  if (tables.at("refused").given())
    for (const auto& [name, why] : tables.at("refused").entries()) to.no_table[name] = why.text();
}

}  // namespace

Manifest read_manifest(std::string_view bytes) {
  const json::Value parsed = json::parse(bytes, kManifest, G4RT_BAD_BUNDLE, {.values = kMostValues});
  const Field root(&parsed, "");
  if (!parsed.object()) fail(G4RT_BAD_BUNDLE, "g4.json is no JSON object");
  check_version(root);
  check_target(root);
  Manifest found;
  found.sha256 = own_hash(bytes);
  found.target = root.at("target").text();
  found.context = root.at("context").integer(1, kCount - 1);
  found.vocab_size = root.at("vocab_size").integer(1, kCount - 1);
  found.bos_token_id = root.at("bos_token_id").integer(0, found.vocab_size - 1);
  found.pad_token_id = root.at("pad_token_id").integer(0, found.vocab_size - 1);
  for (const Field& one : root.at("stop_token_ids").items())
    found.stop_token_ids.push_back(static_cast<std::int32_t>(one.integer(0, found.vocab_size - 1)));
  for (const Field& one : root.at("requires").items()) found.requires_words.push_back(one.text());
  for (const Field& one : root.at("modalities").items()) found.modalities.push_back(one.text());
  found.kv = read_kv(root.at("parts").at(kDecoder).at("kv"));
  read_graphs(root, found);
  read_files(root, found);
  read_tables(root, found);
  if (root.at("media").given()) found.media = read_media(root.at("media"), found.vocab_size);
  check_consistent(found);
  return found;
}

bool Manifest::needs(std::string_view word) const {
  return std::find(requires_words.begin(), requires_words.end(), word) != requires_words.end();
}

bool Manifest::takes(std::string_view modality) const {
  return std::find(modalities.begin(), modalities.end(), modality) != modalities.end();
}

const GraphSpec* Manifest::graph(std::string_view part) const {
  for (const GraphSpec& one : graphs)
    if (one.part == part) return &one;
  return nullptr;
}

const std::vector<KVPart>& KVSpec::parts() const {
  static const std::vector<KVPart> float32{{"key", "float", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4, false},
                                           {"value", "float", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4, false}};
  static const std::vector<KVPart> bfloat16{{"key", "bfloat16", ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, 2, false},
                                            {"value", "bfloat16", ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16, 2, false}};
  static const std::vector<KVPart> int8{{"key", "int8", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, 1, false},
                                        {"key_scale", "float", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4, true},
                                        {"value", "int8", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, 1, false},
                                        {"value_scale", "float", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4, true}};
  return dtype == "float32" ? float32 : dtype == "bfloat16" ? bfloat16 : int8;
}

ONNXTensorElementDataType element_type(const std::string& dtype) {
  return dtype == "float"      ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
         : dtype == "bfloat16" ? ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16
         : dtype == "int8"     ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8
         : dtype == "int32"    ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32
                               : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
}

}  // namespace g4::rt
