// Planes of bytes, four pixels to a word, by blocks of threads of which each has a few words.
#pragma once

#include "border.h"
#include "cuda/elements.cuh"

namespace texfilters {

// A plane of an image of bytes.
struct BytePlane {
  uint8_t* pixels;
  int64_t stride_y, stride_x, height, width;
  bool in_words;  // whether rows can be moved in whole words

  __device__ BytePlane(const View& view, int64_t image, int64_t channel, int64_t height, int64_t width)
      : pixels(global(static_cast<uint8_t*>(view.data) + image * view.image + channel * view.channel)),
        stride_y(view.y),
        stride_x(view.x),
        height(height),
        width(width),
        in_words(stride_x == 1 && (reinterpret_cast<uintptr_t>(pixels) | stride_y | width) % 4 == 0 &&
                 stride_y < 1 << 22) {}  // so that the rows of a tile lie less than 2^31 apart

  __device__ __forceinline__ uint32_t* word_at(int64_t y, int64_t x) const {
    return reinterpret_cast<uint32_t*>(pixels + y * stride_y + x);
  }
};

// `rows` rows of `words` words, `pitch` words apart, from (y, x) on, which may lie outside; beyond the border the
// nearest pixel. x is a multiple of 4. All threads of the block take part; the caller has the barrier behind it.
template <int kThreads>
__device__ __forceinline__ void load_byte_tile(const BytePlane& plane, int64_t y, int64_t x, int rows, int words,
                                               int pitch, uint32_t* tile) {
  constexpr int kAcross = 16, kDown = kThreads / kAcross, kFar = 1 << 20;
  const int top = static_cast<int>(max(-y, -int64_t{kFar}));
  const int bottom = static_cast<int>(min(plane.height - 1 - y, int64_t{kFar}));
  for (int word = threadIdx.x % kAcross; word < words; word += kAcross) {
    const int64_t column = x + 4 * word;
    if (plane.in_words) {
      const int64_t inside = min(max(column, int64_t{0}), plane.width - 4);
      const uint32_t bytes = column == inside ? 0x3210 : column < inside ? 0x0000 : 0x3333;
      const uint8_t* first = plane.pixels + (y * plane.stride_y + inside);  // its row may lie outside
      const int stride = static_cast<int>(plane.stride_y);
#pragma unroll 4
      for (int row = threadIdx.x / kAcross; row < rows; row += kDown) {
        const int offset = min(max(row, top), bottom) * stride;
        tile[row * pitch + word] = __byte_perm(*reinterpret_cast<const uint32_t*>(first + offset), 0, bytes);
      }
    } else {
      int64_t at[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) at[i] = border_index(column + i, plane.width, Border::replicate) * plane.stride_x;
      for (int row = threadIdx.x / kAcross; row < rows; row += kDown) {
        const uint8_t* pixels = plane.pixels + (y + min(max(row, top), bottom)) * plane.stride_y;
        tile[row * pitch + word] = pixels[at[0]] | uint32_t{pixels[at[1]]} << 8 | uint32_t{pixels[at[2]]} << 16 |
                                   uint32_t{pixels[at[3]]} << 24;
      }
    }
  }
}

// Rows of four pixels, as far as they lie inside; the first pixel does.
template <int kRows>
__device__ __forceinline__ void store_bytes(const BytePlane& plane, int64_t y, int64_t x,
                                            const uint32_t (&words)[kRows]) {
  if (plane.in_words && y + kRows <= plane.height) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) *plane.word_at(y + i, x) = words[i];
    return;
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    uint8_t* row = plane.pixels + (y + i) * plane.stride_y;
#pragma unroll 1
    for (int j = 0; j < 4 && y + i < plane.height && x + j < plane.width; ++j)
      row[(x + j) * plane.stride_x] = static_cast<uint8_t>(words[i] >> 8 * j);
  }
}

}  // namespace texfilters
