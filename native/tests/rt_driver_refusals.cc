// NULL in the place of every pointer, and values out of range: a status with words, and everything as it was.
#include <cmath>
#include <cstring>
#include <limits>

#include "rt_driver.h"

namespace g4::test {
namespace {

constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min(), kMost = std::numeric_limits<std::int32_t>::max();

void of_models(const Given& given, const g4rt_model* model) {
  g4rt_options options = given.options();
  g4rt_model* made = nullptr;
  const auto open = [&] { return g4rt_open(given.bundle.c_str(), &options, &made); };
  REFUSED(g4rt_open(nullptr, &options, &made), G4RT_BAD_ARGUMENT, "folder is NULL");
  REFUSED(g4rt_open(given.bundle.c_str(), &options, nullptr), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_open("", &options, &made), G4RT_BAD_BUNDLE, "there is no bundle");
  for (const std::int32_t threads : {-1, kLeast, 1025, kMost}) {
    options.threads = threads;
    REFUSED(open(), G4RT_BAD_ARGUMENT, "threads is");
  }
  options.threads = 1;
  for (const std::int32_t capacity : {-1, kLeast, kMost}) {
    options.capacity = capacity;
    REFUSED(open(), G4RT_BAD_ARGUMENT, "capacity is");
  }
  options.capacity = 0;
  options.kv_dtype = "float64";
  REFUSED(open(), G4RT_BAD_ARGUMENT, "none of float32");
  options.kv_dtype = nullptr;
  options.onnxruntime = "/nowhere";
  REFUSED(open(), G4RT_MACHINE, "/nowhere");
  options.onnxruntime = given.bundle.c_str();
  REFUSED(open(), G4RT_MACHINE, "cannot be loaded");
  options.onnxruntime = given.ops.c_str();
  REFUSED(open(), G4RT_MACHINE, "it has no OrtGetApiBase");
  EXPECT(made == nullptr);
  g4rt_close(nullptr);
  g4rt_facts facts;
  std::size_t count = 0;
  REFUSED(g4rt_model_facts(nullptr, &facts), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_model_facts(model, nullptr), G4RT_BAD_ARGUMENT, "facts is NULL");
  REFUSED(g4rt_model_stop_tokens(nullptr, nullptr, 0, &count), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_model_stop_tokens(model, nullptr, 0, nullptr), G4RT_BAD_ARGUMENT, "count is NULL");
  REFUSED(g4rt_model_stop_tokens(model, nullptr, 0, &count), G4RT_NO_ROOM, "room for 0");
  REFUSED(g4rt_model_stop_tokens(model, nullptr, count, &count), G4RT_BAD_ARGUMENT, "is NULL");
}

void of_text(const g4rt_model* model) {
  std::int32_t ids[4] = {-7, -7, -7, -7};
  char text[4] = {'x', 'x', 'x', 'x'};
  std::size_t count = 0;
  REFUSED(g4rt_encode(nullptr, "a", 1, nullptr, 0, ids, 4, &count), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_encode(model, nullptr, 1, nullptr, 0, ids, 4, &count), G4RT_BAD_ARGUMENT, "text is NULL");
  REFUSED(g4rt_encode(model, "a", 1, nullptr, 1, ids, 4, &count), G4RT_BAD_ARGUMENT, "media is NULL");
  const g4rt_media* none = nullptr;
  REFUSED(g4rt_encode(model, "a", 1, &none, 1, ids, 4, &count), G4RT_BAD_ARGUMENT, "one of media is NULL");
  REFUSED(g4rt_encode(model, "a", 1, nullptr, 0, ids, 4, nullptr), G4RT_BAD_ARGUMENT, "count is NULL");
  REFUSED(g4rt_encode(model, "a b c d e f", 11, nullptr, 0, ids, 4, &count), G4RT_NO_ROOM, "room for 4");
  EXPECT(count > 4 && ids[0] == -7);
  REFUSED(g4rt_encode(model, "\xff", 1, nullptr, 0, ids, 4, &count), G4RT_BAD_ARGUMENT, "UTF-8");
  EXPECT(g4rt_encode(model, nullptr, 0, nullptr, 0, ids, 4, &count) == G4RT_OK && count == 1);
  REFUSED(g4rt_decode(nullptr, ids, 1, text, 4, &count), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_decode(model, nullptr, 1, text, 4, &count), G4RT_BAD_ARGUMENT, "ids is NULL");
  REFUSED(g4rt_decode(model, ids, 1, text, 4, nullptr), G4RT_BAD_ARGUMENT, "count is NULL");
  for (const std::int32_t id : {-1, kLeast}) REFUSED(g4rt_decode(model, &id, 1, text, 4, &count), G4RT_BAD_ARGUMENT, "must be 0");
  EXPECT(g4rt_decode(model, &kMost, 1, text, 4, &count) == G4RT_OK && count == 0);  // no token has it
  EXPECT(g4rt_decode(model, nullptr, 0, nullptr, 0, &count) == G4RT_OK && count == 0);
  const char* chat = R"({"messages": [{"role": "user", "content": "Hi"}]})";
  REFUSED(g4rt_render_chat(nullptr, chat, std::strlen(chat), text, 4, &count), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_render_chat(model, nullptr, 4, text, 4, &count), G4RT_BAD_ARGUMENT, "json is NULL");
  REFUSED(g4rt_render_chat(model, chat, std::strlen(chat), text, 4, nullptr), G4RT_BAD_ARGUMENT, "count is NULL");
  REFUSED(g4rt_render_chat(model, chat, std::strlen(chat), text, 4, &count), G4RT_NO_ROOM, "room for 4");
  REFUSED(g4rt_render_chat(model, chat, 9, text, 4, &count), G4RT_BAD_ARGUMENT, "no valid JSON");
  EXPECT(text[0] == 'x');
  g4rt_stream* stream = nullptr;
  const char* piece = nullptr;
  REFUSED(g4rt_stream_create(nullptr, &stream), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_stream_create(model, nullptr), G4RT_BAD_ARGUMENT, "stream is NULL");
  REFUSED(g4rt_stream_push(nullptr, 5, &piece, &count), G4RT_BAD_ARGUMENT, "stream is NULL");
  REFUSED(g4rt_stream_end(nullptr, &piece, &count), G4RT_BAD_ARGUMENT, "stream is NULL");
  g4rt::check(g4rt_stream_create(model, &stream));
  REFUSED(g4rt_stream_push(stream, 5, nullptr, &count), G4RT_BAD_ARGUMENT, "text is NULL");
  REFUSED(g4rt_stream_push(stream, 5, &piece, nullptr), G4RT_BAD_ARGUMENT, "bytes is NULL");
  REFUSED(g4rt_stream_push(stream, kLeast, &piece, &count), G4RT_BAD_ARGUMENT, "must be 0");
  g4rt_stream_destroy(stream);
  g4rt_stream_destroy(nullptr);
}

void of_media(const g4rt_model* model, const g4rt_facts& facts) {
  g4rt_media* made = nullptr;
  const std::vector<std::uint8_t> rgb = picture(kWidth, kHeight);
  const std::vector<float> samples = wave(kSamples);
  const auto image = [&](std::int32_t width, std::int32_t height, std::int32_t budget) {
    return g4rt_image_create(model, rgb.data(), width, height, budget, &made);
  };
  REFUSED(g4rt_image_create(nullptr, rgb.data(), kWidth, kHeight, 0, &made), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_image_create(model, rgb.data(), kWidth, kHeight, 0, nullptr), G4RT_BAD_ARGUMENT, "media is NULL");
  REFUSED(g4rt_audio_create(nullptr, samples.data(), kSamples, &made), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_audio_create(model, samples.data(), kSamples, nullptr), G4RT_BAD_ARGUMENT, "media is NULL");
  if (facts.image) {
    REFUSED(g4rt_image_create(model, nullptr, kWidth, kHeight, 0, &made), G4RT_BAD_ARGUMENT, "rgb is NULL");
    for (const std::int32_t side : {0, -1, kLeast}) REFUSED(image(side, kHeight, 0), G4RT_BAD_ARGUMENT, "empty");
    for (const std::int32_t side : {32769, kMost}) REFUSED(image(kWidth, side, 0), G4RT_BAD_ARGUMENT, "too large");
    for (const std::int32_t budget : {-1, 71, kLeast, kMost}) REFUSED(image(kWidth, kHeight, budget), G4RT_BAD_ARGUMENT, "budget is");
  } else {
    REFUSED(image(kWidth, kHeight, 0), G4RT_UNSUPPORTED, "takes no image");
  }
  if (facts.audio) {
    REFUSED(g4rt_audio_create(model, nullptr, kSamples, &made), G4RT_BAD_ARGUMENT, "samples is NULL");
    REFUSED(g4rt_audio_create(model, samples.data(), 0, &made), G4RT_BAD_ARGUMENT, "empty");
    const float none[] = {0, NAN, -INFINITY};
    REFUSED(g4rt_audio_create(model, none, 3, &made), G4RT_BAD_ARGUMENT, "sample 1 is NaN");
  } else {
    REFUSED(g4rt_audio_create(model, samples.data(), kSamples, &made), G4RT_UNSUPPORTED, "takes no audio");
  }
  EXPECT(made == nullptr);
  const float* values = nullptr;
  std::size_t rows = 0, columns = 0;
  REFUSED(g4rt_media_values(nullptr, &values, &rows, &columns, nullptr), G4RT_BAD_ARGUMENT, "media is NULL");
  EXPECT(g4rt_media_tokens(nullptr) == 0);
  g4rt_media_destroy(nullptr);
}

void of_sampling() {
  const std::vector<float> logits = {0, 1, 2}, damaged = {0, NAN, 2}, infinite = {0, INFINITY};
  g4rt_sampler* sampler = nullptr;
  std::int32_t id = -7;
  const auto create = [&](double temperature, std::int32_t top_k, double top_p) {
    const g4rt_sampling settings{temperature, top_k, top_p, 1, 5};
    return g4rt_sampler_create(&settings, &sampler);
  };
  REFUSED(g4rt_sampler_create(nullptr, nullptr), G4RT_BAD_ARGUMENT, "sampler is NULL");
  for (const double one : {-1.0, 1e-9, double{NAN}, double{INFINITY}}) REFUSED(create(one, 0, 0), G4RT_BAD_ARGUMENT, "temperature");
  for (const double one : {-1.0, 1e-12, 1.5, double{NAN}}) REFUSED(create(1, 0, one), G4RT_BAD_ARGUMENT, "top_p");
  for (const std::int32_t one : {-1, kLeast}) REFUSED(create(1, one, 0), G4RT_BAD_ARGUMENT, "top_k");
  EXPECT(sampler == nullptr && create(1, kMost, 1) == G4RT_OK);
  REFUSED(g4rt_sampler_choose(nullptr, logits.data(), 3, &id), G4RT_BAD_ARGUMENT, "sampler is NULL");
  REFUSED(g4rt_sampler_choose(sampler, nullptr, 3, &id), G4RT_BAD_ARGUMENT, "logits is NULL");
  REFUSED(g4rt_sampler_choose(sampler, logits.data(), 3, nullptr), G4RT_BAD_ARGUMENT, "id is NULL");
  for (const auto& one : {damaged, infinite})
    REFUSED(g4rt_sampler_choose(sampler, one.data(), one.size(), &id), G4RT_BAD_BUNDLE, "not finite");
  REFUSED(g4rt_sampler_choose(sampler, logits.data(), 0, &id), G4RT_BAD_ARGUMENT, "there are no logits");
  EXPECT(id == -7 && g4rt_sampler_choose(sampler, logits.data(), 3, &id) == G4RT_OK && id >= 0 && id < 3);
  g4rt_sampler_destroy(sampler);
  g4rt_sampler_destroy(nullptr);
}

std::int32_t take_none(void*, std::int32_t, const char*, std::size_t) { return 0; }

void of_sessions(const Given& given, const g4rt_model* model, const g4rt_facts& facts) {
  g4rt_session* session = nullptr;
  REFUSED(g4rt_session_create(nullptr, &session), G4RT_BAD_ARGUMENT, "model is NULL");
  REFUSED(g4rt_session_create(model, nullptr), G4RT_BAD_ARGUMENT, "session is NULL");
  g4rt::check(g4rt_session_create(model, &session));
  const Ids ids = prompt(facts, 5);
  g4rt::check(g4rt_session_prefill(session, ids.data(), ids.size(), nullptr, 0));
  const float* logits = nullptr;
  std::size_t count = 0;
  g4rt_memory memory;
  const g4rt_sampling hot{-1, 0, 0, 0, 0};
  const g4rt_media* none = nullptr;
  const auto generate = [&](g4rt_session* of, const std::int32_t* from, std::size_t many, std::size_t media, const g4rt_sampling* how,
                            g4rt_on_token take) {
    return g4rt_session_generate(of, from, many, media ? &none : nullptr, media, how, 3, take, nullptr, nullptr);
  };
  REFUSED(g4rt_session_prefill(nullptr, ids.data(), 1, nullptr, 0), G4RT_BAD_ARGUMENT, "session is NULL");
  REFUSED(g4rt_session_prefill(session, nullptr, 1, nullptr, 0), G4RT_BAD_ARGUMENT, "no token ids");
  REFUSED(g4rt_session_prefill(session, ids.data(), 0, nullptr, 0), G4RT_BAD_ARGUMENT, "no token ids");
  REFUSED(g4rt_session_prefill(session, ids.data(), 1, nullptr, 1), G4RT_BAD_ARGUMENT, "media is NULL");
  REFUSED(g4rt_session_prefill(session, ids.data(), 1, &none, 1), G4RT_BAD_ARGUMENT, "one of media is NULL");
  REFUSED(g4rt_session_decode(nullptr, 5), G4RT_BAD_ARGUMENT, "session is NULL");
  for (const std::int32_t id : {-1, kLeast, facts.vocab_size, kMost})
    REFUSED(g4rt_session_decode(session, id), G4RT_BAD_ARGUMENT, "is not one of the vocabulary");
  const Ids many(static_cast<std::size_t>(facts.context) + 1, 5);
  REFUSED(g4rt_session_prefill(session, many.data(), many.size(), nullptr, 0), G4RT_CONTEXT_FULL, "beyond what");
  REFUSED(g4rt_session_logits(nullptr, &logits, &count), G4RT_BAD_ARGUMENT, "session is NULL");
  REFUSED(g4rt_session_logits(session, nullptr, &count), G4RT_BAD_ARGUMENT, "logits is NULL");
  REFUSED(g4rt_session_logits(session, &logits, nullptr), G4RT_BAD_ARGUMENT, "count is NULL");
  REFUSED(g4rt_session_rewind(nullptr, 1), G4RT_BAD_ARGUMENT, "session is NULL");
  for (const std::size_t tokens : {std::size_t{6}, SIZE_MAX, SIZE_MAX / 2 + 1})
    REFUSED(g4rt_session_rewind(session, tokens), G4RT_BAD_ARGUMENT, "cannot rewind");
  REFUSED(g4rt_session_reset(nullptr), G4RT_BAD_ARGUMENT, "session is NULL");
  REFUSED(g4rt_session_save(nullptr, "x"), G4RT_BAD_ARGUMENT, "session is NULL");
  REFUSED(g4rt_session_save(session, nullptr), G4RT_BAD_ARGUMENT, "path is NULL");
  REFUSED(g4rt_session_save(session, (given.scratch + "/no/where").c_str()), G4RT_MACHINE, "cannot be written");
  REFUSED(g4rt_session_restore(nullptr, "x"), G4RT_BAD_ARGUMENT, "session is NULL");
  REFUSED(g4rt_session_restore(session, nullptr), G4RT_BAD_ARGUMENT, "path is NULL");
  REFUSED(g4rt_session_restore(session, given.scratch.c_str()), G4RT_BAD_BUNDLE, "no regular file");
  REFUSED(g4rt_session_memory(nullptr, &memory), G4RT_BAD_ARGUMENT, "session is NULL");
  REFUSED(g4rt_session_memory(session, nullptr), G4RT_BAD_ARGUMENT, "memory is NULL");
  REFUSED(generate(nullptr, ids.data(), 1, 0, nullptr, take_none), G4RT_BAD_ARGUMENT, "session is NULL");
  REFUSED(generate(session, nullptr, 1, 0, nullptr, take_none), G4RT_BAD_ARGUMENT, "no token ids");
  REFUSED(generate(session, ids.data(), 1, 1, nullptr, take_none), G4RT_BAD_ARGUMENT, "one of media is NULL");
  REFUSED(generate(session, ids.data(), 1, 0, &hot, take_none), G4RT_BAD_ARGUMENT, "temperature");
  REFUSED(generate(session, ids.data(), 1, 0, nullptr, nullptr), G4RT_BAD_ARGUMENT, "on_token is NULL");
  EXPECT(g4rt_session_length(session) == ids.size() && g4rt_session_length(nullptr) == 0);
  g4rt_session_cancel(nullptr);
  g4rt_session_destroy(session);
  g4rt_session_destroy(nullptr);
}

}  // namespace

void refusals(const Given& given) {
  const g4rt::Model model(given.bundle, given.options());
  const g4rt_facts facts = model.facts();
  of_models(given, model.get());
  if (facts.text && facts.chat) of_text(model.get());
  of_media(model.get(), facts);
  of_sampling();
  of_sessions(given, model.get(), facts);
  EXPECT(std::strcmp(g4rt_status_name(G4RT_DEFECT), "defect") == 0);
  EXPECT(std::strcmp(g4rt_status_name(static_cast<g4rt_status>(15)), "unknown") == 0);
}

}  // namespace g4::test
