// What the entry points of g4rt.h share: handles, and failures as statuses. Nothing is thrown out of them.
#pragma once
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "failure.h"
#include "session.h"

struct g4rt_model {
  std::shared_ptr<const g4::rt::Model> model;
};

struct g4rt_session {
  g4::rt::Session session;
};

struct g4rt_media {
  std::shared_ptr<const g4::rt::Model> model;  // whose sizes it has
  g4::rt::Media media;
};

struct g4rt_sampler {
  g4::rt::Sampler sampler;
};

struct g4rt_stream {
  std::shared_ptr<const g4::rt::Model> model;  // whose tokenizer it reads
  g4::rt::text::TextStream stream;
  std::string text;
};

namespace g4::rt {

// Keeps the words of a failure for g4rt_last_error() of this thread; where there is no memory for them, others.
void remember(std::string_view words, std::string_view front = "") noexcept;

// Runs `body`; the status of what it throws, its words in g4rt_last_error().
template <class Body>
g4rt_status guarded(const Body& body) noexcept {
  try {
    body();
    return G4RT_OK;
  } catch (const Failure& failure) {
    remember(failure.words);
    return failure.status;
  } catch (const std::bad_alloc&) {
    remember("there is not enough memory");
    return G4RT_MACHINE;
  } catch (const std::exception& error) {
    remember(error.what(), "a defect of libg4rt: ");
    return G4RT_DEFECT;
  } catch (...) {
    remember("an exception of an unknown type", "a defect of libg4rt: ");
    return G4RT_DEFECT;
  }
}

// Throws Failure G4RT_BAD_ARGUMENT where `pointer` is null.
template <class Pointer>
Pointer* need(Pointer* pointer, const char* name) {
  if (!pointer) fail(G4RT_BAD_ARGUMENT, std::string(name) + " is NULL");
  return pointer;
}

// Writes `count` of `from` to where the caller has room, as g4rt.h says of results.
template <class One>
void give(const One* from, std::size_t count, One* to, std::size_t capacity, std::size_t* counted) {
  *need(counted, "count") = count;
  if (count > capacity)
    fail(G4RT_NO_ROOM, "the result has " + std::to_string(count) + " entries, and there is room for " + std::to_string(capacity));
  if (count) std::copy(from, from + count, need(to, "the room for the result"));
}

// The media of a call, checked to be of the model.
std::vector<const Media*> media_of(const Model& model, const g4rt_media* const* media, std::size_t count);

}  // namespace g4::rt
