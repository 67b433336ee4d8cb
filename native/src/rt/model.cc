#include "model.h"

#include <cstring>

#include "failure.h"

namespace g4::rt {
namespace {

constexpr int kMostThreads = 1024;

[[noreturn]] void no_table(const Manifest& manifest, const char* kind, const char* fix) {
  const auto why = manifest.no_table.find(kind);
  fail(G4RT_UNSUPPORTED, std::string("this bundle has no table of the ") + kind + " for C: " +
                             (why == manifest.no_table.end() ? "the checkpoint had none when it was compiled" : why->second) + ": " + fix);
}

}  // namespace

Model::Model(const std::string& folder, ModelOptions options) : options_(std::move(options)), bundle_(folder) {
  const Manifest& found = manifest();
  const int threads = options_.graphs.threads;
  if (threads < 0 || threads > kMostThreads)
    fail(G4RT_BAD_ARGUMENT, "threads is " + std::to_string(threads) + ", not from 0 to " + std::to_string(kMostThreads));
  if (options_.capacity < 0 || options_.capacity > found.context)
    fail(G4RT_BAD_ARGUMENT, "capacity is " + std::to_string(options_.capacity) + ", not from 0 to the context of this bundle, " +
                                std::to_string(found.context));
  const std::string& dtype = options_.kv_dtype;
  if (!dtype.empty() && dtype != "float32" && dtype != "bfloat16" && dtype != "int8")
    fail(G4RT_BAD_ARGUMENT, "kv_dtype is " + dtype + ", and none of float32, bfloat16, int8");
  if (!options_.kv_dtype.empty() && options_.kv_dtype != found.kv.dtype)
    fail(G4RT_UNSUPPORTED, "this bundle keeps keys and values as " + found.kv.dtype + ", not as " + options_.kv_dtype +
                               ": compile it with --kv " + options_.kv_dtype);
  capacity_ = options_.capacity ? options_.capacity : found.context;
  ort_ = Ort::shared(options_.onnxruntime);
  options_.graphs.ops = options_.ops.empty() ? nullptr : options_.ops.c_str();
  GraphOptions lookups = options_.graphs;
  lookups.threads = 1;       // a few rows
  lookups.cache.clear();     // and nothing to rearrange
  embed_.emplace(ort_, bundle_, kEmbed, lookups);
  decoder_.emplace(ort_, bundle_, kDecoder, options_.graphs);
  if (!found.tokenizer.empty()) {
    tokenizer_file_ = bundle_.checked(found.tokenizer);
    tokenizer_.emplace(tokenizer_file_.bytes(), found.vocab_size);
  }
  if (!found.chat.empty()) chat_.emplace(bundle_.checked(found.chat).bytes());
}

const text::Tokenizer& Model::tokenizer() const {
  if (!tokenizer_) no_table(manifest(), "tokenizer", "give token ids");
  return *tokenizer_;
}

const ChatTable& Model::chat() const {
  if (!chat_) no_table(manifest(), "chat", "give the prompt as it is");
  return *chat_;
}

const Graph& Model::encoder(const char* part) const {
  const std::lock_guard<std::mutex> alone(opening_);
  std::optional<Graph>& graph = std::strcmp(part, kVision) == 0 ? vision_ : audio_;
  if (!manifest().graph(part))
    fail(G4RT_UNSUPPORTED, std::string("this bundle has no encoder of the part ") + part + ": compile it with --modalities");
  if (!graph) graph.emplace(ort_, bundle_, part, options_.graphs);
  return *graph;
}

}  // namespace g4::rt
