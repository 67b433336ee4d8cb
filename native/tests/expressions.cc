// Evaluates what it reads, a line each, until the input ends: for the tests of src/cuda/expression.h.
//
//   in   KIND <tab> TEXT <tab> 2,3;4 (sizes of inputs) <tab> 7,8 (integer arguments); KIND is plan, grid or condition
//   out  a number, 0 or 1 for a condition, or "wrong: " and why
#include <iostream>
#include <sstream>

#include "../src/cuda/expression.h"
#include "../src/wrong.h"

using namespace g4::cuda;

namespace {

std::vector<std::int64_t> numbers(const std::string& text) {
  std::vector<std::int64_t> found;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) found.push_back(std::stoll(word));
  return found;
}

std::string answer(const std::string& kind, const std::string& text, const Scope& scope) {
  try {
    if (kind == "condition") return std::to_string(Condition(text).holds(scope));
    return std::to_string(Expression(text, kind == "grid" ? Expression::Names::grid : Expression::Names::plan).value(scope));
  } catch (const g4::Wrong& wrong) {
    return "wrong: " + wrong.words;
  }
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream stream(line);
    std::string kind, text, inputs, arguments;
    std::getline(stream, kind, '\t');
    std::getline(stream, text, '\t');
    std::getline(stream, inputs, '\t');
    std::getline(stream, arguments, '\t');
    std::vector<std::vector<std::int64_t>> sizes;
    std::istringstream of_inputs(inputs);
    for (std::string one; std::getline(of_inputs, one, ';');) sizes.push_back(numbers(one));
    std::vector<Dimensions> dimensions;
    for (const auto& one : sizes) dimensions.push_back({one.data(), one.size()});
    const std::vector<std::int64_t> integers = numbers(arguments);
    std::cout << answer(kind, text, {dimensions, integers}) << std::endl;
  }
}
