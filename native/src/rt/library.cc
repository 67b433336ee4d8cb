#include "library.h"

#include "failure.h"
#include "files.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace g4::rt {
namespace {

#if defined(_WIN32)
using Handle = HMODULE;
Handle load(const std::string& file) {
  return ::LoadLibraryExW(native_path(file).c_str(), nullptr, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
}
std::string why_not() { return "error " + std::to_string(::GetLastError()); }
void* find(Handle handle, const char* symbol) { return reinterpret_cast<void*>(::GetProcAddress(handle, symbol)); }
void* loaded(const LibraryName& library, const char* symbol) {
  const Handle handle = ::GetModuleHandleA(library.file);
  return handle ? find(handle, symbol) : nullptr;
}
std::string own_folder() {
  HMODULE own = nullptr;
  wchar_t file[MAX_PATH];
  DWORD length = 0;
  const DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  const bool known = ::GetModuleHandleExA(flags, reinterpret_cast<LPCSTR>(&own_folder), &own) &&
                     (length = ::GetModuleFileNameW(own, file, MAX_PATH)) < MAX_PATH;
  const std::string found = known ? utf8_path({file, length}) : "";
  return found.substr(0, found.find_last_of("\\/") + 1);
}
#else
using Handle = void*;
Handle load(const std::string& file) { return ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL); }
std::string why_not() {
  const char* words = ::dlerror();
  return words ? words : "no reason is known";
}
void* find(Handle handle, const char* symbol) { return ::dlsym(handle, symbol); }
// RTLD_DEFAULT has what the program was linked to; a library that something else loaded for itself is found by name.
void* loaded(const LibraryName& library, const char* symbol) {
  if (void* found = ::dlsym(RTLD_DEFAULT, symbol)) return found;
  for (const char* name : {library.versioned, library.file}) {
    const Handle handle = name ? ::dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) : nullptr;
    if (void* found = handle ? find(handle, symbol) : nullptr) return found;
  }
  return nullptr;
}
std::string own_folder() {
  Dl_info own;
  if (!::dladdr(reinterpret_cast<void*>(&own_folder), &own) || !own.dli_fname) return "";
  const std::string file = own.dli_fname;
  return file.substr(0, file.rfind('/') + 1);
}
#endif

}  // namespace

#if defined(_WIN32)
const LibraryName kOnnxRuntime{"onnxruntime.dll", nullptr, "onnxruntime"}, kOps{"g4ops.dll", nullptr, "ops"};
#elif defined(__APPLE__)
const LibraryName kOnnxRuntime{"libonnxruntime.dylib", "libonnxruntime.1.dylib", "onnxruntime"};
const LibraryName kOps{"libg4ops.dylib", nullptr, "ops"};
#else
const LibraryName kOnnxRuntime{"libonnxruntime.so", "libonnxruntime.so.1", "onnxruntime"};
const LibraryName kOps{"libg4ops.so", nullptr, "ops"};
#endif

void* library_function(const LibraryName& library, const char* given, const char* symbol) {
  std::string tried;
  const auto attempt = [&](const std::string& file) -> void* {
    const Handle handle = load(file);
    void* found = handle ? find(handle, symbol) : nullptr;
    if (!found) tried += "\n  " + file + ": " + (handle ? "it has no " + std::string(symbol) : why_not());
    return found;
  };
  if (given) {
    if (void* found = attempt(given)) return found;
  } else {
    if (void* found = loaded(library, symbol)) return found;
    for (const std::string& folder : {own_folder(), std::string()})
      for (const char* name : {library.versioned, library.file})
        if (name)
          if (void* found = attempt(folder + name)) return found;
  }
  fail(G4RT_MACHINE, std::string(library.file) + " cannot be loaded: put it beside libg4rt, or name it in `" +
                         library.option + "` of g4rt_options. Tried:" + tried);
}

}  // namespace g4::rt
