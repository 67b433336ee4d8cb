#include "state_file.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "failure.h"
#include "files.h"
#include "sha256.h"

namespace g4::rt {
namespace {

static_assert(std::endian::native == std::endian::little, "states are written as they stand in memory");

constexpr char kMagic[8] = "g4state";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kSum = 32;

struct Header {
  char magic[8];
  std::uint32_t version, tensors;
  std::uint8_t manifest[32];
  std::int64_t tokens, logits;
};
static_assert(sizeof(Header) == 64);

struct Entry {
  std::int64_t held, slots;
};

Header header_of(const Manifest& manifest, const State& state) {
  Header header{{}, kVersion, static_cast<std::uint32_t>(state.tensors.size()), {}, state.tokens,
                static_cast<std::int64_t>(state.logits.size() / sizeof(float))};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  for (std::size_t i = 0; i < sizeof header.manifest; ++i)
    header.manifest[i] = static_cast<std::uint8_t>(std::stoi(manifest.sha256.substr(2 * i, 2), nullptr, 16));
  return header;
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& path, const Manifest& manifest)
      : bytes_(bytes), path_(path), manifest_(manifest) {}

  State state(std::int64_t capacity) {
    State found{0, {}, {}};
    for (const KVLayer& layer : manifest_.kv.layers)
      for (const KVPart& part : manifest_.kv.parts()) found.tensors.push_back({&layer, &part, 0, 0, {}});
    read_header(found, capacity);
    for (std::size_t i = 0; i < found.tensors.size(); ++i) read_entry(found, i);
    std::uint64_t left = bytes_.size() - at_;
    const auto expect = [&](std::uint64_t bytes) {
      if (bytes > left) wrong("it was cut off");
      left -= bytes;
    };
    expect(logits_);
    for (const StateTensor& one : found.tensors) expect(one.bytes());
    expect(kSum);
    if (left) wrong("it has " + std::to_string(left) + " bytes more than its tensors");
    Sha256 sum;
    sum.put(bytes_.substr(0, bytes_.size() - kSum));
    const auto digest = sum.digest();
    if (std::memcmp(digest.data(), bytes_.data() + bytes_.size() - kSum, kSum)) wrong("its content was changed");
    found.logits = take(static_cast<std::size_t>(logits_));
    for (StateTensor& one : found.tensors) one.data = take(static_cast<std::size_t>(one.bytes()));
    return found;
  }

 private:
  [[noreturn]] void wrong(const std::string& why) const {
    fail(G4RT_BAD_BUNDLE, path_ + " is no saved state of this bundle: " + why);
  }

  std::string_view take(std::size_t count) {
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  void read_header(State& found, std::int64_t capacity) {
    if (bytes_.size() < sizeof(Header) + found.tensors.size() * sizeof(Entry) + kSum) wrong("it is too short");
    Header header;
    std::memcpy(&header, take(sizeof header).data(), sizeof header);
    const Header ours = header_of(manifest_, found);
    if (std::memcmp(header.magic, ours.magic, sizeof kMagic)) wrong("it does not begin as one");
    if (header.version != kVersion)
      wrong("it has version " + std::to_string(header.version) + ", and this libg4rt reads version " + std::to_string(kVersion));
    if (std::memcmp(header.manifest, ours.manifest, sizeof ours.manifest)) wrong("it was saved with another one");
    if (header.tensors != ours.tensors) wrong("it has another number of tensors");
    if (header.tokens < 0 || header.tokens > manifest_.context)
      wrong("it says that it has " + std::to_string(header.tokens) + " tokens");
    if (header.tokens > capacity)
      fail(G4RT_CONTEXT_FULL, path_ + " has " + std::to_string(header.tokens) + " tokens, and this session may hold " +
                                  std::to_string(capacity));
    if (header.logits != 0 && header.logits != manifest_.vocab_size) wrong("it has another vocabulary");
    found.tokens = header.tokens;
    logits_ = static_cast<std::uint64_t>(header.logits) * sizeof(float);
  }

  void read_entry(State& found, std::size_t index) {
    Entry entry;
    std::memcpy(&entry, take(sizeof entry).data(), sizeof entry);
    StateTensor& one = found.tensors[index];
    const KVLayer& layer = *one.layer;
    const std::int64_t tokens = found.tokens, most = manifest_.context;
    // A sliding layer that was rewound holds fewer tokens than it keeps, and never fewer than are seen.
    const std::int64_t least_held = layer.keep ? std::min(tokens, layer.window - 1) : 0;
    if (entry.held < least_held || entry.held > std::min(tokens, layer.keep))
      wrong("the layer " + std::to_string(layer.layer) + " holds " + std::to_string(entry.held) + " tokens");
    // Rings are made larger where tokens of an image see each other, and the graph takes larger ones.
    const std::int64_t largest = manifest_.needs("image-blocks") ? std::max(layer.slots, layer.keep + most) : layer.slots;
    const bool fits = !layer.keep   ? entry.slots >= tokens && entry.slots <= most
                      : layer.slots ? entry.slots >= layer.slots && entry.slots <= largest
                                    : entry.slots == entry.held;
    if (!fits) wrong("the layer " + std::to_string(layer.layer) + " has " + std::to_string(entry.slots) + " slots");
    one.held = entry.held;
    one.slots = entry.slots;
    const StateTensor* alike = index && found.tensors[index - 1].layer == &layer ? &found.tensors[index - 1] : nullptr;
    if (!layer.keep) alike = full_ ? full_ : full_ = &one;
    if (alike && (alike->slots != one.slots || alike->held != one.held))
      wrong("tensors of one kind have several sizes");  // keys as values, and all full layers alike
  }

  std::string_view bytes_;
  const std::string& path_;
  const Manifest& manifest_;
  std::size_t at_ = 0;
  std::uint64_t logits_ = 0;             // bytes
  const StateTensor* full_ = nullptr;  // the first of a full layer
};

}  // namespace

void write_state(const std::string& path, const Manifest& manifest, const State& state) {
  const Header header = header_of(manifest, state);
  write_whole(path, [&](const Put& put) {
    Sha256 sum;
    const auto write = [&](const void* data, std::size_t bytes) {
      sum.put({static_cast<const char*>(data), bytes});
      put(data, bytes);
    };
    write(&header, sizeof header);
    for (const StateTensor& one : state.tensors) {
      const Entry entry{one.held, one.slots};
      write(&entry, sizeof entry);
    }
    write(state.logits.data(), state.logits.size());
    for (const StateTensor& one : state.tensors) write(one.data.data(), one.data.size());
    const auto digest = sum.digest();
    put(digest.data(), digest.size());
  });
}

State read_state(std::string_view bytes, const std::string& path, const Manifest& manifest, std::int64_t capacity) {
  return Reader(bytes, path, manifest).state(capacity);
}

}  // namespace g4::rt
