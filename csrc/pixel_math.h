// Per-pixel mathematics that the kernels share: constants and plain functions, without torch and without CUDA's API.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

namespace texfilters {

constexpr double kLog2e = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;

// 2^f = 1 + f (p[0] + f (p[1] + ...)), minimax in the relative error with the value at 0 kept exact, so that flat
// regions and weak gradients keep their weight. Fitted by linear programming on 8001 Chebyshev nodes.
constexpr std::array<double, 5> kExp2OfAHalf = {0.69314706, 0.24022235, 0.055506786, 0.009671961,
                                                0.0013274543};                          // |f| <= 1/2: error 8e-8
constexpr std::array<double, 3> kExp2OfA16th = {0.693147227, 0.24026408, 0.055497516};  // |f| <= 1/16
constexpr std::array<double, 2> kExp2OfA64th = {0.69315734, 0.24022651};                // |f| <= 1/64: error 6e-8

// Of degree 4, for weights of averages.
constexpr std::array<double, 4> kExp2OfAHalfShort = {0.69312418, 0.24024099, 0.055906426, 0.0095828529};  // |f| <= 1/2
constexpr std::array<double, 4> kExp2OfOne = {0.69304484, 0.2412802, 0.05224248, 0.013426681};  // 0 <= f < 1: 3e-6

// The Taylor series of 2^f, ln(2)^k / k!: for |f| <= 1/2 the rest after 13 terms is below float64's rounding.
constexpr std::array<double, 13> exp2_series() {
  std::array<double, 13> series{};
  double term = 1;
  for (std::size_t k = 0; k < series.size(); ++k) series[k] = term *= kLn2 / static_cast<double>(k + 1);
  return series;
}
constexpr std::array<double, 13> kExp2Series = exp2_series();

// 1 / kappa^2, kept finite: 0 * inf would turn flat regions into NaN.
template <class T>
double inverse_square(double kappa) {
  return std::min(1 / (kappa * kappa), static_cast<double>(std::numeric_limits<T>::max()) / 2);
}

}  // namespace texfilters
