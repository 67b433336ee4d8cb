// Errors of a C API: a status, and words for the thread that called.
#pragma once
#include <exception>
#include <string>

namespace g4 {

extern thread_local std::string last_error;  // of this thread

// Runs `body`, which returns "" or what is wrong.
template <class Body>
int guarded(const char* name, const Body& body) {
  try {
    std::string wrong = body();
    if (wrong.empty()) return 0;
    last_error = std::string(name) + ": " + wrong;
  } catch (const std::exception& error) {
    last_error = std::string(name) + ": " + error.what();
  }
  return -1;
}

}  // namespace g4
