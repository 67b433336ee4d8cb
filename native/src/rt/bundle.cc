#include "bundle.h"

#include "failure.h"
#include "sha256.h"

namespace g4::rt {
namespace {

constexpr std::uint64_t kLargestManifest = 16 << 20, kLargestFile = std::uint64_t{1} << 50;
constexpr const char* kAgain = ": compile it again, or copy the whole folder";

// Files that the bundle in the folder `real` may link to: its own, and in a snapshot of the Hugging Face Hub's cache
// (`models--NAME/snapshots/REVISION`) those of its model.
std::string root_of(const std::string& real) {
  const std::size_t last = real.find_last_of("/\\");
  const std::size_t before = last == real.npos || last == 0 ? real.npos : real.find_last_of("/\\", last - 1);
  if (before == real.npos || real.substr(before + 1, last - before - 1) != "snapshots") return real;
  return real.substr(0, before);
}

}  // namespace

Bundle::Bundle(const std::string& folder) : folder_(folder) {
  const FileFacts found = file_facts(file(kManifest));
  if (found.kind == FileKind::none)
    fail(G4RT_BAD_BUNDLE, "there is no bundle at " + folder + ": give the folder that `g4compile compile` wrote");
  if (found.kind == FileKind::other) fail(G4RT_BAD_BUNDLE, file(kManifest) + " is no regular file");
  manifest_ = read_manifest(MappedFile(file(kManifest), kLargestManifest, G4RT_BAD_BUNDLE).bytes());
  check_files();
}

void Bundle::check_files() const {
  const std::string root = root_of(real_folder(folder_));
  for (const auto& [name, said] : manifest_.files) {
    const FileFacts found = file_facts(file(name));
    if (found.kind == FileKind::none) fail(G4RT_BAD_BUNDLE, "the bundle at " + folder_ + " lacks its file " + name + kAgain);
    if (found.kind == FileKind::other) fail(G4RT_BAD_BUNDLE, file(name) + " is no regular file");
    if (!lies_in(found.real, root)) fail(G4RT_BAD_BUNDLE, file(name) + " leads out of the bundle, to " + found.real);
    if (found.bytes != said.bytes)
      fail(G4RT_BAD_BUNDLE, file(name) + " has " + std::to_string(found.bytes) + " bytes, and the manifest says " +
                                std::to_string(said.bytes) + kAgain);
  }
}

MappedFile Bundle::checked(const std::string& name) const {
  MappedFile mapped(file(name), kLargestFile, G4RT_BAD_BUNDLE);
  if (sha256_hex(mapped.bytes()) != manifest_.files.at(name).sha256)
    fail(G4RT_BAD_BUNDLE, "the content of " + file(name) + " is not what was compiled" + kAgain);
  return mapped;
}

}  // namespace g4::rt
