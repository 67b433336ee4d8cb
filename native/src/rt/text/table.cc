#include "table.h"

#include <bit>

namespace g4::rt::text {
namespace {

static_assert(std::endian::native == std::endian::little, "tables are little-endian");

constexpr std::string_view kMagic("G4TOKEN\0", 8);
constexpr std::uint32_t kVersion = 1, kFusesUnk = 1;
constexpr std::size_t kHeader = 64, kEntry = 16, kAlignment = 16;
constexpr std::uint32_t kMostIds = 1u << 21, kMostBucketBits = 28;
constexpr std::array<const char*, kSections> kNames = {
    "starts",  "texts",  "kinds",        "character_pages",   "characters", "byte_ids",
    "buckets", "merges", "given_tokens", "normalized_tokens", "normalizer", "split"};

template <typename T>
T read(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

void check_size(const Table& table, Section which, std::uint64_t bytes) {
  const std::size_t found = table.section(which).size();
  if (found != bytes)
    damaged(std::string("the section ") + kNames[static_cast<std::size_t>(which)] + " has " + std::to_string(found) +
            " bytes, and must have " + std::to_string(bytes));
}

}  // namespace

void damaged(const std::string& why) {
  fail(G4RT_BAD_BUNDLE, "tokenizer.g4 is not whole: " + why + "; compile the bundle again");
}

Table::Table(std::string_view bytes) {
  if (bytes.size() < kHeader + kEntry * kSections) damaged("it has " + std::to_string(bytes.size()) + " bytes");
  if (bytes.substr(0, kMagic.size()) != kMagic) damaged("it is no table of a tokenizer");
  if (const auto version = read<std::uint32_t>(bytes, 8); version != kVersion)
    fail(G4RT_UNSUPPORTED, "tokenizer.g4 has version " + std::to_string(version) + ", and this library reads " +
                               std::to_string(kVersion) + ": compile the bundle again, or take another library");
  if (read<std::uint32_t>(bytes, 12) != kSections) damaged("it has another number of sections");
  if (const auto whole = read<std::uint64_t>(bytes, 16); whole != bytes.size())
    damaged("it has " + std::to_string(bytes.size()) + " bytes, and its header says " + std::to_string(whole));
  ids_ = read<std::uint32_t>(bytes, 24);
  merges_ = read<std::uint32_t>(bytes, 28);
  bucket_bits_ = read<std::uint32_t>(bytes, 32);
  const auto flags = read<std::uint32_t>(bytes, 36);
  fuses_unk_ = flags & kFusesUnk;
  unk_id_ = read<std::int32_t>(bytes, 40);
  if (ids_ > kMostIds) damaged("it has " + std::to_string(ids_) + " ids");
  if (bucket_bits_ < 1 || bucket_bits_ > kMostBucketBits) damaged("its number of buckets is out of range");
  if (flags > kFusesUnk) damaged("it has flags that have no meaning");
  if (unk_id_ < -1 || unk_id_ >= static_cast<std::int64_t>(ids_)) damaged("its unknown token has no id");
  for (std::size_t i = 0; i < kSections; ++i) {
    const auto offset = read<std::uint64_t>(bytes, kHeader + kEntry * i);
    const auto size = read<std::uint64_t>(bytes, kHeader + kEntry * i + 8);
    if (offset % kAlignment || offset > bytes.size() || size > bytes.size() - offset)
      damaged(std::string("the section ") + kNames[i] + " does not lie in it");
    sections_[i] = bytes.substr(offset, size);
  }
  check_size(*this, Section::starts, 4 * (std::uint64_t{ids_} + 1));
  check_size(*this, Section::kinds, ids_);
  check_size(*this, Section::byte_ids, 4 * 256);
  check_size(*this, Section::buckets, 4 * ((std::uint64_t{1} << bucket_bits_) + 1));
  check_size(*this, Section::merges, 16 * std::uint64_t{merges_});
}

Numbers Table::numbers(Section which) const { return {section(which), kNames[static_cast<std::size_t>(which)]}; }

}  // namespace g4::rt::text
