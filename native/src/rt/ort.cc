#include "ort.h"

#include <cstdlib>
#include <mutex>

#include "failure.h"
#include "library.h"

#if defined(G4RT_LINKED_ORT)
extern "C" const OrtApiBase* OrtGetApiBase(void);
#endif

namespace g4::rt {
namespace {

const OrtApiBase* base_of(const char* library) {
#if defined(G4RT_LINKED_ORT)
  (void)library;
  return OrtGetApiBase();
#else
  using Get = const OrtApiBase*(G4_ORT_CALL*)();
  return reinterpret_cast<Get>(library_function(kOnnxRuntime, library, "OrtGetApiBase"))();
#endif
}

const OrtApi* table_of(const OrtApiBase* base) {
  const OrtApi* table = base->GetApi(G4_ORT_API_VERSION);
  if (!table)
    fail(G4RT_MACHINE, std::string("ONNX Runtime ") + base->GetVersionString() + " is too old: libg4rt needs 1." +
                           std::to_string(G4_ORT_API_VERSION) + " or later");
  return table;
}

}  // namespace

std::shared_ptr<const Ort> Ort::shared(const std::string& library) {
  struct Last {
    std::mutex opening;
    std::weak_ptr<const Ort> ort;
    std::string library;
  };
  static Last& last = *new Last;  // never destroyed: a thread may open a model while the process ends
  const std::lock_guard<std::mutex> alone(last.opening);
  std::shared_ptr<const Ort> found = last.ort.lock();
  if (!found || last.library != library) {
    found = std::make_shared<const Ort>(library.empty() ? nullptr : library.c_str());
    last.ort = found;
    last.library = library;
  }
  return found;
}

Ort::Ort(const char* library) : base(base_of(library)), api(table_of(base)) {
  // The environment is one for the process, and its list of allocators has no lock in some versions.
  static std::mutex& one_at_a_time = *new std::mutex;
  const std::lock_guard<std::mutex> alone(one_at_a_time);
  check(api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory), "ONNX Runtime knows no memory of the CPU");
  if (OrtStatus* status = api.CreateEnv(ORT_LOGGING_LEVEL_FATAL, "g4rt", &env)) {
    api.ReleaseMemoryInfo(memory);
    check(status, "ONNX Runtime does not start");
  }
  // A program that has done so itself gets an error here: then graphs have arenas of their own, as without this.
  OrtStatus* refused = api.CreateAndRegisterAllocator(env, memory, static_cast<const OrtArenaCfg*>(nullptr));
  shares_arena = refused == nullptr;
  if (refused) api.ReleaseStatus(refused);
}

int Ort::minor_version() const {
  const std::string version = base->GetVersionString();
  const std::size_t point = version.find('.');
  return point == version.npos ? 0 : static_cast<int>(std::strtol(version.c_str() + point + 1, nullptr, 10));
}

Ort::~Ort() {
  api.ReleaseMemoryInfo(memory);
  api.ReleaseEnv(env);
}

void Ort::check(OrtStatus* result, const std::string& what, g4rt_status status) const {
  if (!result) return;
  const std::string words = api.GetErrorMessage(result);
  api.ReleaseStatus(result);
  const bool memory = words.find("bad allocation") != words.npos || words.find("bad_alloc") != words.npos ||
                      words.find("Failed to allocate memory") != words.npos;
  fail(memory ? G4RT_MACHINE : status, what + ": " + (memory ? "there is not enough memory: " : "") + words);
}

Value::Value(std::shared_ptr<const Ort> ort, OrtValue* value) : ort_(std::move(ort)) {
  value_ = std::shared_ptr<OrtValue>(value, [ort = ort_](OrtValue* gone) { ort->api.ReleaseValue(gone); });
}

Value::Value(std::shared_ptr<const Ort> ort, std::shared_ptr<void> owner, void* data, std::size_t bytes,
             const std::vector<std::int64_t>& shape, ONNXTensorElementDataType type) {
  OrtValue* made = nullptr;
  ort->check(ort->api.CreateTensorWithDataAsOrtValue(ort->memory, data, bytes, shape.data(), shape.size(), type, &made),
             "ONNX Runtime takes no tensor");
  *this = Value(std::move(ort), made);
  owner_ = std::move(owner);
}

void* Value::data() const {
  void* found = nullptr;
  ort_->check(ort_->api.GetTensorMutableData(value_.get(), &found), "ONNX Runtime gives no tensor", G4RT_DEFECT);
  return found;
}

std::vector<std::int64_t> Value::shape() const {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  ort_->check(ort_->api.GetTensorTypeAndShape(value_.get(), &info), "ONNX Runtime tells no shape", G4RT_DEFECT);
  std::size_t rank = 0;
  OrtStatus* status = ort_->api.GetDimensionsCount(info, &rank);
  std::vector<std::int64_t> found(rank);
  if (!status) status = ort_->api.GetDimensions(info, found.data(), rank);
  ort_->api.ReleaseTensorTypeAndShapeInfo(info);
  ort_->check(status, "ONNX Runtime tells no shape", G4RT_DEFECT);
  return found;
}

void check_shape(const Value& result, const std::vector<std::int64_t>& shape, const std::string& name) {
  const std::vector<std::int64_t> found = result.shape();
  if (found == shape) return;
  const auto shown = [](const std::vector<std::int64_t>& sizes) {
    std::string text;
    for (const std::int64_t size : sizes) text += (text.empty() ? "[" : ", ") + std::to_string(size);
    return (text.empty() ? "[" : text) + "]";
  };
  fail(G4RT_BAD_BUNDLE, "a graph gave " + name + " of the shape " + shown(found) + ", not " + shown(shape));
}

Value zeros(const std::shared_ptr<const Ort>& ort, const std::vector<std::int64_t>& shape, ONNXTensorElementDataType type,
            std::size_t number_bytes) {
  std::size_t bytes = number_bytes;
  bool fits = true;  // sizes are those of a file, and a size_t may have 32 bits
  std::string words = std::to_string(number_bytes);
  for (const std::int64_t size : shape) {
    fits = !__builtin_mul_overflow(bytes, size, &bytes) && fits;
    words += " x " + std::to_string(size);
  }
  // calloc: memory that nothing has been written to takes no room yet.
  std::shared_ptr<void> owner(fits ? std::calloc(bytes ? bytes : 1, 1) : nullptr, std::free);
  if (!owner) fail(G4RT_MACHINE, "there is not enough memory for keys or values of " + words + " bytes");
  void* data = owner.get();
  return Value(ort, std::move(owner), data, bytes, shape, type);
}

Value integers(const std::shared_ptr<const Ort>& ort, std::vector<std::int64_t> numbers,
               const std::vector<std::int64_t>& shape) {
  auto owner = std::make_shared<std::vector<std::int64_t>>(std::move(numbers));
  void* data = owner->data();
  const std::size_t bytes = owner->size() * sizeof(std::int64_t);
  return Value(ort, std::move(owner), data, bytes, shape, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64);
}

}  // namespace g4::rt
