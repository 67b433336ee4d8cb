// libg4rt for C++17: handles that end by themselves, and failures as exceptions. Header only; see g4rt.h for what calls do.
//
//   g4rt::Model model("bundle");
//   g4rt::Session session(model);
//   session.generate(model.encode("Hello"), [](std::int32_t, std::string_view text) { std::cout << text; return true; });
#pragma once
#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "g4rt.h"

namespace g4rt {

class Error : public std::runtime_error {
 public:
  explicit Error(g4rt_status given) : std::runtime_error(g4rt_last_error()), status(given) {}
  g4rt_status status;
};

inline void check(g4rt_status status) {
  if (status != G4RT_OK) throw Error(status);
}

namespace internal {

template <class Handle, void (*destroy)(Handle*)>
struct Destroy {
  void operator()(Handle* handle) const { destroy(handle); }
};
template <class Handle, void (*destroy)(Handle*)>
using Owned = std::unique_ptr<Handle, Destroy<Handle, destroy>>;

// A result of variable size: `call` is given room, how much there is, and where to put how much it takes.
template <class Result, class Call>
Result sized(const Call& call) {
  std::size_t count = 0;
  const g4rt_status asked = call(static_cast<typename Result::value_type*>(nullptr), std::size_t{0}, &count);
  if (asked != G4RT_NO_ROOM) check(asked);
  Result found(count, typename Result::value_type{});
  if (count) check(call(found.data(), found.size(), &count));
  return found;
}

}  // namespace internal

class Model;

// An image or a sound, as the model reads it.
class Media {
 public:
  static Media image(const Model& model, const std::uint8_t* rgb, std::int32_t width, std::int32_t height,
                     std::int32_t budget = 0);
  static Media audio(const Model& model, const float* samples, std::size_t count);
  std::int32_t tokens() const { return g4rt_media_tokens(get()); }
  const g4rt_media* get() const { return handle_.get(); }

 private:
  explicit Media(g4rt_media* handle) : handle_(handle) {}
  internal::Owned<g4rt_media, g4rt_media_destroy> handle_;
};

using MediaList = std::vector<const Media*>;

namespace internal {

inline std::vector<const g4rt_media*> handles(const MediaList& media) {
  std::vector<const g4rt_media*> found;
  for (const Media* one : media) found.push_back(one->get());
  return found;
}

}  // namespace internal

// An open bundle. Any number of threads may use one at once.
class Model {
 public:
  explicit Model(const std::string& folder, const g4rt_options& options = {}) {
    g4rt_model* made = nullptr;
    check(g4rt_open(folder.c_str(), &options, &made));
    handle_.reset(made);
  }
  g4rt_facts facts() const {
    g4rt_facts found;
    check(g4rt_model_facts(get(), &found));
    return found;
  }
  std::vector<std::int32_t> encode(std::string_view text, const MediaList& media = {}) const {
    const auto given = internal::handles(media);
    return internal::sized<std::vector<std::int32_t>>([&](auto* to, auto capacity, auto* count) {
      return g4rt_encode(get(), text.data(), text.size(), given.data(), given.size(), to, capacity, count);
    });
  }
  std::string decode(const std::vector<std::int32_t>& ids) const {
    return internal::sized<std::string>([&](auto* to, auto capacity, auto* count) {
      return g4rt_decode(get(), ids.data(), ids.size(), to, capacity, count);
    });
  }
  // `json`: an object with `messages`, as docs/embedding.md has them.
  std::string render_chat(std::string_view json) const {
    return internal::sized<std::string>([&](auto* to, auto capacity, auto* count) {
      return g4rt_render_chat(get(), json.data(), json.size(), to, capacity, count);
    });
  }
  const g4rt_model* get() const { return handle_.get(); }

