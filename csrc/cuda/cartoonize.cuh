// The last pass of a cartoon of bytes, by the device functions of the filters that it is made of. The first kernel
// leaves in the first channel of the output which pixels keep their color, so that no other memory is needed; the
// second one smooths the colors of these.
#pragma once

#include "cuda/bilateral_window.cuh"
#include "cuda/box_sums.cuh"
#include "cuda/byte_tile.cuh"
#include "cuda/cartoonize.h"
#include "cuda/filter.cuh"
#include "cuda/luma.cuh"
#include "cuda/median.cuh"

namespace texfilters {

constexpr int kKeptWidth = 32, kKeptHeight = 64, kKeptThreads = 192;

// Tiles in shared memory, each with more around it than the next: gray bytes, their medians, which are found in blocks
// of 4 x 4, and the sums along rows of the medians.
struct KeptMemory {
  static constexpr int kWords = kKeptWidth / 4, kSumsPitch = kWords + 2;  // of the sums, in uint2
  int radius, around;  // of the threshold's window, in pixels and in words
  int median_rows, median_words, gray_rows, gray_words;

  TEXFILTERS_HOST_DEVICE KeptMemory(int ksize, int block_size, int rows)
      : radius(block_size / 2),
        around((radius + 3) / 4),
        median_rows((rows + 2 * radius + 3) / 4 * 4),
        median_words(kWords + 2 * around),
        gray_rows(median_rows + ksize - 1),
        gray_words(median_words + 2) {}
  TEXFILTERS_HOST_DEVICE int64_t bytes() const {
    return 8 * median_rows * kSumsPitch + 4 * (median_rows * median_words + gray_rows * gray_words);
  }
};

// The luma of a tile, four pixels to a word, beyond the border that of the nearest pixel; x is a multiple of 4.
__device__ __forceinline__ void load_luma_tile(const View& image, int64_t y, int64_t x, int rows, int words,
                                               int64_t height, int64_t width, uint32_t* tile) {
  const uint8_t* red = global(static_cast<const uint8_t*>(image.data));
  const uint8_t *green = red + image.channel, *blue = green + image.channel;
  const bool whole = BytePlane(image, 0, 0, height, width).in_words && image.channel % 4 == 0;
  for (int i = threadIdx.x; i < rows * words; i += kKeptThreads) {
    const int64_t line = border_index(y + i / words, height, Border::replicate) * image.y, at = x + i % words * 4;
    uint32_t lumas = 0;
    if (whole) {
      const int64_t inside = min(max(at, int64_t{0}), width - 4);
      const unsigned order = at == inside ? 0x3210 : at < inside ? 0x0000 : 0x3333;
      const auto read = [&](const uint8_t* channel) {
        return __byte_perm(*reinterpret_cast<const uint32_t*>(channel + line + inside), 0, order);
      };
      const uint32_t r = read(red), g = read(green), b = read(blue);
#pragma unroll
      for (int k = 0; k < 32; k += 8) {
        const auto byte = [&](uint32_t word) { return static_cast<uint8_t>(word >> k); };
        lumas |= uint32_t{luma(byte(r), byte(g), byte(b))} << k;
      }
    } else {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int64_t pixel = line + border_index(at + k, width, Border::replicate) * image.x;
        lumas |= uint32_t{luma(red[pixel], green[pixel], blue[pixel])} << 8 * k;
      }
    }
    tile[i] = lumas;
  }
}

// Bytes of a tile that lie outside of the image become the nearest one inside.
__device__ __forceinline__ void extend_border(int64_t y, int64_t x, int rows, int columns, int64_t height,
                                              int64_t width, uint8_t* tile) {
  if (y >= 0 && x >= 0 && y + rows <= height && x + columns <= width) return;
  for (int i = threadIdx.x; i < rows * columns; i += kKeptThreads) {
    const int64_t at_y = y + i / columns, at_x = x + i % columns;
    const int64_t to_y = border_index(at_y, height, Border::replicate);
    const int64_t to_x = border_index(at_x, width, Border::replicate);
    if (at_y != to_y || at_x != to_x) tile[i] = tile[(to_y - y) * columns + to_x - x];
  }
}

