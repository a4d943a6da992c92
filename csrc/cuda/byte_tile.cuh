// Tiles of bytes in shared memory, four to a word, beyond the border the nearest pixel.
#pragma once

#include "border.h"
#include "cuda/elements.cuh"

namespace texfilters {

// Whether rows of bytes can be moved in whole words.
__device__ __forceinline__ bool in_words(const uint8_t* pixels, const View& plane, int64_t width) {
  return plane.x == 1 && (reinterpret_cast<uintptr_t>(pixels) | plane.y | width) % 4 == 0;
}

// `rows` rows of `words` words, `pitch` words apart, of a plane from (y, x) on, which may lie outside of it; x is a
// multiple of 4. All threads of the block take part; the caller has the barrier behind it.
__device__ __forceinline__ void load_byte_tile(const View& plane, int64_t y, int64_t x, int rows, int words, int pitch,
                                               int64_t height, int64_t width, uint32_t* tile) {
  const uint8_t* pixels = global(static_cast<const uint8_t*>(plane.data));
  const int threads = blockDim.x, down = threads / words, across = threads % words;
  const auto for_words = [&](const auto& f) {
    int row = threadIdx.x / words, word = threadIdx.x % words;
    while (row < rows) {
      tile[row * pitch + word] = f(pixels + border_index(y + row, height, Border::replicate) * plane.y, x + 4 * word);
      row += down;
      word += across;
      if (word >= words) {
        word -= words;
        row += 1;
      }
    }
  };
  if (in_words(pixels, plane, width)) {
    for_words([&](const uint8_t* line, int64_t at) {
      const int64_t inside = min(max(at, int64_t{0}), width - 4);
      const uint32_t word = *reinterpret_cast<const uint32_t*>(line + inside);
      return __byte_perm(word, 0, at == inside ? 0x3210 : at < inside ? 0x0000 : 0x3333);
    });
  } else {
    for_words([&](const uint8_t* line, int64_t at) {
      uint32_t word = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        word |= uint32_t{line[border_index(at + i, width, Border::replicate) * plane.x]} << (8 * i);
      return word;
    });
  }
}

// Four pixels of a row, those that lie inside.
__device__ __forceinline__ void store_bytes(uint8_t* row, int64_t stride, int64_t x, int64_t width, bool in_words,
                                            uint32_t word) {
  if (in_words && x < width) {
    *reinterpret_cast<uint32_t*>(row + x) = word;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (x + i < width) row[(x + i) * stride] = static_cast<uint8_t>(word >> (8 * i));
  }
}

}  // namespace texfilters
