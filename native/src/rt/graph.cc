#include "graph.h"

#include "failure.h"
#include "library.h"
#include "prepacked.h"
#include "session_options.h"

namespace g4::rt {
namespace {

struct Found {
  ONNXTensorElementDataType type;
  std::vector<std::int64_t> shape;
  std::vector<std::string> axes;
};

Found tensor_of(const Ort& ort, OrtTypeInfo* info) {
  Found found{};
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;
  std::size_t rank = 0;
  OrtStatus* status = ort.api.CastTypeInfoToTensorInfo(info, &tensor);
  if (!status && tensor) status = ort.api.GetTensorElementType(tensor, &found.type);
  if (!status && tensor) status = ort.api.GetDimensionsCount(tensor, &rank);
  std::vector<const char*> names(rank);
  found.shape.resize(rank);
  if (!status && tensor) status = ort.api.GetDimensions(tensor, found.shape.data(), rank);
  if (!status && tensor) status = ort.api.GetSymbolicDimensions(tensor, names.data(), rank);
  for (const char* name : names) found.axes.emplace_back(name ? name : "");
  ort.api.ReleaseTypeInfo(info);
  ort.check(status, "ONNX Runtime tells nothing of a tensor", G4RT_BAD_BUNDLE);
  return found;
}

}  // namespace

Graph::Graph(std::shared_ptr<const Ort> ort, const Bundle& bundle, const char* part, const GraphOptions& options)
    : ort_(std::move(ort)), spec_(*bundle.manifest().graph(part)), file_(bundle.file(spec_.file)) {
  bundle.checked(spec_.file);
  SessionOptions how(*ort_, options.threads);
  const auto open = [&](const std::string& file) {
    session_ = std::shared_ptr<OrtSession>(how.open(file), [ort = ort_](OrtSession* gone) { ort->api.ReleaseSession(gone); });
  };
  const bool rearranged = !bundle.manifest().needs("g4ops");  // libg4ops reads panels as they are stored
  if (!rearranged) how.add_ops(options.ops);
  if (!rearranged || options.cache.empty()) {
    open(file_);
  } else {
    how.as_it_is();
    with_prepacked(*ort_, bundle, spec_.file, options.cache, open);
  }
  check_tensors("input", spec_.inputs, false);
  check_tensors("output", spec_.outputs, true);
}

void Graph::check_tensors(const char* kind, const std::vector<Tensor>& said, bool outputs) const {
  const ort::Api& api = ort_->api;
  const auto differs = [&](const std::string& name) {
    fail(G4RT_BAD_BUNDLE, file_ + ": the " + kind + " " + name + " is not what the manifest says of it");
  };
  OrtAllocator* allocator = nullptr;
  ort_->check(api.GetAllocatorWithDefaultOptions(&allocator), "ONNX Runtime has no allocator");
  std::size_t count = 0;
  ort_->check(outputs ? api.SessionGetOutputCount(session_.get(), &count) : api.SessionGetInputCount(session_.get(), &count),
              "ONNX Runtime tells nothing of a graph");
  if (count != said.size()) fail(G4RT_BAD_BUNDLE, file_ + " has " + std::to_string(count) + " " + kind + "s, and the manifest says " + std::to_string(said.size()));
  for (std::size_t i = 0; i < count; ++i) {
    char* text = nullptr;
    ort_->check(outputs ? api.SessionGetOutputName(session_.get(), i, allocator, &text)
                        : api.SessionGetInputName(session_.get(), i, allocator, &text),
                "ONNX Runtime tells no name");
    const std::string name = text;
    OrtStatus* freed = api.AllocatorFree(allocator, static_cast<void*>(text));
    ort_->check(freed, "ONNX Runtime takes no memory back", G4RT_DEFECT);
    OrtTypeInfo* info = nullptr;
    ort_->check(outputs ? api.SessionGetOutputTypeInfo(session_.get(), i, &info)
                        : api.SessionGetInputTypeInfo(session_.get(), i, &info),
                "ONNX Runtime tells no type");
    const Found found = tensor_of(*ort_, info);
    const Tensor* one = nullptr;
    for (const Tensor& tensor : said)
      if (tensor.name == name) one = &tensor;
    if (!one || element_type(one->dtype) != found.type || one->shape != found.shape || one->axes != found.axes) differs(name);
  }
}

bool Graph::reads(const std::string& input) const {
  for (const Tensor& one : spec_.inputs)
    if (one.name == input) return true;
  return false;
}

void Graph::run(const Named& inputs, Named& outputs) const {
  std::vector<const char*> input_names, output_names;
  std::vector<const OrtValue*> given;
  std::vector<OrtValue*> results;
  for (const auto& [name, value] : inputs) input_names.push_back(name.c_str()), given.push_back(value.get());
  for (const auto& [name, value] : outputs) output_names.push_back(name.c_str()), results.push_back(value.get());
  ort_->check(ort_->api.Run(session_.get(), static_cast<const OrtRunOptions*>(nullptr), input_names.data(), given.data(),
                            given.size(), output_names.data(), output_names.size(), results.data()),
              "ONNX Runtime does not run " + file_, G4RT_BAD_BUNDLE);
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (!outputs[i].second) outputs[i].second = Value(ort_, results[i]);
}

}  // namespace g4::rt
