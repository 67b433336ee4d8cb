// What the entry points of include/g4ops.h share: checks of what they are given.
#pragma once
#include <string>

#include "g4ops.h"
#include "kernels.h"
#include "last_error.h"
#include "pool.h"
#include "weights.h"

namespace g4 {

inline const Kernels& own(const G4Kernels* kernels) { return *reinterpret_cast<const Kernels*>(kernels); }

inline Parallel own(G4Pool* pool) { return pool ? reinterpret_cast<Pool*>(pool)->parallel() : kAlone; }

inline std::string size_problem(const char* name, const void* data, std::size_t bytes, std::int64_t expected,
                         std::size_t alignment) {
  if (bytes != static_cast<std::size_t>(expected))
    return std::string(name) + " has " + std::to_string(bytes) + " bytes, not " + std::to_string(expected);
  if (!data) return std::string(name) + " is missing";
  if (reinterpret_cast<std::uintptr_t>(data) % alignment)
    return std::string(name) + " is not aligned to " + std::to_string(alignment) + " bytes";
  return "";
}

// Reads `from`, the arrays of `count` matrices, into `to`; returns what is wrong.
inline std::string checked(const G4Weights* from, Weights& to, std::int64_t count = 1) {
  if (!from) return "weights is missing";
  const Format f{from->bits, from->block, from->columns, from->rows};
  std::string wrong = problem(f);
  if (!wrong.empty()) return wrong;
  const std::int64_t scales = count * f.panels() * f.blocks() * kPanel;
  wrong = size_problem("codes", from->codes, from->codes_bytes, count * f.panels() * f.panel_bytes(), 1);
  if (wrong.empty())
    wrong = size_problem("scales", from->scales, from->scales_bytes, scales * f.scale_bytes(),
                         static_cast<std::size_t>(f.scale_bytes()));
  if (wrong.empty() && (from->zero_points || from->zero_points_bytes))
    wrong = size_problem("zero_points", from->zero_points, from->zero_points_bytes, scales, 1);
  to = {f, static_cast<const std::uint8_t*>(from->codes), from->scales,
        static_cast<const std::uint8_t*>(from->zero_points)};
  return wrong;
}

}  // namespace g4
