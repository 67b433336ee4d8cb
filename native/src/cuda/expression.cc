#include "expression.h"

#include <algorithm>
#include <charconv>

#include "../wrong.h"

namespace g4::cuda {

// Reads a text from left to right. A text is as long as somebody wrote it: nothing here recurses.
class Expression::Parser {
 public:
  Parser(std::string_view text, Names names) : text_(text), names_(names) {}

  std::vector<Term> terms() {
    std::vector<Term> found;
    do found.push_back(term());
    while (take('+'));
    if (at_ != text_.size()) wrong(divided_ ? "+ or the end: a term ends with its divisor" : "+, *, / or the end");
    return found;
  }

 private:
  Term term() {
    Term term;
    do term.factors.push_back(factor());
    while (take('*'));
    divided_ = take('/');
    if (divided_) {
      term.divisor = number("a number above 0");
      if (term.divisor == 0) wrong("a number above 0 in front of this place");
    }
    return term;
  }

  Factor factor() {
    const char* expected = names_ == Names::grid ? "a number or aN" : "a number, r or iN.A";
    Factor factor{Factor::Kind::number};
    if (names_ == Names::grid && take('a')) {
      factor.kind = Factor::Kind::argument;
      factor.index = static_cast<std::size_t>(number(expected));
    } else if (names_ == Names::plan && take('r')) {
      factor.kind = Factor::Kind::rows;
    } else if (names_ == Names::plan && take('i')) {
      factor.kind = Factor::Kind::size;
      factor.index = static_cast<std::size_t>(number(expected));
      if (!take('.')) wrong(". and the number of an axis");
      factor.axis = static_cast<std::size_t>(number("the number of an axis"));
    } else {
      factor.number = number(expected);
    }
    return factor;
  }

  std::int64_t number(const char* expected) {
    std::int64_t value = 0;
    const char *first = text_.data() + at_, *last = text_.data() + text_.size();
    // from_chars takes a sign too.
    if (first == last || *first < '0' || *first > '9') wrong(expected);
    const auto [end, error] = std::from_chars(first, last, value);
    if (error != std::errc()) wrong("a number of 64 bits");
    at_ += static_cast<std::size_t>(end - first);
    return value;
  }

  bool take(char one) {
    if (at_ == text_.size() || text_[at_] != one) return false;
    ++at_;
    return true;
  }

  [[noreturn]] void wrong(const std::string& expected) const {
    throw Wrong("\"" + std::string(text_) + "\" is not an expression: at place " + std::to_string(at_) +
                " there must be " + expected);
  }

  std::string_view text_;
  Names names_;
  std::size_t at_ = 0;
  bool divided_ = false;  // the last term
};

Expression::Expression(std::string_view text, Names names) : text_(text), terms_(Parser(text, names).terms()) {
  for (const Term& term : terms_)
    for (const Factor& factor : term.factors)
      if (factor.kind != Factor::Kind::number) reads_.push_back(factor.index);
}

std::int64_t Expression::value(const Scope& scope) const {
  std::int64_t sum = 0;
  for (const Term& term : terms_) {
    std::int64_t product = 1;
    for (const Factor& factor : term.factors) product = multiply(product, value(factor, scope));
    product = product / term.divisor + (product % term.divisor > 0);
    if (__builtin_add_overflow(sum, product, &sum)) throw Wrong(text_ + " is more than 64 bits hold");
  }
  return sum;
}

std::int64_t Expression::multiply(std::int64_t one, std::int64_t other) const {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(one, other, &product)) throw Wrong(text_ + " is more than 64 bits hold");
  return product;
}

std::int64_t Expression::value(const Factor& factor, const Scope& scope) const {
  if (factor.kind == Factor::Kind::number) return factor.number;
  if (factor.kind == Factor::Kind::argument) {
    if (factor.index >= scope.arguments.size())
      throw Wrong(text_ + " reads integer argument " + std::to_string(factor.index) + ", and the launch has " +
                  std::to_string(scope.arguments.size()));
    return scope.arguments[factor.index];
  }
  const bool rows = factor.kind == Factor::Kind::rows;
  const Dimensions input = factor.index < scope.inputs.size() ? scope.inputs[factor.index] : Dimensions{};
  if (input.rank <= (rows ? 0 : factor.axis))
    throw Wrong(text_ + " reads " + (rows ? "the rows" : "size " + std::to_string(factor.axis)) + " of input " +
                std::to_string(factor.index) + ", which has " + std::to_string(input.rank) + " axes");
  if (!rows) return input.sizes[factor.axis];
  std::int64_t product = 1;
  for (std::size_t axis = 0; axis + 1 < input.rank; ++axis) product = multiply(product, input.sizes[axis]);
  return product;
}

Condition::Condition(std::string_view text) : text_(text) {
  if (text == "*") return;
  const std::size_t at = text.find("<=");
  if (at == std::string_view::npos) throw Wrong("\"" + text_ + "\" is not a condition: expression<=number, or *");
  left_.emplace_back(text.substr(0, at), Expression::Names::plan);
  const std::string_view right = text.substr(at + 2);
  const auto [end, error] = std::from_chars(right.data(), right.data() + right.size(), limit_);
  if (right.empty() || right[0] < '0' || right[0] > '9' || error != std::errc() || end != right.data() + right.size())
    throw Wrong("\"" + text_ + "\" is not a condition: behind <= there must be a number");
}

bool Condition::holds(const Scope& scope) const { return left_.empty() || left_[0].value(scope) <= limit_; }

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (end) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

}  // namespace g4::cuda
