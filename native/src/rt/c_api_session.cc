// Sessions, sampling and answers.
#include <algorithm>
#include <optional>

#include "c_api.h"
#include "files.h"

using namespace g4::rt;

namespace {

// A call that has the turn of the session.
template <class Body>
g4rt_status in_turn(g4rt_session* session, const Body& body) {
  return guarded([&] {
    Session& of = need(session, "session")->session;
    const auto turn = of.turn();
    body(of);
  });
}

const char* named(const char* path) {
  if (!*need(path, "path")) fail(G4RT_BAD_ARGUMENT, "path is empty");
  return path;
}

// What the callback returns. It is the caller's: what it throws is no defect of this library, and ends the answer.
std::int32_t call(g4rt_on_token on_token, void* user, std::int32_t token, const std::string* text) {
  try {
    return on_token(user, token, text ? text->data() : nullptr, text ? text->size() : 0);
  } catch (const std::exception& error) {
    fail(G4RT_CANCELLED, std::string("the callback threw an exception, which ended the answer: ") + error.what());
  } catch (...) {
    fail(G4RT_CANCELLED, "the callback threw an exception of an unknown type, which ended the answer");
  }
}

}  // namespace

g4rt_status g4rt_session_create(const g4rt_model* model, g4rt_session** session) {
  return guarded([&] {
    *need(session, "session") = nullptr;
    *session = new g4rt_session{Session(need(model, "model")->model)};
  });
}

void g4rt_session_destroy(g4rt_session* session) { delete session; }

size_t g4rt_session_length(const g4rt_session* session) {
  size_t length = 0;
  in_turn(const_cast<g4rt_session*>(session), [&](Session& of) { length = static_cast<size_t>(of.length()); });
  return length;
}

g4rt_status g4rt_session_prefill(g4rt_session* session, const int32_t* ids, size_t count, const g4rt_media* const* media,
                                 size_t media_count) {
  return in_turn(session, [&](Session& of) { of.prefill(ids, count, media_of(of.model(), media, media_count)); });
}

g4rt_status g4rt_session_decode(g4rt_session* session, int32_t id) {
  return in_turn(session, [&](Session& of) { of.decode(id); });
}

g4rt_status g4rt_session_logits(const g4rt_session* session, const float** logits, size_t* count) {
  return in_turn(const_cast<g4rt_session*>(session), [&](Session& of) {
    if (of.logits().empty())
      fail(G4RT_BAD_ARGUMENT, "there are no logits: append a token first, behind a rewind too");
    *need(logits, "logits") = of.logits().data();
    *need(count, "count") = of.logits().size();
  });
}

g4rt_status g4rt_session_rewind(g4rt_session* session, size_t tokens) {
  return in_turn(session, [&](Session& of) { of.rewind(static_cast<std::int64_t>(std::min<size_t>(tokens, INT64_MAX))); });
}

g4rt_status g4rt_session_reset(g4rt_session* session) {
  return in_turn(session, [](Session& of) { of.reset(); });
}

void g4rt_session_cancel(g4rt_session* session) {
  if (session) session->session.cancel();
}

g4rt_status g4rt_session_save(g4rt_session* session, const char* path) {
  return in_turn(session, [&](Session& of) { of.save(named(path)); });
}

g4rt_status g4rt_session_restore(g4rt_session* session, const char* path) {
  return in_turn(session, [&](Session& of) { of.restore(named(path)); });
}

g4rt_status g4rt_session_memory(const g4rt_session* session, g4rt_memory* memory) {
  return in_turn(const_cast<g4rt_session*>(session), [&](Session& of) {
    const ProcessMemory process = process_memory();
    *need(memory, "memory") = {of.model().bundle().weight_bytes(), of.kv_bytes(), process.anonymous, process.resident};
  });
}

g4rt_status g4rt_sampler_create(const g4rt_sampling* sampling, g4rt_sampler** sampler) {
  return guarded([&] {
    *need(sampler, "sampler") = nullptr;
    *sampler = new g4rt_sampler{Sampler(sampling)};
  });
}

void g4rt_sampler_destroy(g4rt_sampler* sampler) { delete sampler; }

g4rt_status g4rt_sampler_choose(g4rt_sampler* sampler, const float* logits, size_t count, int32_t* id) {
  return guarded([&] {
    Sampler& of = need(sampler, "sampler")->sampler;
    need(id, "id");  // before anything is drawn
    *id = of.choose(need(logits, "logits"), std::min<size_t>(count, INT32_MAX));
  });
}

g4rt_status g4rt_session_generate(g4rt_session* session, const int32_t* ids, size_t count, const g4rt_media* const* media,
                                  size_t media_count, const g4rt_sampling* sampling, size_t max_new_tokens,
                                  g4rt_on_token on_token, void* user, size_t* generated) {
  size_t made = 0;
  const g4rt_status status = in_turn(session, [&](Session& of) {
    need(on_token, "on_token");
    Sampler sampler(sampling);
    std::string text;
    std::optional<text::TextStream> stream;
    if (of.model().has_tokenizer()) stream.emplace(of.model().tokenizer().stream());
    const auto tell = [&](std::int32_t token) {
      if (call(on_token, user, token, stream ? &text : nullptr)) fail(G4RT_CANCELLED, "the callback ended the answer");
    };
    of.generate(ids, count, media_of(of.model(), media, media_count), sampler, max_new_tokens, [&](std::int32_t token) {
      ++made;
      text.clear();
      if (stream) stream->push(token, text);
      tell(token);
    });
    text.clear();
    if (stream) stream->end(text);
    if (!text.empty()) tell(-1);
  });
  if (generated) *generated = made;
  return status;
}
