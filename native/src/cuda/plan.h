// The plan of a node, read from its attributes `launches` and `sizes`: which kernels run, on what, and how large outputs
// are. The first condition that holds decides about both.
//
//   launches  CONDITION KERNEL ARGUMENT ...; `-` as a kernel launches nothing
//   sizes     CONDITION OUTPUT DIM ...; OUTPUT is oN
//   ARGUMENT  iN (the address of input N, 0 where it is absent), oN (of output N), null (the address 0), or an expression (an
//             int32)
//
// An output that the node does not have is scratch of the op, where a launch takes its address.
#pragma once
#include <string>
#include <vector>

#include "expression.h"
#include "registry.h"

namespace g4::cuda {

constexpr std::size_t kMaxOperands = 16;   // inputs of a node; outputs of a node
constexpr std::size_t kMaxArguments = 64;  // of a launch
constexpr std::size_t kMaxRank = 8;        // of an output

// Which operands a node has. `inputs` and `outputs` are as many as the op has at most.
struct Operands {
  std::vector<bool> inputs, outputs;
};

struct Argument {
  enum class Kind { input, output, null, integer } kind;
  std::size_t index = 0;                // of an input or output
  std::vector<Expression> expression;   // one, of an integer
};

struct Launch {
  const Kernel* kernel;
  std::vector<Argument> arguments;
};

struct OutputSize {
  std::size_t index;
  std::vector<Expression> dims;
};

// `outputs` are those of the node. `scratch`: of what launches take beside.
struct Choice {
  Condition condition;
  std::vector<Launch> launches;
  std::vector<OutputSize> outputs, scratch;
};

class Plan {
 public:
  // Throws Wrong with the string that is wrong, and why.
  Plan(const std::vector<std::string>& launches, const std::vector<std::string>& sizes, const Operands& operands,
       const Registry& registry);

  // Throws Wrong where no condition holds.
  const Choice& choose(const Scope& scope) const;
  // Whether a launch takes the address of an input; whether an expression reads its sizes.
  bool reads_address(std::size_t input) const { return addresses_ >> input & 1; }
  bool reads_sizes(std::size_t input) const { return sizes_ >> input & 1; }

 private:
  Choice& choice(std::string_view condition, const Operands& operands, bool may_add);
  void add_launch(const std::string& text, const Operands& operands, const Registry& registry);
  void add_size(const std::string& text, const Operands& operands);
  Expression expression(std::string_view text, const Operands& operands);
  void reads(const std::vector<std::size_t>& inputs, const Operands& operands);
  static void finish(Choice& choice, const Operands& operands);

  std::vector<Choice> choices_;
  unsigned addresses_ = 0, sizes_ = 0;
};

}  // namespace g4::cuda
