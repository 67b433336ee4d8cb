// Memory that an op needs while its kernels run: taken from the allocator that gives ONNX Runtime's values theirs, and
// given back when the kernels are on the stream. What follows on the stream may have it: it runs behind them.
#pragma once
#include <array>

#include "../ort/node.h"
#include "plan.h"

namespace g4::cuda {

// The allocator of the device that a node runs on.
class Allocator {
 public:
  Allocator(const ort::Node& node, const OrtKernelInfo* info);
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  ~Allocator() { api_.ReleaseAllocator(allocator_); }

  // Null for 0 bytes. Throws std::runtime_error where the device has none left.
  void* take(std::size_t bytes) const;
  void give_back(void* memory) const noexcept;

 private:
  ort::Api api_;
  OrtAllocator* allocator_ = nullptr;
};

// The scratch of one call, which goes with it: also where a launch fails.
class Scratch {
 public:
  explicit Scratch(const Allocator& allocator) : allocator_(allocator) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    while (count_) allocator_.give_back(taken_[--count_]);
  }

  // At most kMaxOperands times.
  void* take(std::size_t bytes) { return taken_[count_++] = allocator_.take(bytes); }

 private:
  const Allocator& allocator_;
  std::array<void*, kMaxOperands> taken_ = {};
  std::size_t count_ = 0;
};

}  // namespace g4::cuda
