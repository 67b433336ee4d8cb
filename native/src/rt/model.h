// An open bundle: its graphs, which all sessions share, and its tables of text.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "bundle.h"
#include "graph.h"
#include "ort.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace g4::rt {

struct ModelOptions {
  GraphOptions graphs;
  std::int64_t capacity = 0;  // 0: the context
  std::string kv_dtype;       // empty: any
  std::string onnxruntime, ops;  // files; empty: looked for
};

class Model {
 public:
  Model(const std::string& folder, ModelOptions options);

  const Manifest& manifest() const { return bundle_.manifest(); }
  const Bundle& bundle() const { return bundle_; }
  const std::shared_ptr<const Ort>& ort() const { return ort_; }
  const Graph& embed() const { return *embed_; }
  const Graph& decoder() const { return *decoder_; }
  // The encoder of `part`, opened by the first call. Throws Failure G4RT_UNSUPPORTED where the bundle has none.
  const Graph& encoder(const char* part) const;
  std::int64_t capacity() const { return capacity_; }
  bool has_tokenizer() const { return tokenizer_.has_value(); }
  // Throws Failure G4RT_UNSUPPORTED, with the reason, where the bundle has no table of its tokenizer.
  const text::Tokenizer& tokenizer() const;
  // The same of its chat template.
  const ChatTable& chat() const;

 private:
  ModelOptions options_;
  Bundle bundle_;
  std::int64_t capacity_;
  std::shared_ptr<const Ort> ort_;
  std::optional<Graph> embed_, decoder_;
  MappedFile tokenizer_file_;
  std::optional<text::Tokenizer> tokenizer_;
  std::optional<ChatTable> chat_;
  mutable std::mutex opening_;
  mutable std::optional<Graph> vision_, audio_;
};

}  // namespace g4::rt
