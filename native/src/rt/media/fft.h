// The Fourier transform of real numbers, in double, for any number of points.
#pragma once
#include <cstddef>
#include <vector>

namespace g4::rt {

// Complex numbers, real and imaginary parts apart: so compilers make vectors of them.
struct Complexes {
  std::vector<double> re, im;
  explicit Complexes(std::size_t count) : re(count), im(count) {}
};

// Of 2^n points, by Stockham's form of the fast transform, which needs no reordering.
class PowerOfTwoFft {
 public:
  explicit PowerOfTwoFft(std::size_t points);
  // `values` [points] becomes its transform, not divided by anything; the inverse has the signs of the angles turned.
  void transform(Complexes& values, bool inverse = false);

 private:
  std::size_t points_;
  Complexes turns_, next_;  // turns: exp(-2 pi i k / points) of k below points / 2
};

// Magnitudes of the transform of real values. Powers of two are transformed as half as many complex numbers; others by
// Bluestein's algorithm, a convolution whose size is a power of two.
class RealFft {
 public:
  explicit RealFft(std::size_t points);
  std::size_t bins() const { return points_ / 2 + 1; }
  // `values` [points] -> `magnitudes` [bins]. Not for two threads at once: it works in memory of its own.
  void magnitudes(const double* values, double* magnitudes);

 private:
  void halves(const double* values, double* magnitudes);
  void bluestein(const double* values, double* magnitudes);

  std::size_t points_;
  bool halved_;
  PowerOfTwoFft fft_;
  Complexes work_, turns_, kernel_;  // kernel: of Bluestein, transformed
};

}  // namespace g4::rt