 private:
  internal::Owned<g4rt_model, g4rt_close> handle_;
};

inline Media Media::image(const Model& model, const std::uint8_t* rgb, std::int32_t width, std::int32_t height,
                          std::int32_t budget) {
  g4rt_media* made = nullptr;
  check(g4rt_image_create(model.get(), rgb, width, height, budget, &made));
  return Media(made);
}

inline Media Media::audio(const Model& model, const float* samples, std::size_t count) {
  g4rt_media* made = nullptr;
  check(g4rt_audio_create(model.get(), samples, count, &made));
  return Media(made);
}

struct Answer {
  g4rt_sampling sampling = {};  // greedy
  std::size_t max_new_tokens = 256;
  MediaList media = {};
};

// A conversation. Threads may take turns.
class Session {
 public:
  explicit Session(const Model& model) {
    g4rt_session* made = nullptr;
    check(g4rt_session_create(model.get(), &made));
    handle_.reset(made);
  }
  std::size_t length() const { return g4rt_session_length(get()); }
  void prefill(const std::vector<std::int32_t>& ids, const MediaList& media = {}) {
    const auto given = internal::handles(media);
    check(g4rt_session_prefill(get(), ids.data(), ids.size(), given.data(), given.size()));
  }
  void decode(std::int32_t id) { check(g4rt_session_decode(get(), id)); }
  std::vector<float> logits() const {
    const float* found = nullptr;
    std::size_t count = 0;
    check(g4rt_session_logits(get(), &found, &count));
    return {found, found + count};
  }
  void rewind(std::size_t tokens) { check(g4rt_session_rewind(get(), tokens)); }
  void reset() { check(g4rt_session_reset(get())); }
  void cancel() { g4rt_session_cancel(get()); }
  void save(const std::string& path) { check(g4rt_session_save(get(), path.c_str())); }
  void restore(const std::string& path) { check(g4rt_session_restore(get(), path.c_str())); }
  g4rt_memory memory() const {
    g4rt_memory found;
    check(g4rt_session_memory(get(), &found));
    return found;
  }
  // Appends a prompt and the answer. `take` is given each token and the text that it makes certain, and returns whether to
  // go on; behind the last one it may be given text with the id -1. What it throws is thrown here. The number of tokens.
  template <class Take>
  std::size_t generate(const std::vector<std::int32_t>& ids, Take&& take, const Answer& how = {}) {
    struct Call {
      Take& take;
      std::exception_ptr thrown;
      bool ended;
    } call{take, nullptr, false};
    const g4rt_on_token on_token = [](void* user, std::int32_t id, const char* text, std::size_t bytes) -> std::int32_t {
      Call& of = *static_cast<Call*>(user);
      try {
        of.ended = !of.take(id, std::string_view(text ? text : "", bytes));
      } catch (...) {
        of.thrown = std::current_exception();
        of.ended = true;
      }
      return of.ended;
    };
    const auto given = internal::handles(how.media);
    std::size_t generated = 0;
    const g4rt_status status = g4rt_session_generate(get(), ids.data(), ids.size(), given.data(), given.size(),
                                                     &how.sampling, how.max_new_tokens, on_token, &call, &generated);
    if (call.thrown) std::rethrow_exception(call.thrown);
    if (!(status == G4RT_CANCELLED && call.ended)) check(status);
    return generated;
  }
  g4rt_session* get() const { return handle_.get(); }

 private:
  internal::Owned<g4rt_session, g4rt_session_destroy> handle_;
};

// Turns of a conversation, each given whole, as `render_chat` makes it: of its ids, those that the session holds already
// are not run again.
class Conversation {
 public:
  explicit Conversation(const Model& model) : model_(&model), session_(model) {}

  // The answer to `prompt`, as `Session::generate` gives it.
  template <class Take>
  std::size_t answer(std::string_view prompt, Take&& take, const Answer& how = {}) {
    std::vector<std::int32_t> ids = model_->encode(prompt, how.media);
    // What else was called of the session shows in its length, which is 0 while another thread is in a call.
    const bool known = !held_.empty() && held_.size() == session_.length();
    const bool goes_on = known && how.media.empty() && ids.size() > held_.size();
    if (goes_on && std::equal(held_.begin(), held_.end(), ids.begin())) {
      ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(held_.size()));
    } else {
      reset();
    }
    std::vector<std::int32_t> then = held_;
    then.insert(then.end(), ids.begin(), ids.end());
    const auto keep = [&] {
      then.resize(std::min(then.size(), session_.length()));  // the last token was given, and not appended
      held_ = then;
    };
    try {
      const std::size_t generated = session_.generate(
          ids,
          [&](std::int32_t id, std::string_view text) {
            if (id >= 0) then.push_back(id);
            return take(id, text);
          },
          how);
      keep();
      return generated;
    } catch (...) {
      keep();
      throw;
    }
  }
  void reset() {
    session_.reset();
    held_.clear();
  }
  Session& session() { return session_; }

 private:
  const Model* model_;
  Session session_;
  std::vector<std::int32_t> held_;  // ids in the session
};

}  // namespace g4rt
