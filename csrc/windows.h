// The windows of the filters and their weights, as every backend computes them.
#pragma once

#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "border.h"

namespace texfilters {

inline Border parse_border(const std::string& name) {
  constexpr std::array<const char*, 5> kNames = {"constant", "replicate", "reflect", "reflect101", "wrap"};
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  STD_TORCH_CHECK(found != kNames.end(), "border must be constant, replicate, reflect, reflect101 or wrap, got ", name);
  return static_cast<Border>(found - kNames.begin());
}

inline void check_window(const char* name, int64_t size, int64_t least) {
  STD_TORCH_CHECK(size >= least && size % 2 == 1 && size / 2 <= kLargestRadius, name, " must be odd and lie in [",
                  least, ", ", 2 * kLargestRadius + 1, "], got ", size);
}

// A radius from a length in pixels, rounded half to even; NaN is 0.
inline int64_t radius_of(double length) {
  return length > 0 ? std::lrint(std::min(length, static_cast<double>(kLargestRadius))) : 0;
}

inline int64_t bilateral_radius(int64_t d, double sigma_space) {
  return std::max<int64_t>(1, d > 0 ? std::min(d / 2, kLargestRadius) : radius_of(1.5 * sigma_space));
}

// kernel_size 0: the whole number above 3 sigma.
inline int64_t gaussian_radius(int64_t kernel_size, double sigma) {
  return kernel_size > 0 ? kernel_size / 2 : radius_of(std::ceil(3 * sigma));
}

// exp(-i^2 / (2 sigma^2)) for |i| <= radius with the sum 1, from the left to the right; NaN for a sigma out of range.
inline std::vector<double> gaussian_weights(double sigma, int64_t radius) {
  if (!(sigma >= 0)) sigma = std::nan("");
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = -radius; i <= radius; ++i) {
    const double ratio = i == 0 && sigma == 0 ? 0 : static_cast<double>(i) / sigma;
    sum += weights.emplace_back(std::exp(-0.5 * ratio * ratio));
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

// Of the adaptive threshold: OpenCV's tables for small windows, which are exact in binary.
inline std::vector<double> threshold_gaussian(int64_t block_size) {
  switch (block_size) {
    case 1:
      return {1};
    case 3:
      return {0.25, 0.5, 0.25};
    case 5:
      return {0.0625, 0.25, 0.375, 0.25, 0.0625};
    case 7:
      return {0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125};
    case 9:
      return {0.015625, 0.05078125, 0.1171875, 0.19921875, 0.234375, 0.19921875, 0.1171875, 0.05078125, 0.015625};
    default:
      return gaussian_weights(0.15 * static_cast<double>(block_size) + 0.35, block_size / 2);
  }
}

}  // namespace texfilters
