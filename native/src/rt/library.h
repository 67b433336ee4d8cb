// Shared libraries that libg4rt loads: ONNX Runtime, and libg4ops.
#pragma once
#include <string>

namespace g4::rt {

struct LibraryName {
  const char* file;       // "libg4ops.so", as this platform has it
  const char* versioned;  // "libonnxruntime.so.1", which is looked for first; or null
  const char* option;     // of g4rt_options
};

extern const LibraryName kOnnxRuntime, kOps;

// The function `symbol` of a library: of the file `given` where it is named; else of one that this process has loaded, the
// file beside libg4rt, or one that the system finds by its name. Throws Failure G4RT_MACHINE that tells what was tried.
// A library stays loaded as long as the process.
void* library_function(const LibraryName& library, const char* given, const char* symbol);

}  // namespace g4::rt
