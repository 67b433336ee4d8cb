// What the fields of a manifest say of each other: docs/manifest.md, "Agreement". All throw Failure G4RT_BAD_BUNDLE.
#pragma once
#include "field.h"
#include "manifest.h"

namespace g4::rt {

void check_layer(const Field& field, const KVLayer& layer, const KVSpec& kv, std::int64_t bytes_per_token);
MediaSpec read_media(const Field& field, std::int64_t vocab_size);
void check_consistent(const Manifest& manifest);

}  // namespace g4::rt
