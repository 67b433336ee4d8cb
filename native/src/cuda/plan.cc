#include "plan.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "../wrong.h"

namespace g4::cuda {
namespace {

// The index in `iN` or `oN`, where `word` is one.
std::optional<std::size_t> operand(std::string_view word, char kind) {
  std::size_t index = 0;
  if (word.size() < 2 || word[0] != kind || word[1] < '0' || word[1] > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(word.data() + 1, word.data() + word.size(), index);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return index;
}

// Runs `body`, and puts the string of the plan in front of what it throws.
template <class Body>
void reading(const char* attribute, const std::string& text, const Body& body) {
  try {
    body();
  } catch (const Wrong& wrong) {
    throw Wrong(std::string(attribute) + " \"" + text + "\": " + wrong.words);
  }
}

void check_output(std::size_t index, const Operands& operands) {
  if (index >= operands.outputs.size()) throw Wrong("the op has no output " + std::to_string(index));
}

bool has_size(const Choice& choice, std::size_t index) {
  const auto is_it = [&](const OutputSize& output) { return output.index == index; };
  return std::ranges::any_of(choice.outputs, is_it) || std::ranges::any_of(choice.scratch, is_it);
}

// Whether a launch takes the address of an output.
bool takes(const Choice& choice, std::size_t index) {
  for (const Launch& launch : choice.launches)
    for (const Argument& argument : launch.arguments)
      if (argument.kind == Argument::Kind::output && argument.index == index) return true;
  return false;
}

}  // namespace

Plan::Plan(const std::vector<std::string>& launches, const std::vector<std::string>& sizes, const Operands& operands,
           const Registry& registry) {
  for (const std::string& text : launches)
    reading("launches", text, [&] { add_launch(text, operands, registry); });
  for (const std::string& text : sizes) reading("sizes", text, [&] { add_size(text, operands); });
  if (choices_.empty()) throw Wrong("launches is empty");
  for (Choice& one : choices_) finish(one, operands);
}

Choice& Plan::choice(std::string_view condition, const Operands& operands, bool may_add) {
  for (Choice& one : choices_)
    if (one.condition.text() == condition) return one;
  if (!may_add) throw Wrong("no launch has this condition; - as a kernel launches nothing");
  choices_.push_back({Condition(condition), {}, {}, {}});
  reads(choices_.back().condition.reads(), operands);
  return choices_.back();
}

void Plan::add_launch(const std::string& text, const Operands& operands, const Registry& registry) {
  const std::vector<std::string_view> words = words_of(text);
  if (words.size() < 2) throw Wrong("there must be a condition, a kernel and its arguments");
  Choice& to = choice(words[0], operands, true);
  if (words[1] == "-") {
    if (words.size() > 2) throw Wrong("- takes no arguments");
    return;
  }
  if (words.size() - 2 > kMaxArguments)
    throw Wrong("there are " + std::to_string(words.size() - 2) + " arguments, more than " +
                std::to_string(kMaxArguments));
  Launch launch{&registry.find(std::string(words[1])), {}};
  std::size_t integers = 0;
  for (std::size_t i = 2; i < words.size(); ++i) {
    if (const auto input = operand(words[i], 'i')) {
      if (*input >= operands.inputs.size()) throw Wrong("the op has no input " + std::to_string(*input));
      if (operands.inputs[*input]) addresses_ |= 1u << *input;
      launch.arguments.push_back({Argument::Kind::input, *input, {}});
    } else if (const auto output = operand(words[i], 'o')) {
      check_output(*output, operands);
      launch.arguments.push_back({Argument::Kind::output, *output, {}});
    } else if (words[i] == "null") {
      launch.arguments.push_back({Argument::Kind::null, 0, {}});
    } else {
      launch.arguments.push_back({Argument::Kind::integer, integers++, {expression(words[i], operands)}});
    }
  }
  for (const Expression& one : launch.kernel->grid())
    for (const std::size_t index : one.reads())
      if (index >= integers)
        throw Wrong("the grid \"" + launch.kernel->record().grid + "\" of the kernel reads integer argument " +
                    std::to_string(index) + ", and the launch has " + std::to_string(integers));
  to.launches.push_back(std::move(launch));
}

void Plan::add_size(const std::string& text, const Operands& operands) {
  const std::vector<std::string_view> words = words_of(text);
  if (words.size() < 2) throw Wrong("there must be a condition, an output and its sizes");
  Choice& to = choice(words[0], operands, false);
  const auto output = operand(words[1], 'o');
  if (!output) throw Wrong("\"" + std::string(words[1]) + "\" is not an output: oN");
  check_output(*output, operands);
  if (has_size(to, *output)) throw Wrong("the output has sizes under this condition already");
  if (words.size() - 2 > kMaxRank) throw Wrong("an output has at most " + std::to_string(kMaxRank) + " axes");
  OutputSize size{*output, {}};
  for (std::size_t i = 2; i < words.size(); ++i) size.dims.push_back(expression(words[i], operands));
  (operands.outputs[*output] ? to.outputs : to.scratch).push_back(std::move(size));
}

Expression Plan::expression(std::string_view text, const Operands& operands) {
  Expression found(text, Expression::Names::plan);
  reads(found.reads(), operands);
  return found;
}

void Plan::reads(const std::vector<std::size_t>& inputs, const Operands& operands) {
  for (const std::size_t input : inputs) {
    if (input >= operands.inputs.size() || !operands.inputs[input])
      throw Wrong("it reads sizes of input " + std::to_string(input) + ", which the node does not have");
    sizes_ |= 1u << input;
  }
}

// Every output that the node has, or that a launch takes, has sizes; scratch that none takes is left out.
void Plan::finish(Choice& choice, const Operands& operands) {
  for (std::size_t index = 0; index < operands.outputs.size(); ++index)
    if ((operands.outputs[index] || takes(choice, index)) && !has_size(choice, index))
      throw Wrong("under the condition " + choice.condition.text() + " output " + std::to_string(index) +
                  " has no sizes");
  std::erase_if(choice.scratch, [&](const OutputSize& output) { return !takes(choice, output.index); });
}

const Choice& Plan::choose(const Scope& scope) const {
  for (const Choice& one : choices_)
    if (one.condition.holds(scope)) return one;
  std::string words;
  for (const Choice& one : choices_) words += (words.empty() ? "" : ", ") + one.condition.text();
  throw Wrong("none of the conditions holds: " + words);
}

}  // namespace g4::cuda
