#include "pool.h"

namespace g4 {
namespace {

constexpr int kSpins = 20000;  // some tens of microseconds: products follow each other faster than a thread wakes

}  // namespace

Pool::Pool(int threads) {
  for (int i = 1; i < threads; ++i) threads_.emplace_back([this] { wait_for_work(); });
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    round_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Pool::run(void* context, std::size_t tasks, Task task, void* argument) {
  Pool& pool = *static_cast<Pool*>(context);
  const std::lock_guard caller(pool.callers_);
  const Job job{task, argument, tasks};
  if (pool.threads_.empty() || tasks < 2) {
    for (std::size_t i = 0; i < tasks; ++i) task(argument, i);
    return;
  }
  {
    const std::lock_guard lock(pool.mutex_);
    pool.job_ = job;
    pool.next_.store(0, std::memory_order_relaxed);
    pool.busy_.store(static_cast<int>(pool.threads_.size()), std::memory_order_relaxed);
    pool.round_.fetch_add(1, std::memory_order_release);
  }
  pool.wake_.notify_all();
  pool.work(job);
  for (int spin = 0; spin < kSpins && pool.busy_.load(std::memory_order_acquire); ++spin) {
  }
  std::unique_lock lock(pool.mutex_);
  pool.done_.wait(lock, [&] { return pool.busy_.load(std::memory_order_acquire) == 0; });
}

void Pool::work(const Job& job) {
  for (std::size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < job.tasks;) job.task(job.argument, i);
}

void Pool::wait_for_work() {
  std::uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; ++spin) {
    }
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
      seen = round_.load(std::memory_order_acquire);
      if (stop_) return;
      job = job_;
    }
    work(job);
    const std::lock_guard lock(mutex_);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_.notify_all();
  }
}

}  // namespace g4
