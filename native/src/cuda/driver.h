// The part of NVIDIA's driver that launches need: libcuda.so.1, loaded when it is first asked for. No header of CUDA is
// read, so types and numbers stand here as CUDA's documentation of the driver API has them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace g4::cuda {

// What the driver refuses, with the name of its error. Not `Wrong`: the node and its plan may be right.
struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Function = struct CUfunc_st*;
using Module = struct CUmod_st*;
using Result = int;

struct LaunchAttribute {  // CUlaunchAttribute
  int id;
  int pad;
  int value;
  char rest[60];
};

struct LaunchConfig {  // CUlaunchConfig
  unsigned grid[3], block[3], shared;
  void* stream;
  LaunchAttribute* attributes;
  unsigned count;
};

#define G4_CUDA_ENTRIES(ENTRY)                                                                                       \
  ENTRY(cuGetErrorName, (Result result, const char** name))                                                          \
  ENTRY(cuGetErrorString, (Result result, const char** words))                                                       \
  ENTRY(cuCtxGetId, (void* context, unsigned long long* id))                                                         \
  ENTRY(cuModuleLoadData, (Module * module, const void* image))                                                      \
  ENTRY(cuModuleGetFunction, (Function * function, Module module, const char* name))                                 \
  ENTRY(cuFuncSetAttribute, (Function function, int attribute, int value))                                           \
  ENTRY(cuFuncGetParamInfo, (Function function, std::size_t index, std::size_t* offset, std::size_t* size))          \
  ENTRY(cuFuncLoad, (Function function))                                                                             \
  ENTRY(cuLaunchKernel, (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,     \
                         unsigned block_y, unsigned block_z, unsigned shared, void* stream, void** arguments,        \
                         void** extra))                                                                              \
  ENTRY(cuLaunchKernelEx, (const LaunchConfig* config, Function function, void** arguments, void** extra))

class Driver {
 public:
  // Throws Failed where there is no libcuda.so.1, or one that is too old; a later call looks again.
  static const Driver& get();

  // Throws Failed where `result` is an error: "`call` of `what`: CUDA_ERROR_.. (its words)".
  void check(Result result, const char* call, const std::string& what) const;
  // The context that is current on this thread, by its number, which is of no other one of the process.
  unsigned long long context() const;

#define G4_CUDA_ENTRY(name, arguments) Result(*name) arguments;
  G4_CUDA_ENTRIES(G4_CUDA_ENTRY)
#undef G4_CUDA_ENTRY

 private:
  Driver();
};

}  // namespace g4::cuda
