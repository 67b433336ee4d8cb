/* The part of ONNX Runtime's C API that the libraries use, declared here so that building needs none of its headers.
 *
 * OrtApi is a table of function pointers that only grows: an entry never moves. Each entry used is named with its
 * index. libg4ops and libg4rt ask for the table as version G4_ORT_API_VERSION, which is that of the newest of
 * G4_ORT_ENTRIES and G4_ORT_SESSION_ENTRIES: they load in ONNX Runtime 1.17 and later. libg4cuda uses G4_ORT_LATER_ENTRIES too, and asks for version
 * G4_ORT_LATER_API_VERSION. A test compares every entry, type and number with the header of a later version; what is
 * newer than the header at hand is left to the tests that call it. */
#ifndef G4_ORT_API_H
#define G4_ORT_API_H
#include <stddef.h>
#include <stdint.h>

#define G4_ORT_API_VERSION 17       /* KernelContext_ParallelFor */
#define G4_ORT_LATER_API_VERSION 25 /* KernelInfoGetAttributeArray_string */

#if defined(_WIN32)
#define G4_ORT_CALL __stdcall
typedef wchar_t G4OrtPathChar;
#else
#define G4_ORT_CALL
typedef char G4OrtPathChar;
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct OrtStatus OrtStatus;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtValue OrtValue;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtShapeInferContext OrtShapeInferContext;
typedef struct OrtCustomOp OrtCustomOp;
typedef struct OrtApi OrtApi;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtArenaCfg OrtArenaCfg;

typedef enum OrtLoggingLevel { ORT_LOGGING_LEVEL_ERROR = 3, ORT_LOGGING_LEVEL_FATAL = 4 } OrtLoggingLevel;

typedef enum GraphOptimizationLevel { ORT_DISABLE_ALL = 0, ORT_ENABLE_ALL = 99 } GraphOptimizationLevel;

typedef enum OrtAllocatorType { OrtArenaAllocator = 1 } OrtAllocatorType;

typedef enum OrtErrorCode { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 } OrtErrorCode;

typedef enum ONNXTensorElementDataType {
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED = 0, /* of an operand: any */
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 = 2,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8 = 3,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16 = 4,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 = 6,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 = 7,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 = 16
} ONNXTensorElementDataType;

typedef enum OrtCustomOpInputOutputCharacteristic {
  INPUT_OUTPUT_REQUIRED = 0,
  INPUT_OUTPUT_OPTIONAL = 1
} OrtCustomOpInputOutputCharacteristic;

typedef enum OrtMemType { OrtMemTypeDefault = 0 } OrtMemType;

