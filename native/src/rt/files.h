// What libg4rt asks of the system: files, mappings, libraries, memory. Calls of POSIX and Windows stand in
// its sources, in library.cc and in prepacked.cc.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "g4rt.h"

namespace g4::rt {

// A name in `folder`.
std::string joined(const std::string& folder, const std::string& name);

// The regular file `path`, mapped read-only, or read where the system maps none. Throws Failure (`status`) where there is
// none, it is another kind of file, or larger than `most` bytes.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const std::string& path, std::uint64_t most, g4rt_status status);
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

enum class FileKind { none, regular, other };

struct FileFacts {
  FileKind kind;
  std::uint64_t bytes;
  std::string real;  // where it stands, links followed
};

// Facts of `path`; nothing is opened, so that a pipe holds up nobody. Throws Failure where the system does not tell.
FileFacts file_facts(const std::string& path);
// Where the folder `path` stands, links followed; empty where there is none.
std::string real_folder(const std::string& path);
// Whether `real` lies in the folder `real_folder`.
bool lies_in(const std::string& real, const std::string& real_folder);

// Writes `path` as `fill` puts bytes: into a temporary file beside it, which takes its name when all is on the disk. Throws
// Failure G4RT_MACHINE, and leaves no temporary file.
using Put = std::function<void(const void* data, std::size_t bytes)>;
void write_whole(const std::string& path, const std::function<void(const Put&)>& fill);

// What `path` is for ONNX Runtime: wide characters on Windows.
#if defined(_WIN32)
std::wstring native_path(const std::string& path);
std::string utf8_path(const std::wstring& path);
#else
inline const std::string& native_path(const std::string& path) { return path; }
#endif

struct ProcessMemory {
  std::uint64_t anonymous, resident;  // bytes; UINT64_MAX where the system does not tell
};
ProcessMemory process_memory();

// 64 bits of the system's random numbers. Throws Failure G4RT_MACHINE.
std::uint64_t random_bits();

}  // namespace g4::rt
