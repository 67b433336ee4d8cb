// How ONNX Runtime opens a graph.
#pragma once
#include <string>

#include "ort.h"

namespace g4::rt {

class SessionOptions {
 public:
  SessionOptions(const Ort& ort, int threads);
  ~SessionOptions() { ort_.api.ReleaseSessionOptions(options_); }
  SessionOptions(const SessionOptions&) = delete;

  void add_ops(const char* library);  // those of libg4ops, in the file `library`, or null
  void as_it_is();                    // a graph that was optimised before
  void save_to(const std::string& file);
  void set(const char* key, const char* value);
  // Opens a graph. Throws Failure: G4RT_BAD_BUNDLE where ONNX Runtime refuses it, G4RT_MACHINE where that may be its age.
  OrtSession* open(const std::string& file) const;

 private:
  explicit SessionOptions(const Ort& ort);  // made whole, so that its destructor runs where a setting is refused

  const Ort& ort_;
  OrtSessionOptions* options_ = nullptr;
};

}  // namespace g4::rt
