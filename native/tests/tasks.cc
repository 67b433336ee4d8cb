// Tasks that throw, on threads that know no exceptions, as those of ONNX Runtime. Prints what is wrong, and "N wrong".
#include "../src/ort/tasks.h"

#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kTasks = 1000, kThreads = 4;

void parallel_for(g4::Task task, void* argument) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i; (i = next.fetch_add(1)) < kTasks;) task(argument, i);
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
}

struct Work {
  std::size_t first_that_throws;
  std::atomic<std::size_t> done{0};

  static void task(void* argument, std::size_t index) {
    auto& work = *static_cast<Work*>(argument);
    if (index >= work.first_that_throws) throw std::runtime_error("task " + std::to_string(index));
    ++work.done;
  }

  std::string thrown() {
    try {
      g4::ort::Tasks(task, this).run(parallel_for);
      return "";
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  }
};

int wrong = 0;

void expect(bool holds, const char* words) {
  if (holds) return;
  std::printf("%s\n", words);
  ++wrong;
}

}  // namespace

int main() {
  Work whole{kTasks};
  expect(whole.thrown().empty() && whole.done == kTasks, "tasks that throw nothing: each runs once");
  Work half{kTasks / 2};
  expect(half.thrown().rfind("task ", 0) == 0 && half.done <= kTasks / 2, "tasks that throw: one of them is heard of");
  Work none{0};
  expect(!none.thrown().empty() && none.done == 0, "tasks that all throw: one of them is heard of");
  std::printf("%d wrong\n", wrong);
  return wrong != 0;
}
