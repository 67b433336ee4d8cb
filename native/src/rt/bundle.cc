#include "bundle.h"

#include "failure.h"
#include "sha256.h"

namespace g4::rt {
namespace {

constexpr std::uint64_t kLargestManifest = 16 << 20, kLargestFile = std::uint64_t{1} << 50;
constexpr const char* kAgain = ": compile it again, or copy the whole folder";

// The folder that `path` stands in, and its own name.
std::pair<std::string, std::string> split(const std::string& path) {
  const std::size_t last = path.find_last_of("/\\");
  if (last == path.npos) return {"", path};
  return {path.substr(0, last), path.substr(last + 1)};
}

// Where files of the bundle in the folder `real` may lie: there, and of a snapshot in the cache of the Hugging Face Hub
// (`models--ID/snapshots/REVISION`, links to `models--ID/blobs`) in the folder of the model.
std::string root_of(const std::string& real) {
  const auto [snapshots, revision] = split(real);
  const auto [model, name] = split(snapshots);
  const bool in_cache = name == "snapshots" && split(model).second.rfind("models--", 0) == 0;
  return in_cache && !real_folder(joined(model, "blobs")).empty() ? model : real;
}

}  // namespace

Bundle::Bundle(const std::string& folder) : folder_(folder) {
  const FileFacts found = file_facts(file(kManifest));
  if (found.kind == FileKind::none)
    fail(G4RT_BAD_BUNDLE, "there is no bundle at " + folder + ": give the folder that `g4compile compile` wrote");
  if (found.kind == FileKind::other) fail(G4RT_BAD_BUNDLE, file(kManifest) + " is no regular file");
  const MappedFile manifest(file(kManifest), kLargestManifest, G4RT_BAD_BUNDLE);
  try {
    manifest_ = read_manifest(manifest.bytes());
  } catch (const Failure& failure) {  // which does not know where it stands
    fail(failure.status, folder + ": " + failure.words + (failure.status == G4RT_BAD_BUNDLE ? kAgain : ""));
  }
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
