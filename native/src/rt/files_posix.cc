// Files of POSIX systems.
#if !defined(_WIN32)
#include "files.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "failure.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace g4::rt {
namespace {

std::string words_of(int error) { return std::strerror(error); }

// Whether it is not the file that is wrong: no memory, no descriptors, or a disk that does not answer.
bool of_the_machine(int error) {
  return error == ENOMEM || error == EMFILE || error == ENFILE || error == EIO || error == EAGAIN;
}

struct Descriptor {
  explicit Descriptor(int number) : number(number) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  int number;
};

void sync_folder(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.number >= 0) ::fsync(opened.number);  // some file systems sync no folder: the rename stands all the same
}

}  // namespace

std::string joined(const std::string& folder, const std::string& name) {
  return folder.empty() || folder.back() == '/' ? folder + name : folder + "/" + name;
}

MappedFile::MappedFile(const std::string& path, std::uint64_t most, g4rt_status status) {
  const auto refuse = [&](const std::string& why) { fail(status, path + " cannot be read: " + why); };
  const auto refuse_errno = [&](int error) {
    if (of_the_machine(error)) status = G4RT_MACHINE;
    refuse(words_of(error));
  };
  const Descriptor opened(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (opened.number < 0) refuse_errno(errno);
  struct stat found;
  if (::fstat(opened.number, &found)) refuse_errno(errno);
  if (!S_ISREG(found.st_mode)) refuse("it is no regular file");
  most = std::min<std::uint64_t>(most, SIZE_MAX);  // what can be mapped where a size_t has 32 bits
  if (static_cast<std::uint64_t>(found.st_size) > most)
    refuse("it has " + std::to_string(found.st_size) + " bytes, and at most " + std::to_string(most) + " are read");
  if (found.st_size == 0) return;
  void* mapped = ::mmap(nullptr, static_cast<std::size_t>(found.st_size), PROT_READ, MAP_PRIVATE, opened.number, 0);
  if (mapped == MAP_FAILED) refuse_errno(errno);
  data_ = mapped;
  size_ = static_cast<std::size_t>(found.st_size);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<void*>(data_), size_);
}

FileFacts file_facts(const std::string& path) {
  struct stat found;
  if (::stat(path.c_str(), &found)) {
    if (errno == ENOENT || errno == ENOTDIR) return {FileKind::none, 0, ""};
    fail(of_the_machine(errno) ? G4RT_MACHINE : G4RT_BAD_BUNDLE, path + " cannot be read: " + words_of(errno));
  }
  if (!S_ISREG(found.st_mode)) return {FileKind::other, 0, ""};
  return {FileKind::regular, static_cast<std::uint64_t>(found.st_size), real_folder(path)};
}

std::string real_folder(const std::string& path) {
  char* found = ::realpath(path.c_str(), nullptr);
  if (!found) return "";
  std::string real(found);
  std::free(found);
  return real;
}

void write_whole(const std::string& path, const std::function<void(const Put&)>& fill) {
  const std::string partial = path + ".g4rt-" + std::to_string(::getpid()) + "-" + std::to_string(random_bits() >> 40);
  const auto refuse = [&](int error) { fail(G4RT_MACHINE, path + " cannot be written: " + words_of(error)); };
  {
    const Descriptor opened(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (opened.number < 0) refuse(errno);
    try {
      fill([&](const void* data, std::size_t bytes) {
        const char* next = static_cast<const char*>(data);
        while (bytes) {
          const ssize_t put = ::write(opened.number, next, bytes);
          if (put < 0 && errno == EINTR) continue;
          if (put <= 0) refuse(put ? errno : ENOSPC);
          next += put;
          bytes -= static_cast<std::size_t>(put);
        }
      });
      if (::fsync(opened.number)) refuse(errno);
      if (::rename(partial.c_str(), path.c_str())) refuse(errno);
    } catch (...) {
      ::unlink(partial.c_str());
      throw;
    }
  }
  sync_folder(path);
}

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  const Descriptor opened(::open("/dev/urandom", O_RDONLY | O_CLOEXEC));
  if (opened.number < 0 || ::read(opened.number, &bits, sizeof bits) != sizeof bits)
    fail(G4RT_MACHINE, "the system gives no random numbers: " + words_of(errno));
  return bits;
}

}  // namespace g4::rt
#endif
