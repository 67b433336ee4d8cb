// What fuzzers share: failures are what is expected of malformed input, and the own hash that damage would stop at.
#pragma once
#include <cstring>
#include <string>
#include <string_view>

#include "rt/failure.h"
#include "rt/sha256.h"

namespace g4::rt::fuzz {

// Inputs, or mended ones, that were taken: `replay` tells it, so that a test sees that seeds are whole.
inline std::size_t taken = 0;

// Runs `call`. A Failure is expected, with words, and as no defect.
template <typename Call>
void expect_failures(Call call) {
  try {
    call();
  } catch (const Failure& failure) {
    if (failure.status == G4RT_DEFECT || failure.words.empty()) __builtin_trap();
  }
}

// `bytes` of a manifest with the hash of what they are, where the field stands in them. So a fuzzer gets past the hash.
inline std::string with_own_hash(std::string_view bytes) {
  static constexpr std::string_view kField = "\"manifest_sha256\":";
  std::string made(bytes);
  const std::size_t field = made.find(kField);
  if (field == made.npos) return made;
  const std::size_t digits = made.find('"', field + kField.size()) + 1;
  if (digits == 0 || made.size() - digits < 64) return made;
  made.replace(digits, 64, 64, '0');
  made.replace(digits, 64, sha256_hex(made));
  return made;
}

}  // namespace g4::rt::fuzz
