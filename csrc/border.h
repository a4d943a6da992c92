// What lies beyond the border of an image, for windows of any size.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define TEXFILTERS_HOST_DEVICE __host__ __device__
#else
#define TEXFILTERS_HOST_DEVICE
#endif

namespace texfilters {

constexpr int64_t kLargestRadius = (1 << 15) - 1;  // of a window

enum class Border : int32_t { constant, replicate, reflect, reflect101, wrap };

// The pixel in 0..size-1 that stands at a position, or -1 for the constant 0. size >= 1.
TEXFILTERS_HOST_DEVICE constexpr int64_t border_index(int64_t position, int64_t size, Border border) {
  if (position >= 0 && position < size) return position;
  if (border == Border::constant) return -1;
  if (border == Border::replicate) return position < 0 ? 0 : size - 1;
  const bool at_edge = border == Border::reflect101;  // the outermost pixel is not repeated: cb|abc|ba
  if (at_edge && size == 1) return 0;
  const int64_t period = border == Border::wrap ? size : at_edge ? 2 * size - 2 : 2 * size;
  const int64_t rest = position % period, at = rest < 0 ? rest + period : rest;
  return at < size ? at : period - at - (at_edge ? 0 : 1);
}

}  // namespace texfilters
