// Compiles where include/g4/ort_api.h agrees with ONNX Runtime's own header. Not part of the build.
#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

// Opaque types are the same on both sides; what both define gets a namespace and, for the op, a name of its own.
namespace ours {
#define OrtCustomOp OurCustomOp
#include "g4/ort_api.h"
#undef OrtCustomOp
}  // namespace ours
using ours::G4OrtPathChar;

static_assert(ORT_API_VERSION >= G4_ORT_API_VERSION);

// Each entry stands at its index, with its type; ours may leave `noexcept` out.
#define CHECK(index, name, result, arguments)                             \
  static_assert(offsetof(OrtApi, name) == (index) * sizeof(void*), #name); \
  static_assert(std::is_convertible_v<decltype(OrtApi::name), result(ORT_API_CALL*) arguments>, #name);
G4_ORT_ENTRIES(CHECK)
G4_ORT_SESSION_ENTRIES(CHECK)
static_assert(G4_ORT_LATER_API_VERSION >= G4_ORT_API_VERSION);

// A header that is older than an entry does not have it; one that is not older has all.
#define CHECK_IF_THERE(index, name, result, arguments)                                     \
  template <class Table>                                                                   \
  constexpr bool name##_agrees() {                                                         \
    if constexpr (requires { &Table::name; })                                              \
      return offsetof(Table, name) == (index) * sizeof(void*) &&                           \
             std::is_convertible_v<decltype(Table::name), result(ORT_API_CALL*) arguments>; \
    else                                                                                   \
      return ORT_API_VERSION < G4_ORT_LATER_API_VERSION;                                   \
  }                                                                                        \
  static_assert(name##_agrees<OrtApi>(), #name);
G4_ORT_LATER_ENTRIES(CHECK_IF_THERE)

#define SAME(name) static_assert(static_cast<int>(::name) == static_cast<int>(ours::name), #name);
SAME(ORT_FAIL)
SAME(ORT_INVALID_ARGUMENT)
SAME(ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED)
SAME(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
SAME(ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8)
SAME(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8)
SAME(ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16)
SAME(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32)
SAME(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64)
SAME(ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16)
SAME(INPUT_OUTPUT_REQUIRED)
SAME(INPUT_OUTPUT_OPTIONAL)
SAME(OrtMemTypeDefault)
SAME(ORT_LOGGING_LEVEL_ERROR)
SAME(ORT_LOGGING_LEVEL_FATAL)
SAME(ORT_DISABLE_ALL)
SAME(ORT_ENABLE_ALL)
SAME(OrtArenaAllocator)

// A type of ours as theirs: what both define is replaced, wherever it stands in a pointer or a function.
template <class T>
struct Theirs {
  using type = T;
};
template <>
struct Theirs<ours::OurCustomOp> {
  using type = ::OrtCustomOp;
};
template <>
struct Theirs<ours::ONNXTensorElementDataType> {
  using type = ::ONNXTensorElementDataType;
};
template <>
struct Theirs<ours::OrtCustomOpInputOutputCharacteristic> {
  using type = ::OrtCustomOpInputOutputCharacteristic;
};
template <>
struct Theirs<ours::OrtMemType> {
  using type = ::OrtMemType;
};
template <class T>
struct Theirs<const T> {
  using type = const typename Theirs<T>::type;
};
template <class T>
struct Theirs<T*> {
  using type = typename Theirs<T>::type*;
};
template <class Result, class... Arguments>
struct Theirs<Result(Arguments...)> {
  using type = typename Theirs<Result>::type(typename Theirs<Arguments>::type...);
};

// The runtime calls what we put there, so the types are equal.
#define MEMBER_OF(theirs, our, name)                                    \
  static_assert(offsetof(theirs, name) == offsetof(our, name), #name); \
  static_assert(std::is_same_v<decltype(theirs::name), Theirs<decltype(our::name)>::type>, #name);
#define MEMBER(name) MEMBER_OF(::OrtCustomOp, ours::OurCustomOp, name)
MEMBER(version)
MEMBER(CreateKernel)
MEMBER(GetName)
MEMBER(GetExecutionProviderType)
MEMBER(GetInputType)
MEMBER(GetInputTypeCount)
MEMBER(GetOutputType)
MEMBER(GetOutputTypeCount)
MEMBER(KernelCompute)
MEMBER(KernelDestroy)
MEMBER(GetInputCharacteristic)
MEMBER(GetOutputCharacteristic)
MEMBER(GetInputMemoryType)
MEMBER(GetVariadicInputMinArity)
MEMBER(GetVariadicInputHomogeneity)
MEMBER(GetVariadicOutputMinArity)
MEMBER(GetVariadicOutputHomogeneity)
MEMBER(CreateKernelV2)
MEMBER(KernelComputeV2)
MEMBER(InferOutputShapeFn)
MEMBER(GetStartVersion)
MEMBER(GetEndVersion)

static_assert(offsetof(::OrtApiBase, GetApi) == offsetof(ours::OrtApiBase, GetApi));
static_assert(offsetof(::OrtApiBase, GetVersionString) == offsetof(ours::OrtApiBase, GetVersionString));
static_assert(std::is_convertible_v<decltype(::OrtApiBase::GetApi), decltype(ours::OrtApiBase::GetApi)>);
static_assert(
    std::is_convertible_v<decltype(::OrtApiBase::GetVersionString), decltype(ours::OrtApiBase::GetVersionString)>);
