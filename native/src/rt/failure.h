// What ends a call of libg4rt: a status and words, thrown inside the library and never out of it.
#pragma once
#include <exception>
#include <string>
#include <utility>

#include "g4rt.h"

namespace g4::rt {

struct Failure : std::exception {
  Failure(g4rt_status status, std::string words) : status(status), words(std::move(words)) {}
  const char* what() const noexcept override { return words.c_str(); }
  g4rt_status status;
  std::string words;
};

[[noreturn]] inline void fail(g4rt_status status, std::string words) { throw Failure(status, std::move(words)); }

}  // namespace g4::rt
