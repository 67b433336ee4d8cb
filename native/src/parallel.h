// Work in tasks, for whoever owns the threads: ONNX Runtime in the ops, a pool of ours elsewhere.
#pragma once
#include <cstddef>

namespace g4 {

using Task = void (*)(void* argument, std::size_t index);

// Calls task(argument, i) once for each i below `tasks`, in any order and on any threads, and returns after all.
struct Parallel {
  void* context;
  void (*run)(void* context, std::size_t tasks, Task task, void* argument);

  // `body` is a callable that takes the index; it is borrowed for the call.
  template <class Body>
  void each(std::size_t tasks, Body& body) const {
    if (tasks == 1) return body(0);
    run(context, tasks, [](void* argument, std::size_t index) { (*static_cast<Body*>(argument))(index); }, &body);
  }
};

// The caller alone.
inline constexpr Parallel kAlone = {nullptr, [](void*, std::size_t tasks, Task task, void* argument) {
                                      for (std::size_t i = 0; i < tasks; ++i) task(argument, i);
                                    }};

}  // namespace g4
