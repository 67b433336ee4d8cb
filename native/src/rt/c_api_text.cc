// Text to ids and back.
#include <algorithm>

#include "c_api.h"

using namespace g4::rt;

namespace {

std::vector<std::int32_t> encoded(const Model& model, std::string_view text, const std::vector<const Media*>& media) {
  const Manifest& manifest = model.manifest();
  std::vector<Item> items;
  for (const Media* one : media) items.push_back({one->kind, one->tokens});
  std::vector<std::int32_t> ids = manifest.media
                                      ? model.tokenizer().encode(write_out(text, items, *manifest.media))
                                      : model.tokenizer().encode(text);
  const auto bos = static_cast<std::int32_t>(manifest.bos_token_id);
  if (ids.empty() || ids.front() != bos) ids.insert(ids.begin(), bos);
  if (manifest.media) check_written_out(ids.data(), ids.size(), items, *manifest.media);
  return ids;
}

template <class Body>
g4rt_status next_piece(g4rt_stream* stream, const char** text, size_t* bytes, const Body& body) {
  return guarded([&] {
    g4rt_stream& of = *need(stream, "stream");
    need(text, "text"), need(bytes, "bytes");  // before a token is taken
    of.text.clear();
    body(of);
    *text = of.text.data();
    *bytes = of.text.size();
  });
}

}  // namespace

g4rt_status g4rt_encode(const g4rt_model* model, const char* text, size_t bytes, const g4rt_media* const* media,
                        size_t media_count, int32_t* ids, size_t capacity, size_t* count) {
  return guarded([&] {
    const Model& of = *need(model, "model")->model;
    const std::string_view given(bytes ? need(text, "text") : "", bytes);
    const std::vector<std::int32_t> found = encoded(of, given, media_of(of, media, media_count));
    give(found.data(), found.size(), ids, capacity, count);
  });
}

g4rt_status g4rt_decode(const g4rt_model* model, const int32_t* ids, size_t count, char* text, size_t capacity,
                        size_t* bytes) {
  return guarded([&] {
    const std::span<const std::int32_t> given(count ? need(ids, "ids") : nullptr, count);
    const std::string found = need(model, "model")->model->tokenizer().decode(given);
    give(found.data(), found.size(), text, capacity, bytes);
  });
}

g4rt_status g4rt_render_chat(const g4rt_model* model, const char* json, size_t json_bytes, char* text, size_t capacity,
                             size_t* bytes) {
  return guarded([&] {
    const ChatTable& chat = need(model, "model")->model->chat();
    const std::string_view given(need(json, "json"), json_bytes);
    const std::string found = chat.render(json::parse(given, "the conversation", G4RT_BAD_ARGUMENT));
    give(found.data(), found.size(), text, capacity, bytes);
  });
}

g4rt_status g4rt_stream_create(const g4rt_model* model, g4rt_stream** stream) {
  return guarded([&] {
    *need(stream, "stream") = nullptr;
    const std::shared_ptr<const Model>& of = need(model, "model")->model;
    *stream = new g4rt_stream{of, of->tokenizer().stream(), ""};
  });
}

void g4rt_stream_destroy(g4rt_stream* stream) { delete stream; }

g4rt_status g4rt_stream_push(g4rt_stream* stream, int32_t id, const char** text, size_t* bytes) {
  return next_piece(stream, text, bytes, [&](g4rt_stream& of) { of.stream.push(id, of.text); });
}

g4rt_status g4rt_stream_end(g4rt_stream* stream, const char** text, size_t* bytes) {
  return next_piece(stream, text, bytes, [](g4rt_stream& of) { of.stream.end(of.text); });
}
