// Tasks on the threads of ONNX Runtime. It knows no exceptions, and one that left a task would end the process: the
// first that is thrown is thrown again behind all tasks, and tasks that begin later do nothing.
#pragma once
#include <atomic>
#include <cstddef>
#include <exception>

#include "../parallel.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define G4_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define G4_THREAD_SANITIZER
#endif

// ThreadSanitizer does not see the atomics of an ONNX Runtime that was built without it: its ParallelFor runs tasks
// behind what the caller did before, and comes back behind all of them.
#if defined(G4_THREAD_SANITIZER)
extern "C" void __tsan_acquire(void* order);
extern "C" void __tsan_release(void* order);
#endif

namespace g4::ort {

#if defined(G4_THREAD_SANITIZER)
inline void acquire(void* order) { __tsan_acquire(order); }
inline void release(void* order) { __tsan_release(order); }
#else
inline void acquire(void*) {}
inline void release(void*) {}
#endif

class Tasks {
 public:
  Tasks(Task task, void* argument) : task_(task), argument_(argument) {}

  // Calls parallel_for(task, argument), which calls the task for each index and returns behind all of these calls.
  template <class ParallelFor>
  void run(const ParallelFor& parallel_for) {
    release(this);
    parallel_for(one, this);
    acquire(this);
    if (problem_) std::rethrow_exception(problem_);
  }

 private:
  static void one(void* tasks, std::size_t index) noexcept {
    auto& all = *static_cast<Tasks*>(tasks);
    acquire(tasks);
    try {
      if (!all.failed_.load(std::memory_order_relaxed)) all.task_(all.argument_, index);
    } catch (...) {
      if (!all.failed_.exchange(true)) all.problem_ = std::current_exception();
    }
    release(tasks);
  }

  const Task task_;
  void* const argument_;
  std::atomic<bool> failed_{false};
  std::exception_ptr problem_;  // of the one task that set failed_
};

}  // namespace g4::ort
