// Doubles as decimal text and back: the same in every locale, and without streams, which would be a third of the library
// where the C++ library is linked into it.
#pragma once
#include <string>
#include <string_view>

namespace g4::rt {

// The double that is nearest to `text`, digits as JSON has them: "-12.5e3". Infinity beyond the greatest.
double nearest_double(std::string_view text);

// A finite value as "-1.25e+03", with `digits` of them in front of the exponent, at least 1.
std::string scientific(double value, int digits);

// A finite value, rounded to a whole number, with all its digits.
std::string whole_digits(double value);

}  // namespace g4::rt
