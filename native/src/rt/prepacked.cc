#include "prepacked.h"

#include "failure.h"

#if defined(_WIN32)
namespace g4::rt {
void with_prepacked(const Ort&, const Bundle&, const std::string&, const std::string&,
                    const std::function<void(const std::string&)>&) {
  fail(G4RT_UNSUPPORTED, "there is no cache on Windows: leave cache_folder away");
}
}  // namespace g4::rt
#else
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "json.h"
#include "session_options.h"
#include "sha256.h"

namespace g4::rt {
namespace {

constexpr const char *kBegin = "g4rt-", *kUnfinished = ".g4rt-filling-", *kHeader = "g4rt-prepacked.txt";
constexpr std::uint64_t kLargestGraph = std::uint64_t{2} << 30;

[[noreturn]] void refuse(const std::string& path) {
  const char* const fix = errno == ENOENT ? ": make the folder that it is to stand in" : "";
  fail(G4RT_MACHINE, "the cache " + path + " cannot be used: " + std::strerror(errno) + fix);
}

// What the layout of rearranged weights depends on beside ONNX Runtime.
std::string processor() {
  utsname system;
  std::string found = ::uname(&system) ? "" : system.machine;
  if (std::FILE* file = std::fopen("/proc/cpuinfo", "re")) {
    char line[8192];
    while (std::fgets(line, sizeof line, file) && line[0] != '\n') {  // of the first core
      const std::string text = line;
      for (const char* name : {"model name", "flags", "Features", "CPU part", "CPU implementer"})
        if (text.rfind(name, 0) == 0) found += text;
    }
    std::fclose(file);
  }
  return found;
}

// Whether this user alone can write to it.
bool is_private(const struct stat& found) {
  return found.st_uid == ::geteuid() && !(found.st_mode & (S_IWGRP | S_IWOTH));
}

void make_folder(const std::string& cache) {
  if (::mkdir(cache.c_str(), 0700) && errno != EEXIST) refuse(cache);
  struct stat found;
  if (::stat(cache.c_str(), &found)) refuse(cache);
  if (!S_ISDIR(found.st_mode) || !is_private(found))
    fail(G4RT_BAD_ARGUMENT, "the cache " + cache + " is no folder of this user alone, and who writes there decides what the model computes: chmod 700, or name another one");
}

// One thread of one process at a time: what one has made and is about to open, another one must not delete, or find
// unfinished and make again.
struct Lock {
  explicit Lock(const std::string& cache) : number(::open(cache.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (number < 0) refuse(cache);
    while (::flock(number, LOCK_EX)) {
      if (errno == EINTR) continue;
      const int why = errno;
      ::close(number);
      errno = why;
      refuse(cache);
    }
  }
  ~Lock() { ::close(number); }
  Lock(const Lock&) = delete;
  int number;
};

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> found;
  DIR* opened = ::opendir(folder.c_str());
  if (!opened) return found;
  while (const dirent* entry = ::readdir(opened))
    if (std::strcmp(entry->d_name, ".") && std::strcmp(entry->d_name, "..")) found.emplace_back(entry->d_name);
  ::closedir(opened);
  return found;
}

// Deletes an entry of ours: files that a fill writes, and then the folder, which stays where there is anything else in it.
void discard(const std::string& entry, const std::string& graph) {
  for (const std::string& name : names_in(entry))
    if (name == graph || name == kData || name.rfind(kHeader, 0) == 0) ::unlink(joined(entry, name).c_str());
  ::rmdir(entry.c_str());
}

// What tells that a large file is the one that was written, without reading it.
std::string marks(const std::string& file) {
  struct stat found;
  if (::lstat(file.c_str(), &found)) return "none";
#if defined(__APPLE__)
  const timespec written = found.st_mtimespec, changed = found.st_ctimespec;
#else
  const timespec written = found.st_mtim, changed = found.st_ctim;
#endif
  std::string text = std::to_string(found.st_size) + " " + std::to_string(found.st_ino);
  for (const timespec& time : {written, changed}) text += " " + std::to_string(time.tv_sec) + "." + std::to_string(time.tv_nsec);
  return text;
}

// After a loss of power a file may have its size and no content, which its marks would not tell.
void sync(const std::string& path) {
  const int opened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = opened >= 0 && ::fsync(opened) == 0;
  const int why = errno;
  if (opened >= 0) ::close(opened);
  errno = why;
  if (!done) refuse(path);
}

// What the header of a whole entry says.
std::string header_of(const std::string& entry, const std::string& graph, const std::string& digest) {
  const MappedFile model(joined(entry, graph), kLargestGraph, G4RT_MACHINE);
  return digest + "\n" + sha256_hex(model.bytes()) + "\n" + marks(joined(entry, kData)) + "\n";
}

bool is_whole(const std::string& entry, const std::string& graph, const std::string& digest) {
  for (const std::string& path : {entry, joined(entry, graph), joined(entry, kData), joined(entry, kHeader)}) {
    struct stat found;
    if (::lstat(path.c_str(), &found) || S_ISLNK(found.st_mode) || !is_private(found)) return false;
  }
  try {
    const MappedFile header(joined(entry, kHeader), 1 << 16, G4RT_MACHINE);
    return header.bytes() == header_of(entry, graph, digest);
  } catch (const Failure&) {  // a file is missing, or cannot be read: the entry is made again
    return false;
  }
}

void make(const Ort& ort, const Bundle& bundle, const std::string& graph, const std::string& entry,
          const std::string& digest) {
  const std::string partial = entry.substr(0, entry.rfind('/') + 1) + kUnfinished + std::to_string(random_bits());
  if (::mkdir(partial.c_str(), 0700)) refuse(partial);
  try {
    SessionOptions how(ort, 0);
    how.save_to(joined(partial, graph));
    how.set("session.save_external_prepacked_constant_initializers", "1");
    how.set("session.optimized_model_external_initializers_file_name", kData);
    how.set("session.optimized_model_external_initializers_min_size_in_bytes", "1024");
    ort.api.ReleaseSession(how.open(bundle.file(graph)));
    for (const std::string& name : {graph, std::string(kData)}) {
      const std::string written = joined(partial, name);
      if (::chmod(written.c_str(), 0600)) refuse(written);
      sync(written);
    }
    const std::string header = header_of(partial, graph, digest);
    write_whole(joined(partial, kHeader), [&](const Put& put) { put(header.data(), header.size()); });
    if (::rename(partial.c_str(), entry.c_str())) {
      if (errno == EEXIST || errno == ENOTEMPTY)
        fail(G4RT_MACHINE, "the cache " + entry + " has files that libg4rt did not write: delete it");
      refuse(entry);
    }
  } catch (...) {
    discard(partial, graph);
    throw;
  }
}

}  // namespace

void with_prepacked(const Ort& ort, const Bundle& bundle, const std::string& graph, const std::string& cache,
                    const std::function<void(const std::string&)>& open) {
  make_folder(cache);
  const Lock alone(cache);
  const std::string ours = sha256_hex(bundle.manifest().sha256 + graph);
  const std::string digest = sha256_hex(ours + ort.base->GetVersionString() + processor());
  const std::string of_graph = kBegin + ours.substr(0, 16) + "-", name = of_graph + digest.substr(0, 16);
  const std::string entry = joined(cache, name);
  if (!is_whole(entry, graph, digest)) {
    discard(entry, graph);
    make(ort, bundle, graph, entry, digest);
  }
  for (const std::string& other : names_in(cache)) {
    const bool killed = other.rfind(kUnfinished, 0) == 0;  // while it filled: with the lock, nobody does now
    if (killed || (other.rfind(of_graph, 0) == 0 && other != name)) discard(joined(cache, other), graph);
  }
  open(joined(entry, graph));
}

}  // namespace g4::rt
#endif
