// Kernels by name: machine code that a session gives before it opens a graph, loaded once for each context of CUDA.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "driver.h"
#include "expression.h"

namespace g4::cuda {

// What a session says of a kernel. `image`: a cubin, or PTX. `dependent`: it may start before the kernel in front of it
// on the stream has ended. `grid`: three expressions over the integer arguments of a launch.
struct Record {
  std::string name;
  std::vector<char> image;
  std::string entry;
  std::uint32_t threads = 0;
  std::uint32_t shared = 0;  // bytes
  bool dependent = false;
  std::string grid;

  bool operator==(const Record&) const = default;
};

class Kernel {
 public:
  struct Loaded {
    unsigned long long context = 0;
    Function function = nullptr;
    std::vector<std::size_t> parameters;  // bytes of each
  };

  // Throws Wrong for a record that no launch could use.
  explicit Kernel(Record record);

  const Record& record() const { return record_; }
  const std::array<Expression, 3>& grid() const { return grid_; }
  // Of the context that is current, whose number is `context`; loads it there at the first call. Throws Failed.
  const Loaded& in(unsigned long long context) const;

 private:
  std::unique_ptr<Loaded> load(unsigned long long context) const;

  Record record_;
  std::array<Expression, 3> grid_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Loaded>> loaded_;
  mutable std::atomic<const Loaded*> last_{nullptr};  // nearly always there is one context, and this is it
};

// Kernels are never taken away: nodes of sessions point to them.
class Registry {
 public:
  static Registry& get();

  // Throws Wrong where the name has another kernel already; the same one again changes nothing.
  void add(Record record);
  // Throws Wrong where there is none.
  const Kernel& find(const std::string& name) const;
  // Loads all kernels in the context that is current on this thread. Throws Failed.
  void load() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;
};

}  // namespace g4::cuda
