// Memory of this process. Linux and Android tell it in /proc; elsewhere it is not known.
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "files.h"

namespace g4::rt {

ProcessMemory process_memory() {
  ProcessMemory found{UINT64_MAX, UINT64_MAX};
#if defined(__linux__)
  std::FILE* file = std::fopen("/proc/self/status", "re");
  if (!file) return found;
  char line[256];
  unsigned long long kilobytes;
  while (std::fgets(line, sizeof line, file)) {
    if (std::sscanf(line, "RssAnon: %llu", &kilobytes) == 1) found.anonymous = kilobytes * 1024;
    if (std::sscanf(line, "VmRSS: %llu", &kilobytes) == 1) found.resident = kilobytes * 1024;
  }
  std::fclose(file);
#endif
  return found;
}

}  // namespace g4::rt
