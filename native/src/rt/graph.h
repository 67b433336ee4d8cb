// A graph of a bundle, opened with ONNX Runtime.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bundle.h"
#include "ort.h"

namespace g4::rt {

struct GraphOptions {
  int threads = 0;                // 0: ONNX Runtime decides
  const char* ops = nullptr;      // the file of libg4ops, or null
  std::string cache;              // a folder for rearranged weights; empty for none
};

class Graph {
 public:
  // The graph of `part`. Throws Failure: G4RT_BAD_BUNDLE where ONNX Runtime refuses it, its content has changed, or its
  // inputs and outputs are not those of the manifest; G4RT_MACHINE without a library that it needs.
  Graph(std::shared_ptr<const Ort> ort, const Bundle& bundle, const char* part, const GraphOptions& options);

  using Named = std::vector<std::pair<std::string, Value>>;
  // Runs it. `outputs`: where results are written; those without a value get memory, and are values then. May be called
  // from several threads. Throws Failure G4RT_MACHINE, or G4RT_BAD_BUNDLE.
  void run(const Named& inputs, Named& outputs) const;

  bool reads(const std::string& input) const;

 private:
  void check_tensors(const char* kind, const std::vector<Tensor>& said, bool outputs) const;

  std::shared_ptr<const Ort> ort_;
  const GraphSpec spec_;
  std::string file_;
  std::shared_ptr<OrtSession> session_;
};

}  // namespace g4::rt
