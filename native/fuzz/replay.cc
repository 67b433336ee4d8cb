// Runs a harness over files, without libFuzzer: `replay_NAME FILE...`. For compilers that have none.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "expected.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int count, char** files) {
  for (int i = 1; i < count; ++i) {
    std::ifstream file(files[i], std::ios::binary);
    if (!file) return std::fprintf(stderr, "%s cannot be read\n", files[i]), 1;
    // An array of its own size, so that a sanitizer sees a read behind the end.
    const std::vector<char> read((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::vector<std::uint8_t> data(read.begin(), read.end());
    LLVMFuzzerTestOneInput(data.data(), data.size());
  }
  std::printf("%d files, %zu taken\n", count - 1, g4::rt::fuzz::taken);
  return 0;
}