// 1 where the median of the gray image is above the mean around it less c, else 0. Grid: images, tiles.
template <int K>
__global__ void __launch_bounds__(kKeptThreads) find_kept(const __grid_constant__ CartoonLaunch a) {
  const TilePlace place(a, kKeptHeight, kKeptWidth);
  const int rows = static_cast<int>(min(a.height - place.y, int64_t{kKeptHeight}));
  const KeptMemory m(K, a.block_size, rows);
  uint2* sums = dynamic_shared<uint2>();
  uint32_t* medians = reinterpret_cast<uint32_t*>(sums + m.median_rows * m.kSumsPitch);
  uint32_t* gray = medians + m.median_rows * m.median_words;
  const int64_t y = place.y - m.radius, x = place.x - 4 * m.around;
  load_luma_tile(at(a.original, place.plane, 0), y - K / 2, x - 4, m.gray_rows, m.gray_words, a.height, a.width, gray);
  __syncthreads();

  for (int i = threadIdx.x; i < m.median_rows / 4 * m.median_words; i += kKeptThreads) {
    const int row = i / m.median_words * 4, word = i % m.median_words;
    uint32_t block[4];
    medians_of_block<K>(gray + (row + K / 2) * m.gray_words + word + 1, m.gray_words, block);
#pragma unroll
    for (int k = 0; k < 4; ++k) medians[(row + k) * m.median_words + word] = block[k];
  }
  __syncthreads();
  extend_border(y, x, m.median_rows, 4 * m.median_words, a.height, a.width, reinterpret_cast<uint8_t*>(medians));
  __syncthreads();

  for (int i = threadIdx.x; i < m.median_rows * m.kWords; i += kKeptThreads) {
    const int row = i / m.kWords, word = i % m.kWords;
    sums[row * m.kSumsPitch + word] = sums_along_row(medians + row * m.median_words + m.around + word, m.radius);
  }
  __syncthreads();

  const int n = a.block_size * a.block_size, offset = mean_offset(whole_c(value_of(a.c, place.plane), false), n);
  const View output = at(a.output, place.plane, 0, place.y, place.x);
  uint8_t* kept = global(static_cast<uint8_t*>(output.data));
  constexpr int kRows = 4;  // of a thread
  for (int i = threadIdx.x; i < (rows + kRows - 1) / kRows * m.kWords; i += kKeptThreads) {
    const int row = i / m.kWords * kRows, word = i % m.kWords;
    const uint2* sum = sums + row * m.kSumsPitch + word;
    const uint32_t* median = medians + (row + m.radius) * m.median_words + m.around + word;
    BoxSums<true> window;
    for (int k = 0; k < 2 * m.radius; ++k) window.add(sum[k * m.kSumsPitch]);
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      if (row + k >= rows) break;
      window.add(sum[(2 * m.radius + k) * m.kSumsPitch]);
      const uint32_t values = median[k * m.median_words];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const bool keep = above_mean(window[j], static_cast<int>(values >> 8 * j & 0xff), n, offset) >= 0;
        if (place.x + 4 * word + j < a.width) kept[(row + k) * output.y + (4 * word + j) * output.x] = keep;
      }
      window.subtract(sum[k * m.kSumsPitch]);
    }
  }
}

// The colors of the pixels that keep them, and black. Grid: images, tiles.
template <int kRadius>
__global__ void __launch_bounds__(kBilateralThreads) smooth_kept(const __grid_constant__ CartoonLaunch a) {
  const TilePlace place(a, kBilateralHeight, kBilateralWidth);
  const BilateralWeights weights(a, place.plane);
  const View source = at(a.source, place.plane, 0), output = at(a.output, place.plane, 0);
  const int rows = static_cast<int>(min(a.height - place.y, int64_t{kBilateralHeight}));
  const int columns = static_cast<int>(min(a.width - place.x, int64_t{kBilateralWidth}));
  const int x = threadIdx.x % kLanes, radius = kRadius > 0 ? kRadius : a.radius;
  const bool unchanged = a.passes == 0 || weights.identity;
  int64_t* places = dynamic_shared<int64_t>();
  BytesPixel* tile = reinterpret_cast<BytesPixel*>(places + kBilateralHeight + kBilateralWidth + 4 * radius);
  const int pitch = kBilateralWidth + 2 * radius;
  load_pixels(source, place.y - radius, place.x - radius, rows + 2 * radius, pitch, a.height, a.width, a.border, places,
              tile);
  __syncthreads();
  if (x >= columns) return;
  const uint8_t* kept =
      global(static_cast<const uint8_t*>(output.data)) + place.y * output.y + (place.x + x) * output.x;
#pragma unroll 1
  for (int y = threadIdx.x / kLanes * kStripRows; y < rows; y += kBilateralWarps * kStripRows) {
    const BytesPixel* pixel = tile + (y + radius) * pitch + x + radius;
    WeightedSum<BytesPixel> sums[kStripRows];
    unsigned keep = 0;  // a bit for each row
#pragma unroll
    for (int m = 0; m < kStripRows; ++m) {
      if (y + m < rows && kept[(y + m) * output.y] != 0) keep |= 1u << m;
    }
    if (keep != 0 && !unchanged) sum_strip<kRadius>(pixel, pitch, radius, weights, sums);
#pragma unroll
    for (int m = 0; m < kStripRows; ++m) {
      if ((keep >> m & 1) == 0) {
        sums[m].start({0, 0, 0, 0});
      } else if (unchanged) {
        sums[m].start(pixel[m * pitch]);
      }
    }
    write_strip(output, place.y + y, place.x + x, rows - y, sums);
  }
}

// For images of any dtype, with a mask that stands in `original`.
__global__ void __launch_bounds__(kBilateralThreads) keep_colors(const __grid_constant__ CartoonLaunch a) {
  const TilePlace place(a, kBilateralHeight, kBilateralWidth);
  const int64_t x = place.x + threadIdx.x % kLanes, end = min(place.y + kBilateralHeight, a.height);
  if (x >= a.width) return;
  const View mask = at(a.original, place.plane, 0), source = at(a.source, place.plane, 0);
  const View output = at(a.output, place.plane, 0);
  with_element(output.element, output.data, [&](auto* to) {
    using S = std::remove_reference_t<decltype(*to)>;
    const S *from = global(static_cast<const S*>(source.data)), *kept = global(static_cast<const S*>(mask.data));
    for (int64_t y = place.y + threadIdx.x / kLanes; y < end; y += kBilateralWarps) {
      const bool keep = to_float(kept[y * mask.y + x * mask.x]) != 0;
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        const S color = keep ? from[y * source.y + x * source.x + c * source.channel] : S{};
        to[y * output.y + x * output.x + c * output.channel] = color;
      }
    }
  });
}

}  // namespace texfilters