/* Index, name, and type of each entry that is used. */
#define G4_ORT_ENTRIES(ENTRY)                                                                                          \
  ENTRY(0, CreateStatus, OrtStatus*, (OrtErrorCode code, const char* message))                                         \
  ENTRY(2, GetErrorMessage, const char*, (const OrtStatus* status))                                                    \
  ENTRY(26, CreateCustomOpDomain, OrtStatus*, (const char* name, OrtCustomOpDomain** out))                             \
  ENTRY(27, CustomOpDomain_Add, OrtStatus*, (OrtCustomOpDomain * domain, const OrtCustomOp* op))                       \
  ENTRY(28, AddCustomOpDomain, OrtStatus*, (OrtSessionOptions * options, OrtCustomOpDomain* domain))                   \
  ENTRY(51, GetTensorMutableData, OrtStatus*, (OrtValue * value, void** out))                                          \
  ENTRY(60, GetTensorElementType, OrtStatus*,                                                                          \
        (const OrtTensorTypeAndShapeInfo* info, enum ONNXTensorElementDataType* out))                                  \
  ENTRY(61, GetDimensionsCount, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, size_t* out))                      \
  ENTRY(62, GetDimensions, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, int64_t* values, size_t count))         \
  ENTRY(65, GetTensorTypeAndShape, OrtStatus*, (const OrtValue* value, OrtTensorTypeAndShapeInfo** out))               \
  ENTRY(75, AllocatorAlloc, OrtStatus*, (OrtAllocator * allocator, size_t bytes, void** out))                          \
  ENTRY(76, AllocatorFree, OrtStatus*, (OrtAllocator * allocator, void* data))                                         \
  ENTRY(78, GetAllocatorWithDefaultOptions, OrtStatus*, (OrtAllocator * *out))                                         \
  ENTRY(85, KernelInfoGetAttribute_float, OrtStatus*, (const OrtKernelInfo* info, const char* name, float* out))       \
  ENTRY(86, KernelInfoGetAttribute_int64, OrtStatus*, (const OrtKernelInfo* info, const char* name, int64_t* out))     \
  ENTRY(87, KernelInfoGetAttribute_string, OrtStatus*,                                                                 \
        (const OrtKernelInfo* info, const char* name, char* out, size_t* size))                                        \
  ENTRY(88, KernelContext_GetInputCount, OrtStatus*, (const OrtKernelContext* context, size_t* out))                   \
  ENTRY(89, KernelContext_GetOutputCount, OrtStatus*, (const OrtKernelContext* context, size_t* out))                  \
  ENTRY(90, KernelContext_GetInput, OrtStatus*,                                                                        \
        (const OrtKernelContext* context, size_t index, const OrtValue** out))                                         \
  ENTRY(91, KernelContext_GetOutput, OrtStatus*,                                                                       \
        (OrtKernelContext * context, size_t index, const int64_t* dims, size_t count, OrtValue** out))                 \
  ENTRY(93, ReleaseStatus, void, (OrtStatus * status))                                                                 \
  ENTRY(99, ReleaseTensorTypeAndShapeInfo, void, (OrtTensorTypeAndShapeInfo * info))                                   \
  ENTRY(132, ReleaseAllocator, void, (OrtAllocator * allocator))                                                       \
  ENTRY(193, KernelContext_GetGPUComputeStream, OrtStatus*, (const OrtKernelContext* context, void** out))             \
  ENTRY(230, KernelInfo_GetInputCount, OrtStatus*, (const OrtKernelInfo* info, size_t* out))                           \
  ENTRY(231, KernelInfo_GetOutputCount, OrtStatus*, (const OrtKernelInfo* info, size_t* out))                          \
  ENTRY(232, KernelInfo_GetInputName, OrtStatus*, (const OrtKernelInfo* info, size_t index, char* out, size_t* size))  \
  ENTRY(233, KernelInfo_GetOutputName, OrtStatus*,                                                                     \
        (const OrtKernelInfo* info, size_t index, char* out, size_t* size))                                            \
  ENTRY(244, KernelInfo_GetNodeName, OrtStatus*, (const OrtKernelInfo* info, char* out, size_t* size))                 \
  ENTRY(249, KernelInfoGetConstantInput_tensor, OrtStatus*,                                                            \
        (const OrtKernelInfo* info, size_t index, int* is_constant, const OrtValue** out))                             \
  ENTRY(274, KernelContext_ParallelFor, OrtStatus*,                                                                    \
        (const OrtKernelContext* context, void (*task)(void*, size_t), size_t total, size_t batches, void* argument))

#define G4_ORT_LATER_ENTRIES(ENTRY)                                                                                    \
  ENTRY(278, KernelInfoGetAllocator, OrtStatus*,                                                                       \
        (const OrtKernelInfo* info, OrtMemType type, OrtAllocator** out))                                              \
  ENTRY(414, GetTensorElementTypeAndShapeDataReference, OrtStatus*,                                                    \
        (const OrtValue* value, enum ONNXTensorElementDataType* type, const int64_t** dims, size_t* count))            \
  ENTRY(417, KernelInfoGetAttributeArray_string, OrtStatus*,                                                           \
        (const OrtKernelInfo* info, const char* name, OrtAllocator* allocator, char*** out, size_t* size))

