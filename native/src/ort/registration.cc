#include "registration.h"

#include <cstring>
#include <exception>
#include <string>

namespace g4::ort {
namespace {

// ONNX Runtime reads the domain until the last session is gone, and no one says when that is: it is never released.
struct Domain {
  Domain(const Api& api, const Library& library) {
    status = api.CreateCustomOpDomain("g4", &domain);
    for (const OrtCustomOp* op : library.ops())
      if (!status) status = api.CustomOpDomain_Add(domain, op);
  }

  OrtCustomOpDomain* domain = nullptr;
  OrtStatus* status = nullptr;
};

}  // namespace

OrtCustomOp blank_op() {
  OrtCustomOp op;
  std::memset(&op, 0, sizeof op);
  op.version = G4_ORT_API_VERSION;  // of the members that our declaration has
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };  // the CPU
  op.GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return OrtMemTypeDefault; };
  op.GetVariadicInputMinArity = op.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
  op.GetVariadicInputHomogeneity = op.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 1; };
  op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
  op.GetEndVersion = [](const OrtCustomOp*) { return INT32_MAX; };
  return op;
}

OrtStatus* register_ops(OrtSessionOptions* options, const OrtApiBase* base, const Library& library) {
  const OrtApi* table = base->GetApi(library.api_version);
  const std::string name = library.name;
  // An older runtime gives no table. It cannot take a status from us either: version 1 makes one.
  if (!table) {
    const std::string needs = name + " needs ONNX Runtime 1." + std::to_string(library.api_version) + " or later";
    return Api(base->GetApi(1)).CreateStatus(ORT_FAIL, needs.c_str());
  }
  const Api api(table);
  try {
    static const Domain domain(api, library);  // a library calls this with nothing but itself
    if (domain.status) return api.CreateStatus(ORT_FAIL, (name + ": the ops of domain g4 could not be made").c_str());
    return api.AddCustomOpDomain(options, domain.domain);
  } catch (const std::exception& error) {
    return api.CreateStatus(ORT_FAIL, error.what());
  }
}

}  // namespace g4::ort
