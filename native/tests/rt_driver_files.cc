// Bundles and states that were cut or changed: a status with words, or a bundle that runs, and nothing else.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "rt/sha256.h"
#include "rt_driver.h"

namespace g4::test {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write(const fs::path& path, const std::string& data) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary).write(data.data(), static_cast<std::streamsize>(data.size()));
}

std::string flipped(std::string data, std::size_t place) {
  if (!data.empty()) data[place % data.size()] = static_cast<char>(data[place % data.size()] ^ 0x10);
  return data;
}

// Opens the changed bundle, and answers with it where it opens. Whether it does.
bool opens(const Given& given, const std::string& folder) {
  const g4rt_options options = given.options();
  g4rt_model* made = nullptr;
  const g4rt_status status = g4rt_open(folder.c_str(), &options, &made);
  if (status != G4RT_OK) {
    EXPECT(status == G4RT_BAD_BUNDLE || status == G4RT_UNSUPPORTED);
    EXPECT(made == nullptr && std::strlen(g4rt_last_error()) > 10);
    return false;
  }
  g4rt_session* session = nullptr;
  EXPECT(g4rt_session_create(made, &session) == G4RT_OK);
  g4rt_close(made);
  const std::int32_t ids[] = {2, 5, 9};
  const auto take = [](void*, std::int32_t, const char*, std::size_t) -> std::int32_t { return 0; };
  const g4rt_status ran = g4rt_session_generate(session, ids, 3, nullptr, 0, nullptr, 2, take, nullptr, nullptr);
  EXPECT(ran == G4RT_OK || ran == G4RT_BAD_BUNDLE);
  g4rt_session_destroy(session);
  return true;
}

void of_bundles(const Given& given) {
  const fs::path copy = fs::path(given.scratch) / "copy";
  fs::copy(given.bundle, copy);
  if (!opens(given, copy.string())) return EXPECT(false);
  int opened = 0, tried = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(given.bundle)) {
    const fs::path file = copy / entry.path().filename();
    const std::string data = read(entry.path());
    const bool weights = file.filename() == "weights.data";  // whose content is not compared
    std::vector<std::string> changed = {"", data.substr(0, 1), data.substr(0, data.size() / 2), data.substr(0, data.size() - 1), data + "x"};
    const std::size_t lengths = changed.size();
    for (const std::size_t place : {std::size_t{0}, std::size_t{9}, data.size() / 3, data.size() / 2, data.size() - 2})
      changed.push_back(flipped(data, place));
    for (std::size_t i = 0; i < changed.size(); ++i) {
      write(file, changed[i]);
      const bool found = opens(given, copy.string());
      opened += found, ++tried;
      // Files that are read elsewhere are compared by their size alone.
      if (found && i < lengths) expect(false, ("it opens with a cut " + file.string()).c_str(), __FILE__, __LINE__);
      if (weights && i >= lengths) EXPECT(found);
    }
    write(file, data);
    fs::remove(file);
    EXPECT(!opens(given, copy.string()));
    write(file, data);
  }
  EXPECT(opens(given, copy.string()));
  std::printf("%d changed bundles, %d open\n", tried, opened);
}

std::string summed(std::string data) {
  if (data.size() < 32) return data;
  rt::Sha256 sum;
  sum.put(std::string_view(data).substr(0, data.size() - 32));
  const auto digest = sum.digest();
  std::memcpy(data.data() + data.size() - 32, digest.data(), 32);
  return data;
}

void of_states(const Given& given) {
  const g4rt::Model model(given.bundle, given.options());
  const g4rt_facts facts = model.facts();
  const std::string path = given.scratch + "/damaged-state";
  g4rt::Session session(model), other(model);
  session.prefill(prompt(facts, 30));
  session.save(path);
  const std::string data = read(path);
  const Ids own = {5, 6};
  int restored = 0, tried = 0;
  const auto attempt = [&](const std::string& changed) {
    write(path, changed);
    other.reset();
    other.prefill(own);
    const g4rt_status status = g4rt_session_restore(other.get(), path.c_str());
    ++tried;
    if (status != G4RT_OK) {
      EXPECT(status == G4RT_BAD_BUNDLE || status == G4RT_CONTEXT_FULL);
      EXPECT(other.length() == own.size() && std::strlen(g4rt_last_error()) > 10);
      return;
    }
    ++restored;
    g4rt::Answer how;
    how.max_new_tokens = 2;
    try {
      answer(other, {7}, how);
    } catch (const g4rt::Error& error) {  // numbers that a mended sum vouches for may be no numbers
      EXPECT(error.status == G4RT_BAD_BUNDLE);
    }
  };
  attempt(data);
  EXPECT(restored == 1);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{31}, std::size_t{32}, std::size_t{63}, std::size_t{64}, std::size_t{96}, data.size() / 2, data.size() - 33, data.size() - 1}) {
    attempt(data.substr(0, bytes));
    attempt(summed(data.substr(0, bytes)));
  }
  attempt(data + "x");
  EXPECT(restored == 1);
  for (std::size_t place = 0; place < 128; ++place) {  // the header, and sizes of tensors
    attempt(flipped(data, place));
    attempt(summed(flipped(data, place)));
  }
  for (std::size_t part = 1; part < 20; ++part) {
    attempt(flipped(data, data.size() / 20 * part));
    attempt(summed(flipped(data, data.size() / 20 * part)));
  }
  std::printf("%d states, %d restored\n", tried, restored);
}

}  // namespace

void files(const Given& given) {
  of_bundles(given);
  of_states(given);
}

}  // namespace g4::test
