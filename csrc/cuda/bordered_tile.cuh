// Tiles of an image in shared memory, with what lies around them.
#pragma once

#include "border.h"
#include "cuda/elements.cuh"

namespace texfilters {

// Calls f(index, y, x) for the positions of a tile of rows x columns that begins at (y, x) of the image and may go
// beyond its border: `index` counts them row by row with `pitch` from one row to the next; y and x are pixels of the
// image, or negative where the border is constant. All threads of the block take part, neighbors in a row; the caller
// has the barrier behind it.
template <class F>
__device__ __forceinline__ void for_bordered_tile(int64_t y, int64_t x, int rows, int columns, int pitch,
                                                  int64_t height, int64_t width, Border border, const F& f) {
  const int threads = blockDim.x, down = threads / columns, across = threads % columns;
  int row = threadIdx.x / columns, column = threadIdx.x % columns;
  const bool inside = y >= 0 && x >= 0 && y + rows <= height && x + columns <= width;
  for (; row < rows; row += down) {
    const int64_t at_y = inside ? y + row : border_index(y + row, height, border);
    const int64_t at_x = inside ? x + column : border_index(x + column, width, border);
    f(row * pitch + column, at_y, at_x);
    column += across;
    if (column >= columns) {
      column -= columns;
      row += 1;
    }
  }
}

// One plane as numbers; the constant border is 0.
__device__ __forceinline__ void load_bordered_tile(const View& plane, int64_t y, int64_t x, int rows, int columns,
                                                   int pitch, int64_t height, int64_t width, Border border,
                                                   float* tile) {
  with_element(plane.element, plane.data, [&](auto* pixels) {
    for_bordered_tile(y, x, rows, columns, pitch, height, width, border, [&](int i, int64_t at_y, int64_t at_x) {
      tile[i] = at_y < 0 || at_x < 0 ? 0 : to_float(pixels[at_y * plane.y + at_x * plane.x]);
    });
  });
}

}  // namespace texfilters
