#include "session.h"

#include <algorithm>
#include <cstring>

#include "failure.h"
#include "media/feeds.h"

namespace g4::rt {
namespace {

constexpr std::int64_t kChunk = 256;  // new tokens of a run: the values between nodes take memory in proportion
constexpr std::uint64_t kLargestState = std::uint64_t{1} << 46;

}  // namespace

Session::Session(std::shared_ptr<const Model> model)
    : model_(std::move(model)),
      cache_(model_->ort(), model_->manifest().kv, model_->capacity()),
      width_(model_->manifest().graph(kEmbed)->outputs.front().shape.back()) {}

Session::Turn Session::turn() {
  if (running_.exchange(true, std::memory_order_acquire))
    fail(G4RT_BUSY, "another thread is in a call of this session: wait until it has ended, or create a session for each thread");
  cancelled_ = false;
  return Turn(running_);
}

void Session::check_going() const {
  if (cancelled_) fail(G4RT_CANCELLED, "the call was cancelled");
}

void Session::check(const std::int32_t* ids, std::size_t count) const {
  const Manifest& manifest = model_->manifest();
  if (!ids || !count) fail(G4RT_BAD_ARGUMENT, "there are no token ids");
  for (std::size_t i = 0; i < count; ++i)
    if (ids[i] < 0 || ids[i] >= manifest.vocab_size)
      fail(G4RT_BAD_ARGUMENT, "the token id " + std::to_string(ids[i]) + " at place " + std::to_string(i) +
                                  " is not one of the vocabulary, 0 to " + std::to_string(manifest.vocab_size - 1));
  const std::size_t room = static_cast<std::size_t>(model_->capacity() - cache_.length());
  if (count > room)
    fail(G4RT_CONTEXT_FULL, std::to_string(count) + " tokens behind " + std::to_string(cache_.length()) +
                                " are beyond what this session may hold, " + std::to_string(model_->capacity()) +
                                ": give fewer, or reset the session");
}

void Session::prefill(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media) {
  check(ids, count);
  check_placeholders(ids, count, media);
  whole([&] { forward(ids, count, media); });
}

void Session::decode(std::int32_t id) {
  check(&id, 1);
  whole([&] { forward(&id, 1, {}); });
}

// Without media too: an image that was forgotten is no padding.
void Session::check_placeholders(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media) const {
  if (media.empty() && model_->manifest().media) places_of(ids, count, {}, *model_->manifest().media);
}

template <class Body>
void Session::whole(const Body& body) {
  KVCache before = cache_;
  try {
    body();
  } catch (...) {
    cache_ = std::move(before);
    throw;
  }
  logits_.swap(fresh_);
}

Value Session::rows_of(const Media& media) const {
  const bool image = media.kind == Kind::kImage;
  const Graph& encoder = model_->encoder(image ? kVision : kAudio);
  const auto rows = static_cast<std::int64_t>(media.rows), columns = static_cast<std::int64_t>(media.columns);
  // ONNX Runtime reads inputs, and its type of a tensor has no const.
  float* values = const_cast<float*>(media.values.data());
  const std::size_t bytes = media.values.size() * sizeof(float);
  Graph::Named inputs{{image ? "pixel_values" : "input_features",
                       Value(model_->ort(), nullptr, values, bytes, {rows, columns}, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)}};
  if (image) inputs.emplace_back("pixel_position_ids", integers(model_->ort(), media.positions, {rows, 2}));
  Graph::Named outputs{{image ? "image_features" : "audio_features", Value()}};
  encoder.run(inputs, outputs);
  return outputs.front().second;
}

Session::Features Session::features(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media) const {
  Features found;
  if (media.empty()) return found;
  if (!model_->manifest().media) fail(G4RT_UNSUPPORTED, "this bundle takes text alone: compile it with --modalities");
  std::vector<Item> items;
  for (const Media* one : media) items.push_back({one->kind, one->tokens});
  const Places places = places_of(ids, count, items, *model_->manifest().media);
  found.rows.assign(count, nullptr);
  found.seen = places.seen;
  for (std::size_t i = 0; i < media.size(); ++i) {
    check_going();
    found.held.push_back(rows_of(*media[i]));
    check_shape(found.held.back(), {static_cast<std::int64_t>(places.items[i].size()), width_}, "features");
    const float* row = static_cast<const float*>(found.held.back().data());
    for (const std::int64_t place : places.items[i]) found.rows[static_cast<std::size_t>(place)] = row, row += width_;
  }
  return found;
}

void Session::forward(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media) {
  const Features found = features(ids, count, media);
  const auto tokens = static_cast<std::int64_t>(count), length = cache_.length();
  const bool bounded = model_->decoder().reads("block_ends");
  const Blocks bounds = blocks(bounded ? found.seen : std::vector<std::int64_t>(), length, tokens);
  std::vector<std::int64_t> ends = bounds.ends;
  for (std::int64_t& end : ends) end -= length;
  cache_.detach(tokens);
  const std::int64_t most = cache_.most_new();
  for (const Piece& piece : pieces(ends, most ? std::min(kChunk, most) : kChunk)) {
    check_going();
    const float* const* rows = found.rows.empty() ? nullptr : found.rows.data() + piece.start;
    run(ids + piece.start, piece.stop - piece.start, rows, bounds.starts.data() + piece.start, bounds.ends.data() + piece.start);
  }
}

void Session::run(const std::int32_t* ids, std::int64_t count, const float* const* rows, const std::int64_t* starts,
                  const std::int64_t* ends) {
  const std::shared_ptr<const Ort>& ort = model_->ort();
  const auto row_of = [&](std::vector<std::int64_t> numbers) { return integers(ort, std::move(numbers), {1, count}); };
  cache_.reserve(count);
  Graph::Named inputs;
  for (const Tensor& one : model_->manifest().graph(kEmbed)->outputs) inputs.emplace_back(one.name, Value());
  model_->embed().run({{"input_ids", row_of({ids, ids + count})}}, inputs);
  check_shape(inputs.front().second, {1, count, width_}, inputs.front().first);
  if (rows) {
    float* embeds = static_cast<float*>(inputs.front().second.data());
    for (std::int64_t i = 0; i < count; ++i)
      if (rows[i]) std::memcpy(embeds + i * width_, rows[i], static_cast<std::size_t>(width_) * sizeof(float));
  }
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < count; ++i) positions.push_back(cache_.length() + i);
  inputs.emplace_back("position_ids", row_of(std::move(positions)));
  inputs.emplace_back("num_logits_to_keep", integers(ort, {1}, {}));
  if (model_->decoder().reads("block_starts")) inputs.emplace_back("block_starts", row_of({starts, starts + count}));
  if (model_->decoder().reads("block_ends")) inputs.emplace_back("block_ends", row_of({ends, ends + count}));
  Graph::Named outputs{{"logits", Value()}};
  cache_.bind(inputs, outputs);
  model_->decoder().run(inputs, outputs);
  const Value& logits = outputs.front().second;
  check_shape(logits, {1, 1, model_->manifest().vocab_size}, "logits");
  cache_.advance(count, outputs);
  const float* first = static_cast<const float*>(logits.data());
  fresh_.assign(first, first + model_->manifest().vocab_size);
}

