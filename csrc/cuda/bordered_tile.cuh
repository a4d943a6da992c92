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

// The same for a view and a block of kThreads: f(index, offset), with the place of a pixel in elements; `index` has no
// gaps. Where each row and column lies is found out once, into `places`, shared memory for rows + columns numbers.
// Where the border is constant, outside(index) follows for what lies beyond it.
template <int kThreads, class F, class G>
__device__ __forceinline__ void for_bordered_pixels(const View& view, int64_t y, int64_t x, int rows, int columns,
                                                    int64_t height, int64_t width, Border border, int64_t* places,
                                                    const F& f, const G& outside) {
  for (int i = threadIdx.x; i < rows + columns; i += kThreads) {
    const bool is_row = i < rows;
    const int64_t at = is_row ? border_index(y + i, height, border) : border_index(x + i - rows, width, border);
    places[i] = max(at, int64_t{0}) * (is_row ? view.y : view.x);
  }
  __syncthreads();
  const auto for_all = [&](const auto& g) {
    int row = threadIdx.x / columns, column = threadIdx.x % columns;
    for (int i = threadIdx.x; i < rows * columns; i += kThreads) {
      g(i, row, column);
      row += kThreads / columns;
      column += kThreads % columns;
      if (column >= columns) {
        row += 1;
        column -= columns;
      }
    }
  };
  for_all([&](int i, int row, int column) { f(i, places[row] + places[rows + column]); });
  if (border != Border::constant) return;
  for_all([&](int i, int row, int column) {
    if (y + row < 0 || y + row >= height || x + column < 0 || x + column >= width) outside(i);
  });
}

// One plane as numbers; the constant border is 0.
template <int kThreads>
__device__ __forceinline__ void load_bordered_tile(const View& plane, int64_t y, int64_t x, int rows, int columns,
                                                   int64_t height, int64_t width, Border border, int64_t* places,
                                                   float* tile) {
  const auto load = [&](auto* pixels) {
    for_bordered_pixels<kThreads>(
        plane, y, x, rows, columns, height, width, border, places,
        [&](int i, int64_t offset) { tile[i] = to_float(pixels[offset]); }, [&](int i) { tile[i] = 0; });
  };
  with_element(plane.element, plane.data, load);
}

}  // namespace texfilters
