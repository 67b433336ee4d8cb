// The entry points of include/g4cuda.h.
#include "g4cuda.h"

#include "../last_error.h"
#include "registry.h"

thread_local std::string g4::last_error;

using g4::cuda::Registry;

int g4cuda_version(void) { return G4CUDA_VERSION; }

const char* g4cuda_last_error(void) { return g4::last_error.c_str(); }

int g4cuda_add_kernel(const char* name, const void* image, size_t bytes, const char* entry, uint32_t threads,
                      uint32_t shared, int dependent, const char* grid) {
  return g4::guarded("g4cuda_add_kernel", [&]() -> std::string {
    if (!name || !image || !entry || !grid) return "name, image, entry or grid is missing";
    const char* code = static_cast<const char*>(image);
    Registry::get().add({name, std::vector<char>(code, code + bytes), entry, threads, shared, dependent != 0, grid});
    return "";
  });
}

int g4cuda_load_kernels(void) {
  return g4::guarded("g4cuda_load_kernels", []() -> std::string {
    Registry::get().load();
    return "";
  });
}