/* What runs a graph. */
#define G4_ORT_SESSION_ENTRIES(ENTRY)                                                                                  \
  ENTRY(1, GetErrorCode, OrtErrorCode, (const OrtStatus* status))                                                      \
  ENTRY(3, CreateEnv, OrtStatus*, (OrtLoggingLevel level, const char* name, OrtEnv** out))                             \
  ENTRY(7, CreateSession, OrtStatus*,                                                                                  \
        (const OrtEnv* env, const G4OrtPathChar* file, const OrtSessionOptions* options, OrtSession** out))            \
  ENTRY(9, Run, OrtStatus*,                                                                                            \
        (OrtSession * session, const OrtRunOptions* options, const char* const* input_names,                           \
         const OrtValue* const* inputs, size_t input_count, const char* const* output_names, size_t output_count,      \
         OrtValue** outputs))                                                                                          \
  ENTRY(10, CreateSessionOptions, OrtStatus*, (OrtSessionOptions * *out))                                              \
  ENTRY(11, SetOptimizedModelFilePath, OrtStatus*, (OrtSessionOptions * options, const G4OrtPathChar* file))           \
  ENTRY(22, SetSessionLogSeverityLevel, OrtStatus*, (OrtSessionOptions * options, int level))                          \
  ENTRY(23, SetSessionGraphOptimizationLevel, OrtStatus*,                                                              \
        (OrtSessionOptions * options, GraphOptimizationLevel level))                                                   \
  ENTRY(24, SetIntraOpNumThreads, OrtStatus*, (OrtSessionOptions * options, int threads))                              \
  ENTRY(30, SessionGetInputCount, OrtStatus*, (const OrtSession* session, size_t* out))                                \
  ENTRY(31, SessionGetOutputCount, OrtStatus*, (const OrtSession* session, size_t* out))                               \
  ENTRY(33, SessionGetInputTypeInfo, OrtStatus*, (const OrtSession* session, size_t index, OrtTypeInfo** out))         \
  ENTRY(34, SessionGetOutputTypeInfo, OrtStatus*, (const OrtSession* session, size_t index, OrtTypeInfo** out))        \
  ENTRY(36, SessionGetInputName, OrtStatus*,                                                                           \
        (const OrtSession* session, size_t index, OrtAllocator* allocator, char** out))                                \
  ENTRY(37, SessionGetOutputName, OrtStatus*,                                                                          \
        (const OrtSession* session, size_t index, OrtAllocator* allocator, char** out))                                \
  ENTRY(49, CreateTensorWithDataAsOrtValue, OrtStatus*,                                                                \
        (const OrtMemoryInfo* info, void* data, size_t bytes, const int64_t* shape, size_t rank,                       \
         ONNXTensorElementDataType type, OrtValue** out))                                                              \
  ENTRY(55, CastTypeInfoToTensorInfo, OrtStatus*, (const OrtTypeInfo* info, const OrtTensorTypeAndShapeInfo** out))    \
  ENTRY(63, GetSymbolicDimensions, OrtStatus*,                                                                         \
        (const OrtTensorTypeAndShapeInfo* info, const char** names, size_t count))                                     \
  ENTRY(69, CreateCpuMemoryInfo, OrtStatus*, (enum OrtAllocatorType type, enum OrtMemType memory, OrtMemoryInfo** out)) \
  ENTRY(92, ReleaseEnv, void, (OrtEnv * env))                                                                          \
  ENTRY(94, ReleaseMemoryInfo, void, (OrtMemoryInfo * info))                                                           \
  ENTRY(95, ReleaseSession, void, (OrtSession * session))                                                              \
  ENTRY(96, ReleaseValue, void, (OrtValue * value))                                                                    \
  ENTRY(98, ReleaseTypeInfo, void, (OrtTypeInfo * info))                                                               \
  ENTRY(100, ReleaseSessionOptions, void, (OrtSessionOptions * options))                                               \
  ENTRY(130, AddSessionConfigEntry, OrtStatus*, (OrtSessionOptions * options, const char* key, const char* value))     \
  ENTRY(144, CreateAndRegisterAllocator, OrtStatus*,                                                                   \
        (OrtEnv * env, const OrtMemoryInfo* info, const OrtArenaCfg* arena))

