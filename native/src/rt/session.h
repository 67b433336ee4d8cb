// One conversation: tokens that are appended to a state, and the logits behind them.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kv_cache.h"
#include "media/placeholders.h"
#include "model.h"
#include "sampling.h"

namespace g4::rt {

// An image or a sound as its encoder reads it.
struct Media {
  Kind kind;
  std::int64_t tokens;
  std::size_t rows, columns;
  std::vector<float> values;            // [rows, columns]
  std::vector<std::int64_t> positions;  // [rows, 2] of an image
};

class Session {
 public:
  explicit Session(std::shared_ptr<const Model> model);

  // Appends a prompt, with the features of `media` in the place of their placeholders, of which none may be left over.
  // After a Failure the state is as before.
  void prefill(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media);
  // Appends one id, of which nothing is asked: a model may choose a placeholder.
  void decode(std::int32_t id);
  // Logits [vocab_size] behind the last token; empty before the first, and after a rewind.
  const std::vector<float>& logits() const { return logits_; }
  std::int64_t length() const { return cache_.length(); }
  std::uint64_t kv_bytes() const { return cache_.bytes(); }
  void rewind(std::int64_t tokens);
  void reset();
  void cancel() { cancelled_ = true; }
  // The turn of a caller, until it is destroyed. A callback of a call asks too, on the thread that has the turn: for a
  // std::mutex that is undefined.
  class Turn {
   public:
    explicit Turn(std::atomic<bool>& taken) : taken_(taken) {}
    ~Turn() { taken_.store(false, std::memory_order_release); }
    Turn(const Turn&) = delete;

   private:
    std::atomic<bool>& taken_;
  };
  // Throws Failure G4RT_BUSY while another one has it.
  Turn turn();
  void check_going() const;  // throws Failure G4RT_CANCELLED

  // Tokens until a stop token, `limit`, or a full context, behind a prompt. `take` is given each one.
  void generate(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media, Sampler& sampler,
                std::size_t limit, const std::function<void(std::int32_t)>& take);

  // The state as a file, and back: state_file.h.
  void save(const std::string& path) const;
  void restore(const std::string& path);

  const Model& model() const { return *model_; }

 private:
  struct Features {
    std::vector<const float*> rows;   // of each id, the features in the place of its embedding, or null
    std::vector<Value> held;          // what `rows` point into
    std::vector<std::int64_t> seen;   // places of images
  };
  void check(const std::int32_t* ids, std::size_t count) const;
  void check_placeholders(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media) const;
  Features features(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media) const;
  Value rows_of(const Media& media) const;
  // Runs `body`, which calls `forward`: what it throws leaves the state and the logits as they were.
  template <class Body>
  void whole(const Body& body);
  void forward(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media);
  void run(const std::int32_t* ids, std::int64_t count, const float* const* rows, const std::int64_t* starts,
           const std::int64_t* ends);

  std::shared_ptr<const Model> model_;
  KVCache cache_;
  std::int64_t width_;  // of embeddings and features
  std::vector<float> logits_, fresh_;  // fresh: of a call that has not ended
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> running_{false};
};

}  // namespace g4::rt
