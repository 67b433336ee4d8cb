#include "kv_cache.h"

#include <algorithm>
#include <cstring>

#include "failure.h"

namespace g4::rt {
namespace {

constexpr std::int64_t kBlock = 256;  // slots by which full buffers grow: copies stay small beside what attention reads

std::string name(const char* begin, const KVLayer& layer, const KVPart& part) {
  return begin + std::to_string(layer.layer) + "." + part.name;
}

}  // namespace

KVCache::KVCache(std::shared_ptr<const Ort> ort, const KVSpec& spec, std::int64_t capacity)
    : ort_(std::move(ort)), spec_(&spec), most_(capacity) {
  for (const KVLayer& layer : spec.layers) {
    Held held{0, layer.slots, {}};
    for (const KVPart& part : spec.parts()) held.values.push_back(empty(layer, part, layer.slots));
    layers_.push_back(std::move(held));
  }
}

Value KVCache::empty(const KVLayer& layer, const KVPart& part, std::int64_t slots) const {
  return zeros(ort_, {1, layer.heads, slots, layer.width(part)}, part.type, part.bytes);
}

std::uint64_t KVCache::bytes() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i)
    for (const KVPart& part : spec_->parts())
      sum += static_cast<std::uint64_t>(spec_->layers[i].bytes(part) * layers_[i].slots);
  return sum;
}

std::int64_t KVCache::most_new() const {
  std::int64_t least = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i)
    if (const KVLayer& layer = spec_->layers[i]; layer.slots) {
      const std::int64_t spare = layer.slots - layer.keep;
      least = least ? std::min(least, spare) : spare;
    }
  return least;
}

// A tensor of `slots`, with the first `count` of another one, of `old_slots`.
Value KVCache::copied(const KVLayer& layer, const KVPart& part, const Value& from, std::int64_t old_slots, std::int64_t slots,
                      std::int64_t count) const {
  Value made = empty(layer, part, slots);
  if (!count) return made;
  const std::size_t row = static_cast<std::size_t>(layer.bytes(part) / layer.heads);
  const char* old = static_cast<const char*>(from.data());
  char* fresh = static_cast<char*>(made.data());
  for (std::int64_t head = 0; head < layer.heads; ++head) {
    std::memcpy(fresh, old, static_cast<std::size_t>(count) * row);
    old += static_cast<std::size_t>(old_slots) * row;
    fresh += static_cast<std::size_t>(slots) * row;
  }
  return made;
}

// A ring of `slots`, with what another one, of `old_slots`, holds of the tokens so far.
Value KVCache::larger_ring(const KVLayer& layer, const KVPart& part, const Value& from, std::int64_t old_slots,
                           std::int64_t slots) const {
  Value made = empty(layer, part, slots);
  const std::size_t row = static_cast<std::size_t>(layer.bytes(part) / layer.heads);
  const auto slot = [&](const Value& of, std::int64_t index) {
    return static_cast<char*>(of.data()) + static_cast<std::size_t>(index) * row;
  };
  for (std::int64_t head = 0; head < layer.heads; ++head)
    for (std::int64_t at = std::max<std::int64_t>(0, length_ - old_slots); at < length_; ++at)
      std::memcpy(slot(made, head * slots + at % slots), slot(from, head * old_slots + at % old_slots), row);
  return made;
}

void KVCache::detach(std::int64_t tokens) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const KVLayer& layer = spec_->layers[i];
    if (!layer.slots || tokens <= layer.slots - layer.keep) continue;
    const std::int64_t slots = layers_[i].slots;
    for (std::size_t p = 0; p < layers_[i].values.size(); ++p) {
      const KVPart& part = spec_->parts()[p];
      layers_[i].values[p] = copied(layer, part, layers_[i].values[p], slots, slots, slots);
    }
  }
}

std::int64_t KVCache::slots_for(std::int64_t tokens) const {
  return std::min((tokens + kBlock - 1) / kBlock * kBlock, most_);
}

