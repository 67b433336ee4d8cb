// How a library gives its ops to ONNX Runtime: an op with what all have in common, and the domain g4 with all of them.
#pragma once
#include <cstdint>
#include <vector>

#include "g4/ort_api.h"

#if defined(_WIN32)
#define G4_ORT_EXPORT __declspec(dllexport)
#else
#define G4_ORT_EXPORT __attribute__((visibility("default")))
#endif

namespace g4::ort {

// An op for the CPU with required operands, without a name, operands, and what makes and runs its kernels.
OrtCustomOp blank_op();

struct Library {
  const char* name;
  std::uint32_t api_version;  // of ONNX Runtime's table: 17 is that of ONNX Runtime 1.17
  std::vector<const OrtCustomOp*> (*ops)();
};

// What RegisterCustomOps does. A status where ONNX Runtime is too old or takes something not.
OrtStatus* register_ops(OrtSessionOptions* options, const OrtApiBase* base, const Library& library);

}  // namespace g4::ort
