// The Gaussian blur's kernels.
#pragma once

#include <cstdint>

namespace texfilters {

// sums[x] = sum_i weights[|i|] * taps[radius + i][x] for x < width, |i| <= radius; whole vectors of it are read and
// written.
template <class T>
struct SymmetricSum {
  const T* const* taps;
  const T* weights;  // [radius + 1]
  int64_t radius, width;
  T* sums;
};
template <class T>
using SumSymmetric = void (*)(const SymmetricSum<T>&);

}  // namespace texfilters
