#include "fft.h"

#include <bit>
#include <cmath>
#include <numbers>
#include <utility>

namespace g4::rt {
namespace {

bool is_halved(std::size_t points) { return points >= 4 && std::has_single_bit(points); }

std::size_t inner_points(std::size_t points) { return is_halved(points) ? points / 2 : std::bit_ceil(2 * points - 1); }

// `turns` becomes exp(-pi i number(k) / half) for each k.
template <class Number>
void fill(Complexes& turns, double half, Number number) {
  for (std::size_t k = 0; k < turns.re.size(); ++k) {
    const double angle = std::numbers::pi * static_cast<double>(number(k)) / half;
    turns.re[k] = std::cos(angle);
    turns.im[k] = -std::sin(angle);
  }
}

}  // namespace

PowerOfTwoFft::PowerOfTwoFft(std::size_t points) : points_(points), turns_(points / 2), next_(points) {
  fill(turns_, static_cast<double>(points) / 2, [](std::size_t k) { return k; });
}

void PowerOfTwoFft::transform(Complexes& values, bool inverse) {
  const double sign = inverse ? -1 : 1;
  std::size_t runs = 1;  // of numbers that turn alike, beside each other
  for (std::size_t half = points_ / 2; half; half /= 2, runs *= 2) {
    for (std::size_t k = 0; k < half; ++k) {
      const double re = turns_.re[k * runs], im = sign * turns_.im[k * runs];
      const double *first_re = &values.re[k * runs], *first_im = &values.im[k * runs];
      const double *second_re = first_re + half * runs, *second_im = first_im + half * runs;
      double *sum_re = &next_.re[2 * k * runs], *sum_im = &next_.im[2 * k * runs];
      for (std::size_t i = 0; i < runs; ++i) {
        const double left_re = first_re[i] - second_re[i], left_im = first_im[i] - second_im[i];
        sum_re[i] = first_re[i] + second_re[i];
        sum_im[i] = first_im[i] + second_im[i];
        sum_re[runs + i] = left_re * re - left_im * im;
        sum_im[runs + i] = left_re * im + left_im * re;
      }
    }
    std::swap(values.re, next_.re);
    std::swap(values.im, next_.im);
  }
}

RealFft::RealFft(std::size_t points)
    : points_(points),
      halved_(is_halved(points)),
      fft_(inner_points(points)),
      work_(inner_points(points)),
      turns_(halved_ ? bins() : points),
      kernel_(halved_ ? 0 : inner_points(points)) {
  if (halved_) {
    fill(turns_, static_cast<double>(points) / 2, [](std::size_t k) { return k; });
    return;
  }
  // exp(-pi i k^2 / points): of k^2 only the rest counts, and small angles are more exact.
  fill(turns_, static_cast<double>(points), [&](std::size_t k) { return k * k % (2 * points); });
  for (std::size_t k = 0; k < points; ++k)
    for (const std::size_t at : {k, (kernel_.re.size() - k) % kernel_.re.size()}) {
      kernel_.re[at] = turns_.re[k];
      kernel_.im[at] = -turns_.im[k];
    }
  fft_.transform(kernel_);
}

void RealFft::magnitudes(const double* values, double* magnitudes) {
  halved_ ? halves(values, magnitudes) : bluestein(values, magnitudes);
}

void RealFft::halves(const double* values, double* magnitudes) {
  const std::size_t half = points_ / 2;
  for (std::size_t k = 0; k < half; ++k) {
    work_.re[k] = values[2 * k];
    work_.im[k] = values[2 * k + 1];
  }
  fft_.transform(work_);
  for (std::size_t k = 0; k <= half; ++k) {
    const std::size_t here = k % half, other = (half - k) % half;
    // Transforms of the values at even and at odd places, of which the second is turned and added.
    const double even_re = (work_.re[here] + work_.re[other]) / 2, even_im = (work_.im[here] - work_.im[other]) / 2;
    const double odd_re = (work_.im[here] + work_.im[other]) / 2, odd_im = (work_.re[other] - work_.re[here]) / 2;
    const double re = even_re + (odd_re * turns_.re[k] - odd_im * turns_.im[k]);
    const double im = even_im + (odd_re * turns_.im[k] + odd_im * turns_.re[k]);
    magnitudes[k] = std::sqrt(re * re + im * im);
  }
}

void RealFft::bluestein(const double* values, double* magnitudes) {
  const std::size_t inner = work_.re.size();
  for (std::size_t k = 0; k < inner; ++k) {
    work_.re[k] = k < points_ ? values[k] * turns_.re[k] : 0;
    work_.im[k] = k < points_ ? values[k] * turns_.im[k] : 0;
  }
  fft_.transform(work_);
  for (std::size_t k = 0; k < inner; ++k) {
    const double re = work_.re[k] * kernel_.re[k] - work_.im[k] * kernel_.im[k];
    work_.im[k] = work_.re[k] * kernel_.im[k] + work_.im[k] * kernel_.re[k];
    work_.re[k] = re;
  }
  fft_.transform(work_, true);
  // What is left to multiply by has the magnitude 1.
  for (std::size_t k = 0; k < bins(); ++k)
    magnitudes[k] = std::sqrt(work_.re[k] * work_.re[k] + work_.im[k] * work_.im[k]) / static_cast<double>(inner);
}

}  // namespace g4::rt