typedef struct OrtApiBase {
  const OrtApi*(G4_ORT_CALL* GetApi)(uint32_t version);
  const char*(G4_ORT_CALL* GetVersionString)(void);
} OrtApiBase;

/* An op, as ONNX Runtime 1.17 and later read it; later ones read `version` and leave newer members alone. */
struct OrtCustomOp {
  uint32_t version;
  void*(G4_ORT_CALL* CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char*(G4_ORT_CALL* GetName)(const OrtCustomOp*);
  const char*(G4_ORT_CALL* GetExecutionProviderType)(const OrtCustomOp*);
  ONNXTensorElementDataType(G4_ORT_CALL* GetInputType)(const OrtCustomOp*, size_t index);
  size_t(G4_ORT_CALL* GetInputTypeCount)(const OrtCustomOp*);
  ONNXTensorElementDataType(G4_ORT_CALL* GetOutputType)(const OrtCustomOp*, size_t index);
  size_t(G4_ORT_CALL* GetOutputTypeCount)(const OrtCustomOp*);
  void(G4_ORT_CALL* KernelCompute)(void* kernel, OrtKernelContext*);
  void(G4_ORT_CALL* KernelDestroy)(void* kernel);
  OrtCustomOpInputOutputCharacteristic(G4_ORT_CALL* GetInputCharacteristic)(const OrtCustomOp*, size_t index);
  OrtCustomOpInputOutputCharacteristic(G4_ORT_CALL* GetOutputCharacteristic)(const OrtCustomOp*, size_t index);
  OrtMemType(G4_ORT_CALL* GetInputMemoryType)(const OrtCustomOp*, size_t index);
  int(G4_ORT_CALL* GetVariadicInputMinArity)(const OrtCustomOp*);
  int(G4_ORT_CALL* GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int(G4_ORT_CALL* GetVariadicOutputMinArity)(const OrtCustomOp*);
  int(G4_ORT_CALL* GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus*(G4_ORT_CALL* CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void** kernel);
  OrtStatus*(G4_ORT_CALL* KernelComputeV2)(void* kernel, OrtKernelContext*);
  OrtStatus*(G4_ORT_CALL* InferOutputShapeFn)(const OrtCustomOp*, OrtShapeInferContext*);
  int(G4_ORT_CALL* GetStartVersion)(const OrtCustomOp*);
  int(G4_ORT_CALL* GetEndVersion)(const OrtCustomOp*);
};

#ifdef __cplusplus
}

namespace g4::ort {

/* The entries, called by name: Api(table).CreateStatus(...). */
class Api {
 public:
  explicit Api(const OrtApi* table) : entries_(reinterpret_cast<void* const*>(table)) {}

#define G4_ORT_ENTRY(index, name, result, arguments)                        \
  static constexpr size_t name##_index = index;                             \
  using name##_type = result(G4_ORT_CALL*) arguments;                       \
  template <class... Arguments>                                             \
  result name(Arguments... given) const {                                   \
    return reinterpret_cast<name##_type>(entries_[index])(given...);        \
  }
  G4_ORT_ENTRIES(G4_ORT_ENTRY)
  G4_ORT_SESSION_ENTRIES(G4_ORT_ENTRY)
  G4_ORT_LATER_ENTRIES(G4_ORT_ENTRY)
#undef G4_ORT_ENTRY

 private:
  void* const* entries_;
};

}  // namespace g4::ort
#endif
#endif
