// Images that a filter does not change.
#pragma once

#include "cuda/elements.cuh"

namespace texfilters {

// The bits of a tile's pixels.
__device__ inline void copy_tile(const View& source, const View& output, int64_t channels, int rows, int columns) {
  with_element(source.element, source.data, [&](auto* from) {
    auto* to = global(static_cast<decltype(from)>(output.data));
    for (int64_t i = threadIdx.x; i < channels * rows * columns; i += blockDim.x) {
      const int64_t c = i / (rows * columns), x = i % columns, y = i / columns % rows;
      to[c * output.channel + y * output.y + x * output.x] = from[c * source.channel + y * source.y + x * source.x];
    }
  });
}

}  // namespace texfilters
