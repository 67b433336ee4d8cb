// A bundle on disk: a folder that is refused unless it is whole, and what this runtime reads of it is what was compiled.
#pragma once
#include <string>

#include "files.h"
#include "manifest.h"

namespace g4::rt {

class Bundle {
 public:
  // Throws Failure as `read_manifest`, and G4RT_BAD_BUNDLE that names a file: the checks of docs/bundle.md.
  explicit Bundle(const std::string& folder);

  const Manifest& manifest() const { return manifest_; }
  std::string file(const std::string& name) const { return joined(folder_, name); }
  // The content of the listed file `name`, compared with its SHA-256.
  MappedFile checked(const std::string& name) const;
  std::uint64_t weight_bytes() const { return manifest_.files.at(kData).bytes; }

 private:
  void check_files() const;

  std::string folder_;
  Manifest manifest_;
};

}  // namespace g4::rt