void Session::rewind(std::int64_t tokens) {
  if (tokens < 0 || tokens > cache_.length())
    fail(G4RT_BAD_ARGUMENT, "cannot rewind " + std::to_string(tokens) + " tokens of " + std::to_string(cache_.length()));
  if (!tokens) return;
  KVCache after = cache_;  // a failure half-way changes nothing
  after.rewind(tokens);
  cache_ = std::move(after);
  logits_.clear();
}

void Session::reset() {
  cache_ = KVCache(model_->ort(), model_->manifest().kv, model_->capacity());
  logits_.clear();
}

void Session::save(const std::string& path) const {
  const std::string_view logits(reinterpret_cast<const char*>(logits_.data()), logits_.size() * sizeof(float));
  write_state(path, model_->manifest(), {cache_.length(), logits, cache_.lend()});
}

void Session::restore(const std::string& path) {
  if (file_facts(path).kind == FileKind::none) fail(G4RT_BAD_ARGUMENT, "there is no saved state at " + path);
  const MappedFile mapped(path, kLargestState, G4RT_BAD_BUNDLE);
  const State state = read_state(mapped.bytes(), path, model_->manifest(), model_->capacity());
  KVCache fresh(model_->ort(), model_->manifest().kv, model_->capacity());
  fresh.restore(state);
  std::vector<float> logits(state.logits.size() / sizeof(float));
  if (!logits.empty()) std::memcpy(logits.data(), state.logits.data(), state.logits.size());
  cache_ = std::move(fresh);
  logits_ = std::move(logits);
}

void Session::generate(const std::int32_t* ids, std::size_t count, const std::vector<const Media*>& media, Sampler& sampler,
                       std::size_t limit, const std::function<void(std::int32_t)>& take) {
  const std::vector<std::int32_t>& stops = model_->manifest().stop_token_ids;
  std::int32_t token = 0;
  check(ids, count);
  check_placeholders(ids, count, media);
  for (std::size_t made = 0; made < limit; ++made) {
    whole([&] {  // choosing may fail too, and then the token is not there
      made ? forward(&token, 1, {}) : forward(ids, count, media);
      token = sampler.choose(fresh_.data(), fresh_.size());
    });
    take(token);
    const bool stop = std::find(stops.begin(), stops.end(), token) != stops.end();
    if (stop || cache_.length() >= model_->capacity()) return;
  }
}

}  // namespace g4::rt
