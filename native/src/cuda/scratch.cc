#include "scratch.h"

namespace g4::cuda {

Allocator::Allocator(const ort::Node& node, const OrtKernelInfo* info) : api_(node.api()) {
  node.check(api_.KernelInfoGetAllocator(info, OrtMemTypeDefault, &allocator_));
}

// KernelContext_GetScratchBuffer would do the same, but it ends the process where no memory is left.
void* Allocator::take(std::size_t bytes) const {
  void* memory = nullptr;
  if (bytes == 0) return memory;
  OrtStatus* status = api_.AllocatorAlloc(allocator_, bytes, &memory);
  if (!status && memory) return memory;
  std::string words = std::to_string(bytes) + " bytes of scratch memory cannot be allocated";
  if (status) {
    words.append(": ").append(api_.GetErrorMessage(status));
    api_.ReleaseStatus(status);
  }
  throw std::runtime_error(words);
}

void Allocator::give_back(void* memory) const noexcept {
  if (!memory) return;
  if (OrtStatus* status = api_.AllocatorFree(allocator_, memory)) api_.ReleaseStatus(status);
}

}  // namespace g4::cuda
