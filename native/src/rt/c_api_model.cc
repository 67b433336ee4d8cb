// Models, and what went wrong.
#include <utility>

#include "c_api.h"

namespace g4::rt {

namespace {

// Of this thread. Without destructors, so that a thread may fail behind the end of its other variables.
thread_local std::string* kept = nullptr;
thread_local const char* last_words = "";

}  // namespace

void remember(std::string_view words, std::string_view front) noexcept {
  struct Owner {
    ~Owner() {
      last_words = "";
      delete std::exchange(kept, nullptr);
    }
  };
  try {
    thread_local Owner owner;
    if (!kept) kept = new std::string;
    kept->assign(front);
    kept->append(words);
    last_words = kept->c_str();
  } catch (...) {
    last_words = "there is not enough memory";
  }
}

std::vector<const Media*> media_of(const Model& model, const g4rt_media* const* media, std::size_t count) {
  std::vector<const Media*> found;
  if (count) need(media, "media");
  for (std::size_t i = 0; i < count; ++i) {
    if (need(media[i], "one of media")->model.get() != &model)
      fail(G4RT_BAD_ARGUMENT, "an image or a sound was made for another model");
    found.push_back(&media[i]->media);
  }
  return found;
}

}  // namespace g4::rt

using namespace g4::rt;

const char* g4rt_version(void) { return "1.0"; }

const char* g4rt_last_error(void) { return last_words; }

const char* g4rt_status_name(g4rt_status status) {
  static constexpr const char* kNames[] = {"ok",           "bad-argument", "bad-bundle", "unsupported", "machine",
                                           "no-room",      "context-full", "busy",       "cancelled",   "defect"};
  const auto index = static_cast<std::size_t>(status);
  return index < sizeof kNames / sizeof *kNames ? kNames[index] : "unknown";
}

g4rt_status g4rt_open(const char* folder, const g4rt_options* options, g4rt_model** model) {
  return guarded([&] {
    *need(model, "model") = nullptr;
    const auto text = [](const char* given) { return std::string(given ? given : ""); };
    ModelOptions how;
    if (options) {
      how.graphs.threads = options->threads;
      how.graphs.cache = text(options->cache_folder);
      how.capacity = options->capacity;
      how.kv_dtype = text(options->kv_dtype);
      how.onnxruntime = text(options->onnxruntime);
      how.ops = text(options->ops);
    }
    *model = new g4rt_model{std::make_shared<const Model>(need(folder, "folder"), std::move(how))};
  });
}

void g4rt_close(g4rt_model* model) { delete model; }

g4rt_status g4rt_model_facts(const g4rt_model* model, g4rt_facts* facts) {
  return guarded([&] {
    const Model& of = *need(model, "model")->model;
    const Manifest& manifest = of.manifest();
    g4rt_facts found{};
    found.vocab_size = static_cast<std::int32_t>(manifest.vocab_size);
    found.context = static_cast<std::int32_t>(of.capacity());
    found.bos_token_id = static_cast<std::int32_t>(manifest.bos_token_id);
    found.pad_token_id = static_cast<std::int32_t>(manifest.pad_token_id);
    found.text = !manifest.tokenizer.empty();
    found.chat = !manifest.chat.empty();
    found.image = manifest.graph(kVision) != nullptr;
    found.audio = manifest.graph(kAudio) != nullptr;
    found.target = manifest.target.c_str();
    found.kv_dtype = manifest.kv.dtype.c_str();
    found.weight_bytes = of.bundle().weight_bytes();
    for (const KVLayer& layer : manifest.kv.layers)
      for (const KVPart& part : manifest.kv.parts())
        if (!layer.keep) found.kv_bytes_per_token += static_cast<std::uint64_t>(layer.bytes(part));
    *need(facts, "facts") = found;
  });
}

g4rt_status g4rt_model_stop_tokens(const g4rt_model* model, int32_t* ids, size_t capacity, size_t* count) {
  return guarded([&] {
    const std::vector<std::int32_t>& stops = need(model, "model")->model->manifest().stop_token_ids;
    give(stops.data(), stops.size(), ids, capacity, count);
  });
}
