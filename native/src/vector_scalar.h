// Vectors of one number, in plain C++: see tile.h.
#pragma once
#include "tile.h"

namespace g4 {
namespace {

struct VectorScalar {
  using Int = int32_t;
  using Float = float;
  static constexpr int lanes = 1, attention_tile = 4, attention_rows = 4;
  static constexpr int encoder_rows = 2, encoder_vectors = 4;

  static Int set(int32_t a) { return a; }
  static Float set(float a) { return a; }
  static Float zero_float() { return 0; }
  static Float load(const float* p) { return *p; }
  static Float load_bfloat16(const uint16_t* p) {
    const uint32_t word = static_cast<uint32_t>(*p) << 16;
    Float a;
    __builtin_memcpy(&a, &word, 4);
    return a;
  }
  static Float load_int8(const int8_t* p) { return *p; }
  static void store(float* p, Float a) { *p = a; }
  static Float to_float(Int a) { return static_cast<Float>(a); }
  static Int round(Float a) { return a == a ? static_cast<Int>(__builtin_rintf(a)) : 0; }
  static Float add_float(Float a, Float b) { return a + b; }
  static Float subtract(Float a, Float b) { return a - b; }
  static Float multiply(Float a, Float b) { return a * b; }
  static Float divide(Float a, Float b) { return a / b; }
  static Float fma(Float a, Float b, Float c) { return __builtin_fmaf(a, b, c); }
  static Float maximum_float(Float a, Float b) { return a > b ? a : b; }
  static Float minimum_float(Float a, Float b) { return a < b ? a : b; }
  static Float power_of_two(Int n) {
    const uint32_t word = static_cast<uint32_t>(n + 127) << 23;
    Float a;
    __builtin_memcpy(&a, &word, 4);
    return a;
  }
  static Float zero_below(Float value, Float x, Float limit) { return x < limit ? 0 : value; }
  static float reduce_maximum_float(Float a) { return a; }
  static float reduce_add_float(Float a) { return a; }
  static Float sums(const Float* a) { return *a; }
};

}  // namespace
}  // namespace g4
