#include "kernels.h"

#include <cstdlib>
#include <cstring>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
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
#elif defined(__aarch64__) && defined(__linux__)
constexpr unsigned long kAsimdDp = 1ul << 20, kI8mm = 1ul << 13;  // HWCAP_ASIMDDP, HWCAP2_I8MM

bool has_dotprod() { return getauxval(AT_HWCAP) & kAsimdDp; }
bool has_i8mm() { return has_dotprod() && getauxval(AT_HWCAP2) & kI8mm; }
#elif defined(__aarch64__) && defined(__APPLE__)
bool says(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return ::sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value;
}
bool has_dotprod() { return says("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has_dotprod() && says("hw.optional.arm.FEAT_I8MM"); }
#elif defined(__aarch64__)  // a system whose answer is not known here
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
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
