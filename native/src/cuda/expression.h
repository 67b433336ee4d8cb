// Sizes and integers of a plan, as text that is read once and evaluated at each call.
//
//   expression  a sum of terms: a+b+c
//   term        factors, multiplied, and then divided and rounded up: a*b*c/n; n is a number
//   factor      a number; in a plan `r` (all sizes of input 0 but its last, multiplied) or `iN.A` (size A of input N);
//               in a grid `aN` (integer argument N of the launch)
//   condition   expression<=number, or * (always)
//
// All numbers are whole and not negative. What does not fit into 64 bits is wrong, not wrapped.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace g4::cuda {

struct Dimensions {
  const std::int64_t* sizes = nullptr;
  std::size_t rank = 0;
};

// What factors are read from.
struct Scope {
  std::span<const Dimensions> inputs;
  std::span<const std::int64_t> arguments;
};

class Expression {
 public:
  enum class Names { plan, grid };

  // Throws Wrong with the text, the place in it, and what may stand there.
  Expression(std::string_view text, Names names);

  // Throws Wrong where an input has no such size, or the value does not fit into 64 bits.
  std::int64_t value(const Scope& scope) const;

  // Indices of the inputs of which it reads sizes, and of the arguments that it reads.
  const std::vector<std::size_t>& reads() const { return reads_; }
  const std::string& text() const { return text_; }

 private:
  struct Factor {
    enum class Kind { number, rows, size, argument } kind;
    std::int64_t number = 0;  // a number
    std::size_t index = 0;    // of an input or an argument
    std::size_t axis = 0;
  };
  struct Term {
    std::vector<Factor> factors;
    std::int64_t divisor = 1;
  };
  class Parser;

  std::int64_t value(const Factor& factor, const Scope& scope) const;
  std::int64_t multiply(std::int64_t one, std::int64_t other) const;

  std::string text_;
  std::vector<Term> terms_;
  std::vector<std::size_t> reads_;
};

class Condition {
 public:
  explicit Condition(std::string_view text);
  bool holds(const Scope& scope) const;
  const std::string& text() const { return text_; }
  std::vector<std::size_t> reads() const { return left_.empty() ? std::vector<std::size_t>() : left_[0].reads(); }

 private:
  std::string text_;
  std::vector<Expression> left_;  // one, or none: always
  std::int64_t limit_ = 0;
};

// The words of a text, which blanks separate.
std::vector<std::string_view> words_of(std::string_view text);

}  // namespace g4::cuda
