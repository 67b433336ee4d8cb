// For ThreadSanitizer, which does not see the atomics of an ONNX Runtime that was built without it: its ParallelFor runs
// tasks behind what the caller did before, and comes back behind all of them. Otherwise nothing.
#pragma once
#include <cstddef>

#include "../parallel.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define G4_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define G4_THREAD_SANITIZER
#endif

#if defined(G4_THREAD_SANITIZER)
extern "C" void __tsan_acquire(void* order);
extern "C" void __tsan_release(void* order);
#endif

namespace g4::ort {

// Calls parallel_for(task, argument), which is ONNX Runtime's.
template <class ParallelFor>
void in_order(Task task, void* argument, const ParallelFor& parallel_for) {
#if defined(G4_THREAD_SANITIZER)
  struct Ordered {
    Task task;
    void* argument;
  } ordered{task, argument};
  const Task run = [](void* given, std::size_t index) {
    __tsan_acquire(given);
    const auto* one = static_cast<Ordered*>(given);
    one->task(one->argument, index);
    __tsan_release(given);
  };
  __tsan_release(&ordered);
  parallel_for(run, &ordered);
  __tsan_acquire(&ordered);
#else
  parallel_for(task, argument);
#endif
}

}  // namespace g4::ort
