// What is wrong, in words: thrown, and made a status or an error text where the library was called.
#pragma once
#include <exception>
#include <string>
#include <utility>

namespace g4 {

struct Wrong : std::exception {
  explicit Wrong(std::string words) : words(std::move(words)) {}
  const char* what() const noexcept override { return words.c_str(); }
  std::string words;
};

}  // namespace g4
