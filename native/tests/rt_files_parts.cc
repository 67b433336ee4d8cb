// Manifests and states for the tests, through C, without a graph that they must fit.
#include <string>
#include <string_view>

#include "rt/failure.h"
#include "rt/manifest.h"
#include "rt/state_file.h"

#if defined(_WIN32)
#define PART extern "C" __declspec(dllexport)
#else
#define PART extern "C" __attribute__((visibility("default")))
#endif

// The status of reading a manifest and, where `state` is not null, a state of its bundle; `*words` of a failure.
PART int files_read(const char* manifest, std::size_t manifest_bytes, const char* state, std::size_t state_bytes,
                    long long capacity, const char** words) {
  using namespace g4::rt;
  thread_local std::string kept;
  const auto failed = [&](int status, const char* why) {
    kept = why;
    *words = kept.c_str();
    return status;
  };
  try {
    const Manifest read = read_manifest(std::string_view(manifest, manifest_bytes));
    if (state) read_state(std::string_view(state, state_bytes), "state", read, capacity);
    return G4RT_OK;
  } catch (const Failure& failure) {
    return failed(failure.status, failure.what());
  } catch (const std::exception& error) {
    return failed(G4RT_DEFECT, error.what());
  }
}
