#include "registry.h"

#include <limits>

#include "../wrong.h"

namespace g4::cuda {
namespace {

constexpr int kMaxDynamicShared = 8;         // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
constexpr std::uint32_t kPlainShared = 48 << 10;  // more has to be asked for
constexpr Result kInvalidValue = 1;          // CUDA_ERROR_INVALID_VALUE

std::array<Expression, 3> parse_grid(const std::string& text) {
  const std::vector<std::string_view> words = words_of(text);
  if (words.size() != 3) throw Wrong("the grid \"" + text + "\" has not three expressions");
  const auto one = [&](std::size_t i) { return Expression(words[i], Expression::Names::grid); };
  return {one(0), one(1), one(2)};
}

}  // namespace

Kernel::Kernel(Record record) : record_(std::move(record)), grid_(parse_grid(record_.grid)) {
  if (words_of(record_.name).size() != 1 || words_of(record_.name)[0] != record_.name || record_.name == "-")
    throw Wrong("a name is one word, and not -");
  if (record_.image.empty()) throw Wrong("it has no machine code");
  if (record_.entry.empty()) throw Wrong("it has no entry");
  if (record_.threads < 1 || record_.threads > 1024)
    throw Wrong("it has " + std::to_string(record_.threads) + " threads, not 1..1024");
  if (record_.shared > std::numeric_limits<std::int32_t>::max())
    throw Wrong("it has " + std::to_string(record_.shared) + " bytes of shared memory");
}

const Kernel::Loaded& Kernel::in(unsigned long long context) const {
  const Loaded* last = last_.load(std::memory_order_acquire);
  if (last && last->context == context) return *last;
  const std::lock_guard<std::mutex> lock(mutex_);
  const Loaded* found = nullptr;
  for (const auto& one : loaded_)
    if (one->context == context) found = one.get();
  if (!found) found = loaded_.emplace_back(load(context)).get();
  last_.store(found, std::memory_order_release);
  return *found;
}

std::unique_ptr<Kernel::Loaded> Kernel::load(unsigned long long context) const {
  const Driver& driver = Driver::get();
  const std::string what = "the kernel \"" + record_.name + "\"";
  std::vector<char> image = record_.image;
  image.push_back('\0');  // PTX is text
  auto loaded = std::make_unique<Loaded>();
  loaded->context = context;
  Module module = nullptr;
  driver.check(driver.cuModuleLoadData(&module, image.data()), "cuModuleLoadData", what);
  driver.check(driver.cuModuleGetFunction(&loaded->function, module, record_.entry.c_str()), "cuModuleGetFunction",
               what + " (entry " + record_.entry + ")");
  // Otherwise a driver may load it at its first launch, which is too late for an error and forbidden in a capture.
  driver.check(driver.cuFuncLoad(loaded->function), "cuFuncLoad", what);
  if (record_.shared > kPlainShared)
    driver.check(driver.cuFuncSetAttribute(loaded->function, kMaxDynamicShared, static_cast<int>(record_.shared)),
                 "cuFuncSetAttribute", what + " (" + std::to_string(record_.shared) + " bytes of shared memory)");
  for (std::size_t size = 0;;) {
    std::size_t offset = 0;
    const std::size_t index = loaded->parameters.size();
    const Result result = driver.cuFuncGetParamInfo(loaded->function, index, &offset, &size);
    if (result == kInvalidValue) break;  // there are no more
    driver.check(result, "cuFuncGetParamInfo", what);
    loaded->parameters.push_back(size);
  }
  return loaded;
}

Registry& Registry::get() {
  static Registry registry;
  return registry;
}

void Registry::add(Record record) {
  const std::string name = record.name;
  try {
    auto kernel = std::make_unique<Kernel>(std::move(record));
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = kernels_.find(name);
    if (found == kernels_.end())
      kernels_.emplace(name, std::move(kernel));
    else if (found->second->record() != kernel->record())
      throw Wrong("another kernel of this name is here: two bundles that different versions of g4compile made are "
                  "open in one process; open one of them in another process, or compile both with one version");
  } catch (const Wrong& wrong) {
    throw Wrong("the kernel \"" + name + "\": " + wrong.words);
  }
}

const Kernel& Registry::find(const std::string& name) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = kernels_.find(name);
  if (found == kernels_.end())
    throw Wrong("there is no kernel \"" + name + "\": kernels are given to libg4cuda before the graph is opened");
  return *found->second;
}

void Registry::load() const {
  std::vector<const Kernel*> all;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [name, kernel] : kernels_) all.push_back(kernel.get());
  }
  const unsigned long long context = Driver::get().context();
  for (const Kernel* kernel : all) kernel->in(context);
}

}  // namespace g4::cuda
