// A pool of threads for tests and benchmarks. Work inside ONNX Runtime uses the session's own threads.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel.h"

namespace g4 {

class Pool {
 public:
  explicit Pool(int threads);  // the caller is one of them
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  Parallel parallel() { return {this, run}; }

 private:
  struct Job {
    Task task = nullptr;
    void* argument = nullptr;
    std::size_t tasks = 0;
  };
  static void run(void* context, std::size_t tasks, Task task, void* argument);
  void work(const Job& job);
  void wait_for_work();

  std::mutex callers_;  // one run at a time
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Job job_;
  std::atomic<std::uint64_t> round_{0};
  bool stop_ = false;
  std::atomic<std::size_t> next_{0};
  std::atomic<int> busy_{0};
  std::vector<std::thread> threads_;
};

}  // namespace g4
