#include "kernels.h"

#include <cstdlib>
#include <cstring>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace g4 {
namespace {

struct Entry {
  const Kernels* kernels;
  bool (*runs)();
};

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
// Whether Linux says that the processor has all of these: bits of HWCAP and of HWCAP2.
bool has([[maybe_unused]] unsigned long first, [[maybe_unused]] unsigned long second) {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & first) == first && (getauxval(AT_HWCAP2) & second) == second;
#else
  return false;
#endif
}
constexpr unsigned long kAsimdDp = 1ul << 20, kI8mm = 1ul << 13;  // HWCAP_ASIMDDP, HWCAP2_I8MM

bool has_dotprod() { return has(kAsimdDp, 0); }
bool has_i8mm() { return has(kAsimdDp, kI8mm); }
#endif

const Entry kEntries[] = {  // the best first
#if defined(__x86_64__)
    {&kAvx512Vnni, has_avx512vnni},
    {&kAvx2, has_avx2},
#elif defined(__aarch64__)
    {&kNeonI8mm, has_i8mm},
    {&kNeonDotprod, has_dotprod},
#endif
    {&kScalar, [] { return true; }},
};

const Kernels* choose() {
  const char* forced = std::getenv("G4OPS_INSTRUCTION_SET");
  if (forced && *forced) return find_kernels(forced);
  for (const Entry& entry : kEntries)
    if (entry.runs()) return entry.kernels;
  return nullptr;
}

}  // namespace

const Kernels* find_kernels(const char* name) {
  for (const Entry& entry : kEntries)
    if (std::strcmp(entry.kernels->name, name) == 0) return entry.runs() ? entry.kernels : nullptr;
  return nullptr;
}

const Kernels* chosen_kernels() {
  static const Kernels* const chosen = choose();
  return chosen;
}

}  // namespace g4
