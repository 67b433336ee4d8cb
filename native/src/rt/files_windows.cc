// Files of Windows. Compiled by a test; not run anywhere yet.
#if defined(_WIN32)
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#define _CRT_RAND_S
#include <windows.h>

#include <algorithm>
#include <cstdlib>

#include "failure.h"
#include "files.h"

namespace g4::rt {
namespace {

std::string why() { return "error " + std::to_string(::GetLastError()); }

struct Handle {
  explicit Handle(HANDLE value) : value(value) {}
  ~Handle() {
    if (good()) ::CloseHandle(value);
  }
  Handle(const Handle&) = delete;
  bool good() const { return value && value != INVALID_HANDLE_VALUE; }
  HANDLE value;
};

}  // namespace

std::string joined(const std::string& folder, const std::string& name) {
  return folder.empty() || folder.back() == '/' || folder.back() == '\\' ? folder + name : folder + "\\" + name;
}

std::wstring native_path(const std::string& path) {
  const int length = static_cast<int>(path.size());
  std::wstring wide(static_cast<std::size_t>(::MultiByteToWideChar(CP_UTF8, 0, path.data(), length, nullptr, 0)), L'\0');
  ::MultiByteToWideChar(CP_UTF8, 0, path.data(), length, wide.data(), static_cast<int>(wide.size()));
  return wide;
}

std::string utf8_path(const std::wstring& path) {
  const auto convert = [&](std::string& to) {
    return ::WideCharToMultiByte(CP_UTF8, 0, path.data(), static_cast<int>(path.size()), to.data(),
                                 static_cast<int>(to.size()), nullptr, nullptr);
  };
  std::string found;
  found.resize(static_cast<std::size_t>(convert(found)));  // into no room: how much is needed
  convert(found);
  return found;
}

MappedFile::MappedFile(const std::string& path, std::uint64_t most, g4rt_status status) {
  const auto refuse = [&](const std::string& words) { fail(status, path + " cannot be read: " + words); };
  const DWORD share = FILE_SHARE_READ | FILE_SHARE_DELETE;
  const Handle file(::CreateFileW(native_path(path).c_str(), GENERIC_READ, share, nullptr, OPEN_EXISTING, 0, nullptr));
  LARGE_INTEGER size;
  if (!file.good() || !::GetFileSizeEx(file.value, &size)) refuse(why());
  if (::GetFileType(file.value) != FILE_TYPE_DISK) refuse("it is no regular file");
  most = std::min<std::uint64_t>(most, SIZE_MAX);  // what can be mapped where a size_t has 32 bits
  if (static_cast<std::uint64_t>(size.QuadPart) > most) refuse("it is larger than " + std::to_string(most) + " bytes");
  if (size.QuadPart == 0) return;
  const Handle mapping(::CreateFileMappingW(file.value, nullptr, PAGE_READONLY, 0, 0, nullptr));
  const void* mapped = mapping.good() ? ::MapViewOfFile(mapping.value, FILE_MAP_READ, 0, 0, 0) : nullptr;
  if (!mapped) refuse(why());
  data_ = mapped;
  size_ = static_cast<std::size_t>(size.QuadPart);
}

MappedFile::~MappedFile() {
  if (data_) ::UnmapViewOfFile(data_);
}

FileFacts file_facts(const std::string& path) {
  WIN32_FILE_ATTRIBUTE_DATA found;
  if (!::GetFileAttributesExW(native_path(path).c_str(), GetFileExInfoStandard, &found)) return {FileKind::none, 0, ""};
  if (found.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_DEVICE)) return {FileKind::other, 0, ""};
  const std::uint64_t bytes = static_cast<std::uint64_t>(found.nFileSizeHigh) << 32 | found.nFileSizeLow;
  return {FileKind::regular, bytes, real_folder(path)};
}

std::string real_folder(const std::string& path) {
  const DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  const Handle opened(::CreateFileW(native_path(path).c_str(), 0, share, nullptr, OPEN_EXISTING,
                                    FILE_FLAG_BACKUP_SEMANTICS, nullptr));
  if (!opened.good()) return "";
  std::wstring wide(32768, L'\0');
  const DWORD length = ::GetFinalPathNameByHandleW(opened.value, wide.data(), static_cast<DWORD>(wide.size()), 0);
  return length < wide.size() ? utf8_path(wide.substr(0, length)) : "";
}

void write_whole(const std::string& path, const std::function<void(const Put&)>& fill) {
  const std::string partial = path + ".g4rt-" + std::to_string(random_bits() >> 32);
  const auto refuse = [&] { fail(G4RT_MACHINE, path + " cannot be written: " + why()); };
  try {
    {
      const Handle opened(
          ::CreateFileW(native_path(partial).c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW, 0, nullptr));
      if (!opened.good()) refuse();
      fill([&](const void* data, std::size_t bytes) {
        const char* next = static_cast<const char*>(data);
        while (bytes) {
          const DWORD part = bytes > (1u << 30) ? 1u << 30 : static_cast<DWORD>(bytes);
          DWORD put = 0;
          if (!::WriteFile(opened.value, next, part, &put, nullptr) || put == 0) refuse();
          next += put;
          bytes -= put;
        }
      });
      if (!::FlushFileBuffers(opened.value)) refuse();
    }
    const DWORD how = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
    if (!::MoveFileExW(native_path(partial).c_str(), native_path(path).c_str(), how)) refuse();
  } catch (...) {
    ::DeleteFileW(native_path(partial).c_str());
    throw;
  }
}

std::uint64_t random_bits() {
  unsigned low = 0, high = 0;
  if (rand_s(&low) || rand_s(&high)) fail(G4RT_MACHINE, "the system gives no random numbers");
  return static_cast<std::uint64_t>(high) << 32 | low;
}

}  // namespace g4::rt
#endif
