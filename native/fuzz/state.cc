// libFuzzer: any bytes as the file of a state, as they are, and with the digest of the manifest and the sum mended.
// Failures are what is expected; what the sanitizers say, an endless call and too much memory are not.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "expected.h"
#include "rt/manifest.h"
#include "rt/state_file.h"

namespace {

using namespace g4::rt;

// A ring, a sliding layer that is none, and two full layers, with keys and values of int8.
constexpr std::string_view kManifestText = R"json({"manifest_version":3,"target":"onnx-cpu","requires":["ring-kv","int8-kv","g4ops"],
"context":12,"vocab_size":4,"bos_token_id":2,"pad_token_id":0,"stop_token_ids":[1],"modalities":["text"],
"parts":{"decoder":{"kv":{"dtype":"int8","rewind":2,"layers":[
{"layer":0,"kind":"sliding_attention","heads":2,"head_dim":4,"window":3,"keep":4,"bytes_per_token":32,"slots":6},
{"layer":1,"kind":"full_attention","heads":1,"head_dim":8,"window":null,"keep":null,"bytes_per_token":24},
{"layer":2,"kind":"sliding_attention","heads":1,"head_dim":4,"window":3,"keep":4,"bytes_per_token":16,"slots":null},
{"layer":3,"kind":"full_attention","heads":1,"head_dim":4,"window":null,"keep":null,"bytes_per_token":16}]}}},
"graphs":{
"embed":{"file":"e","part":"embed","inputs":[{"name":"input_ids","dtype":"int64","shape":["b","s"]}],
"outputs":[{"name":"inputs_embeds","dtype":"float","shape":["b","s",8]}]},
"decoder":{"file":"d","part":"decoder","inputs":[
{"name":"inputs_embeds","dtype":"float","shape":["b","s",8]},
{"name":"position_ids","dtype":"int64","shape":["b","s"]},{"name":"num_logits_to_keep","dtype":"int64","shape":[]},
{"name":"past_key_values.0.key","dtype":"int8","shape":["b",2,6,4]},{"name":"past_key_values.0.key_scale","dtype":"float","shape":["b",2,6,1]},
{"name":"past_key_values.0.value","dtype":"int8","shape":["b",2,6,4]},{"name":"past_key_values.0.value_scale","dtype":"float","shape":["b",2,6,1]},
{"name":"past_key_values.1.key","dtype":"int8","shape":["b",1,"t",8]},{"name":"past_key_values.1.key_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"past_key_values.1.value","dtype":"int8","shape":["b",1,"t",8]},{"name":"past_key_values.1.value_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"past_key_values.2.key","dtype":"int8","shape":["b",1,"t",4]},{"name":"past_key_values.2.key_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"past_key_values.2.value","dtype":"int8","shape":["b",1,"t",4]},{"name":"past_key_values.2.value_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"past_key_values.3.key","dtype":"int8","shape":["b",1,"t",4]},{"name":"past_key_values.3.key_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"past_key_values.3.value","dtype":"int8","shape":["b",1,"t",4]},{"name":"past_key_values.3.value_scale","dtype":"float","shape":["b",1,"t",1]}],
"outputs":[{"name":"logits","dtype":"float","shape":["b","k",4]},
{"name":"present.0.key","dtype":"int8","shape":["b",2,6,4]},{"name":"present.0.key_scale","dtype":"float","shape":["b",2,6,1]},
{"name":"present.0.value","dtype":"int8","shape":["b",2,6,4]},{"name":"present.0.value_scale","dtype":"float","shape":["b",2,6,1]},
{"name":"present.1.key","dtype":"int8","shape":["b",1,"t",8]},{"name":"present.1.key_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"present.1.value","dtype":"int8","shape":["b",1,"t",8]},{"name":"present.1.value_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"present.2.key","dtype":"int8","shape":["b",1,"t",4]},{"name":"present.2.key_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"present.2.value","dtype":"int8","shape":["b",1,"t",4]},{"name":"present.2.value_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"present.3.key","dtype":"int8","shape":["b",1,"t",4]},{"name":"present.3.key_scale","dtype":"float","shape":["b",1,"t",1]},
{"name":"present.3.value","dtype":"int8","shape":["b",1,"t",4]},{"name":"present.3.value_scale","dtype":"float","shape":["b",1,"t",1]}]}},
"files":{"e":{"bytes":1,"sha256":"0000000000000000000000000000000000000000000000000000000000000000"},
"d":{"bytes":1,"sha256":"0000000000000000000000000000000000000000000000000000000000000000"},
"weights.data":{"bytes":1,"sha256":"0000000000000000000000000000000000000000000000000000000000000000"}},
"manifest_sha256":"0000000000000000000000000000000000000000000000000000000000000000"})json";

const Manifest& manifest() {
  static const Manifest read = read_manifest(fuzz::with_own_hash(kManifestText));
  return read;
}

void use(std::string_view bytes, std::int64_t capacity) {
  fuzz::expect_failures([&] {
    const State state = read_state(bytes, "state", manifest(), capacity);
    ++fuzz::taken;
    if (state.tokens < 0 || state.tokens > capacity) __builtin_trap();
    if (!state.logits.empty() && state.logits.size() != 4 * sizeof(float)) __builtin_trap();
    std::size_t sum = state.logits.size();
    for (const StateTensor& one : state.tensors) {  // all of it is there, and read
      const auto expected = static_cast<std::size_t>(one.bytes());
      if (one.data.size() != expected || one.held > state.tokens || one.slots < one.held) __builtin_trap();
      sum += std::string(one.data).size();
    }
    if (sum >= bytes.size()) __builtin_trap();
  });
}

// With the digest of the manifest, and the sum of what it is.
std::string mended(std::string_view given) {
  static constexpr std::size_t kDigest = 16, kSum = 32;
  std::string made(given);
  if (made.size() < kDigest + 2 * kSum) return made;
  for (std::size_t i = 0; i < kSum; ++i)
    made[kDigest + i] = static_cast<char>(std::stoi(manifest().sha256.substr(2 * i, 2), nullptr, 16));
  Sha256 sum;
  sum.put(std::string_view(made).substr(0, made.size() - kSum));
  const auto digest = sum.digest();
  std::memcpy(made.data() + made.size() - kSum, digest.data(), kSum);
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view given(reinterpret_cast<const char*>(data), size);
  use(given, manifest().context);
  const std::string whole = mended(given);
  use(whole, manifest().context);
  use(whole, 4);
  return 0;
}
