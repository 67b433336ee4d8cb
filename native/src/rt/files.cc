#include "files.h"

#include <utility>

namespace g4::rt {

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

bool lies_in(const std::string& real, const std::string& real_folder) {
  return real.size() > real_folder.size() && real.compare(0, real_folder.size(), real_folder) == 0 &&
         (real[real_folder.size()] == '/' || real[real_folder.size()] == '\\');
}

}  // namespace g4::rt
