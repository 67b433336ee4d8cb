// ONNX Runtime as C++: its table of functions, and what it gives out, released when it goes.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "g4/ort_api.h"
#include "g4rt.h"
#include "manifest.h"

namespace g4::rt {

class Ort {
 public:
  // `library`: the file of ONNX Runtime, or empty. One for all models that are open at once. Throws Failure G4RT_MACHINE.
  static std::shared_ptr<const Ort> shared(const std::string& library);
  explicit Ort(const char* library);
  ~Ort();
  Ort(const Ort&) = delete;

  int minor_version() const;  // 27 of 1.27.0
  // Throws Failure (`status`) with ONNX Runtime's words behind `what`. Memory that it did not get is G4RT_MACHINE.
  void check(OrtStatus* result, const std::string& what, g4rt_status status = G4RT_MACHINE) const;

  const OrtApiBase* base;
  ort::Api api;
  OrtEnv* env = nullptr;
  OrtMemoryInfo* memory = nullptr;  // of the CPU
  bool shares_arena = false;        // all graphs take scratch from one arena, which never shrinks
};

// A tensor over memory that it keeps alive.
class Value {
 public:
  Value() = default;
  // Of ONNX Runtime's own memory.
  Value(std::shared_ptr<const Ort> ort, OrtValue* value);
  // Over `data` of `bytes`, held by `owner`.
  Value(std::shared_ptr<const Ort> ort, std::shared_ptr<void> owner, void* data, std::size_t bytes,
        const std::vector<std::int64_t>& shape, ONNXTensorElementDataType type);

  OrtValue* get() const { return value_.get(); }
  explicit operator bool() const { return static_cast<bool>(value_); }
  void* data() const;
  std::vector<std::int64_t> shape() const;

 private:
  std::shared_ptr<const Ort> ort_;
  std::shared_ptr<void> owner_;
  std::shared_ptr<OrtValue> value_;
};

// Throws Failure G4RT_BAD_BUNDLE where `result`, which the words name, has not this shape: ONNX Runtime only warns of a
// result that is not what its graph says.
void check_shape(const Value& result, const std::vector<std::int64_t>& shape, const std::string& name);

// A new tensor of zeros. Throws Failure G4RT_MACHINE without the memory.
Value zeros(const std::shared_ptr<const Ort>& ort, const std::vector<std::int64_t>& shape, ONNXTensorElementDataType type,
            std::size_t number_bytes);
Value integers(const std::shared_ptr<const Ort>& ort, std::vector<std::int64_t> numbers,
               const std::vector<std::int64_t>& shape);

}  // namespace g4::rt
