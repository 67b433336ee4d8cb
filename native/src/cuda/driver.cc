#include "driver.h"

#include <dlfcn.h>

namespace g4::cuda {
namespace {

constexpr const char* kFile = "libcuda.so.1";

template <class Entry>
void find(void* library, const char* name, Entry& entry) {
  entry = reinterpret_cast<Entry>(dlsym(library, name));
  if (!entry)
    throw Failed(std::string(kFile) + " has no " + name + ": the driver is too old, install version 550 or later");
}

}  // namespace

Driver::Driver() {
  void* library = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    throw Failed(std::string(kFile) + " cannot be loaded (" + (why ? why : "no reason is given") +
                 "): install NVIDIA's driver, or give the container its GPUs");
  }
#define G4_CUDA_ENTRY(name, arguments) find(library, #name, name);
  G4_CUDA_ENTRIES(G4_CUDA_ENTRY)
#undef G4_CUDA_ENTRY
}

const Driver& Driver::get() {
  static const Driver driver;
  return driver;
}

void Driver::check(Result result, const char* call, const std::string& what) const {
  if (result == 0) return;
  const char *name = nullptr, *words = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &words);
  throw Failed(std::string(call) + " of " + what + ": " + (name ? name : "error " + std::to_string(result)) +
               (words ? " (" + std::string(words) + ")" : ""));
}

unsigned long long Driver::context() const {
  unsigned long long id = 0;
  check(cuCtxGetId(nullptr, &id), "cuCtxGetId", "the current context: there is none on this thread");
  return id;
}

}  // namespace g4::cuda