void KVCache::reserve(std::int64_t tokens) {
  std::vector<Held> grown = layers_;
  const std::int64_t needed = length_ + tokens, capacity = needed > capacity_ ? slots_for(needed) : capacity_;
  for (std::size_t i = 0; i < grown.size(); ++i) {
    const KVLayer& layer = spec_->layers[i];
    Held& held = grown[i];
    // An image whose tokens see each other is one run, however many tokens it has: rings are made larger for it.
    const std::int64_t slots = !layer.keep   ? capacity
                               : layer.slots ? std::max(held.slots, layer.keep + tokens)
                                             : held.slots;
    if (slots == held.slots) continue;
    for (std::size_t p = 0; p < held.values.size(); ++p) {
      const KVPart& part = spec_->parts()[p];
      held.values[p] = layer.keep ? larger_ring(layer, part, held.values[p], held.slots, slots)
                                  : copied(layer, part, held.values[p], held.slots, slots, length_);
    }
    held.slots = slots;
  }
  layers_ = std::move(grown);
  capacity_ = capacity;
}

void KVCache::bind(Graph::Named& inputs, Graph::Named& outputs) const {
  for (std::size_t i = 0; i < layers_.size(); ++i)
    for (std::size_t p = 0; p < layers_[i].values.size(); ++p) {
      const KVLayer& layer = spec_->layers[i];
      const KVPart& part = spec_->parts()[p];
      inputs.emplace_back(name(kPast, layer, part), layers_[i].values[p]);
      outputs.emplace_back(name(kPresent, layer, part), layer.in_place() ? layers_[i].values[p] : Value());
    }
}

void KVCache::advance(std::int64_t tokens, const Graph::Named& outputs) {
  length_ += tokens;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const KVLayer& layer = spec_->layers[i];
    if (!layer.keep) continue;
    layers_[i].tokens = std::min(layers_[i].tokens + tokens, layer.keep);
    if (layer.in_place()) continue;
    for (std::size_t p = 0; p < layers_[i].values.size(); ++p) {
      const KVPart& part = spec_->parts()[p];
      const std::string wanted = name(kPresent, layer, part);
      for (const auto& [given, value] : outputs)
        if (given == wanted) layers_[i].values[p] = value;
      check_shape(layers_[i].values[p], {1, layer.heads, layers_[i].tokens, layer.width(part)}, wanted);
    }
    layers_[i].slots = layers_[i].tokens;
  }
}

void KVCache::rewind(std::int64_t tokens) {
  const std::int64_t left = length_ - tokens;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const KVLayer& layer = spec_->layers[i];
    if (layer.keep && layers_[i].tokens - tokens < std::min(left, layer.window - 1))
      fail(G4RT_BAD_ARGUMENT, "cannot rewind " + std::to_string(tokens) + " tokens: sliding layers hold " +
                                  std::to_string(spec_->rewind) + " more than their window; rewind fewer, or reset and run the prompt again");
  }
  for (std::size_t i = 0; tokens && i < layers_.size(); ++i) {
    const KVLayer& layer = spec_->layers[i];
    Held& held = layers_[i];
    if (!layer.keep) continue;
    held.tokens -= tokens;
    if (layer.in_place()) continue;
    for (std::size_t p = 0; p < held.values.size(); ++p)
      held.values[p] = copied(layer, spec_->parts()[p], held.values[p], held.slots, held.tokens, held.tokens);
    held.slots = held.tokens;
  }
  length_ = left;
}

std::vector<StateTensor> KVCache::lend() const {
  std::vector<StateTensor> found;
  for (std::size_t i = 0; i < layers_.size(); ++i)
    for (std::size_t p = 0; p < layers_[i].values.size(); ++p) {
      StateTensor one{&spec_->layers[i], &spec_->parts()[p], layers_[i].tokens, layers_[i].slots, {}};
      const auto bytes = static_cast<std::size_t>(one.bytes());
      if (bytes) one.data = {static_cast<const char*>(layers_[i].values[p].data()), bytes};
      found.push_back(one);
    }
  return found;
}

void KVCache::restore(const State& state) {
  const std::size_t parts = spec_->parts().size();
  for (std::size_t i = 0; i < state.tensors.size(); ++i) {
    const StateTensor& one = state.tensors[i];
    Held& held = layers_.at(i / parts);
    held.tokens = one.held;
    held.slots = one.slots;
    held.values.at(i % parts) = empty(*one.layer, *one.part, one.slots);
    if (!one.data.empty()) std::memcpy(held.values[i % parts].data(), one.data.data(), one.data.size());
    if (!one.layer->keep) capacity_ = one.slots;
  }
  length_ = state.tokens;
}

}  // namespace g4::rt
