#include "session_options.h"

#include "failure.h"
#include "files.h"
#include "library.h"

#if defined(G4RT_LINKED_OPS)
extern "C" OrtStatus* g4ops_register(OrtSessionOptions* options, const OrtApiBase* base);
#endif

namespace g4::rt {
namespace {

// Of what compiled graphs are made of: 1.24 lacks kernels of opset 24, 1.22 does not read the format.
constexpr int kFirstForAll = 25;

}  // namespace

SessionOptions::SessionOptions(const Ort& ort) : ort_(ort) {
  ort_.check(ort_.api.CreateSessionOptions(&options_), "ONNX Runtime has no options");
}

SessionOptions::SessionOptions(const Ort& ort, int threads) : SessionOptions(ort) {
  ort_.check(ort_.api.SetIntraOpNumThreads(options_, threads), "ONNX Runtime takes no number of threads");
  ort_.check(ort_.api.SetSessionLogSeverityLevel(options_, static_cast<int>(ORT_LOGGING_LEVEL_ERROR)),
             "ONNX Runtime takes no level of messages");
  if (ort_.shares_arena) set("session.use_env_allocators", "1");
}

void SessionOptions::set(const char* key, const char* value) {
  ort_.check(ort_.api.AddSessionConfigEntry(options_, key, value), std::string("ONNX Runtime does not take ") + key);
}

OrtSession* SessionOptions::open(const std::string& file) const {
  OrtSession* session = nullptr;
  const auto path = native_path(file);
  OrtStatus* status = ort_.api.CreateSession(ort_.env, path.c_str(), options_, &session);
  if (ort_.minor_version() >= kFirstForAll) {
    ort_.check(status, "ONNX Runtime does not open " + file, G4RT_BAD_BUNDLE);
  } else {
    ort_.check(status, std::string("ONNX Runtime ") + ort_.base->GetVersionString() + " does not open " + file +
                           ", and is older than 1." + std::to_string(kFirstForAll) + ", which opens all bundles");
  }
  return session;
}

void SessionOptions::add_ops(const char* library) {
  using Register = OrtStatus* (*)(OrtSessionOptions*, const OrtApiBase*);
#if defined(G4RT_LINKED_OPS)
  (void)library;
  const Register found = g4ops_register;
#else
  const auto layout = reinterpret_cast<int (*)()>(library_function(kOps, library, "g4ops_layout_version"))();
  if (layout != 1)
    fail(G4RT_MACHINE, "libg4ops reads weights in layout " + std::to_string(layout) + ", and this libg4rt knows layout 1");
  const auto found = reinterpret_cast<Register>(library_function(kOps, library, "g4ops_register"));
#endif
  ort_.check(found(options_, ort_.base), "ONNX Runtime does not take libg4ops");
}

void SessionOptions::as_it_is() {
  ort_.check(ort_.api.SetSessionGraphOptimizationLevel(options_, ORT_DISABLE_ALL), "ONNX Runtime takes no level");
}

void SessionOptions::save_to(const std::string& file) {
  const auto path = native_path(file);
  ort_.check(ort_.api.SetOptimizedModelFilePath(options_, path.c_str()), "ONNX Runtime does not write " + file);
}

}  // namespace g4::rt
