// The adaptive threshold's kernels. Beyond the border the nearest pixel.
#pragma once

#include "cuda/adaptive_threshold.h"
#include "cuda/box_sums.cuh"
#include "cuda/byte_tile.cuh"
#include "cuda/filter.cuh"

namespace texfilters {

constexpr int kThresholdTile = 32;  // rows and columns

// Mean of bytes: sums along rows into shared memory, then, running, along columns. A thread has 8 rows of a word.
struct BoxTile {
  static constexpr int kRows = 64, kRowsOfThread = 8;
  static constexpr int kThreads = kThresholdTile / 4 * (kRows / kRowsOfThread);
  static constexpr int kLargestRadius = 128;  // sums along rows have 16 bits
  static constexpr int kSumsPitch = 10;       // in uint2; 8 and what keeps the rows of a warp in different banks

  int words, pitch;

  __host__ __device__ explicit constexpr BoxTile(int radius)
      : words(kThresholdTile / 4 + 2 * words_around(radius)), pitch((words + 7) / 16 * 16 + 8) {}  // likewise
  __host__ __device__ constexpr int64_t shared(int radius) const {
    return int64_t{kRows + 2 * radius} * (pitch * 4 + kSumsPitch * 8);
  }
};

// The radius of the most common windows is known to the compiler; 0: any.
template <int kRadius>
__global__ void __launch_bounds__(BoxTile::kThreads) threshold_box(const __grid_constant__ ThresholdLaunch a) {
  const int radius = kRadius > 0 ? kRadius : a.block_size / 2, n = (2 * radius + 1) * (2 * radius + 1);
  const BoxTile box(radius);
  const TilePlace place(a, BoxTile::kRows, kThresholdTile);
  const int64_t image = place.plane / a.channels, channel = place.plane % a.channels;
  const int rows = static_cast<int>(min(a.height - place.y, int64_t{BoxTile::kRows})) + 2 * radius;
  uint32_t* tile = dynamic_shared<uint32_t>();
  uint2* sums = reinterpret_cast<uint2*>(tile + (BoxTile::kRows + 2 * radius) * box.pitch);
  const BytePlane source(a.source, image, channel, a.height, a.width);
  load_byte_tile<BoxTile::kThreads>(source, place.y - radius, place.x - 4 * words_around(radius), rows, box.words,
                                    box.pitch, tile);
  __syncthreads();

  const int word = threadIdx.x % 8, first = threadIdx.x / 8;
  tile += words_around(radius) + word;
  sums += word;
  for (int row = first; row < rows; row += BoxTile::kThreads / 8)
    sums[row * BoxTile::kSumsPitch] = sums_along_row(tile + row * box.pitch, radius);
  __syncthreads();

  const int row = first * BoxTile::kRowsOfThread;
  const int64_t x = place.x + 4 * word, y = place.y + row;
  if (x >= a.width || y >= a.height) return;
  const BytePlane output(a.output, image, channel, a.height, a.width);
  const int offset = mean_offset(whole_c(value_of(a.c, image), a.invert), n);
  const uint32_t high = 0x01010101u * from_float<uint8_t>(a.max_value), kept = a.invert ? 0 : ~0u;

  tile += (row + radius) * box.pitch;
  sums += row * BoxTile::kSumsPitch;
  BoxSums<(kRadius > 0)> window;
  for (int i = 0; i < 2 * radius; ++i) window.add(sums[i * BoxTile::kSumsPitch]);
  uint32_t results[BoxTile::kRowsOfThread];
#pragma unroll
  for (int i = 0; i < BoxTile::kRowsOfThread; ++i) {
    window.add(sums[(2 * radius + i) * BoxTile::kSumsPitch]);
    const uint32_t values = tile[i * box.pitch];
    int above[4];
#pragma unroll
    for (int pixel = 0; pixel < 4; ++pixel) {
      // n of a narrow window is a byte: its product with that byte of the word, and the offset, in one instruction.
      above[pixel] = kRadius > 0
                         ? static_cast<int>(__dp4a(values, unsigned(n) << 8 * pixel, unsigned(offset))) - window[pixel]
                         : above_mean(window[pixel], static_cast<int>(values >> 8 * pixel & 0xff), n, offset);
    }
    results[i] = (negative(above) ^ kept) & high;
    window.subtract(sums[i * BoxTile::kSumsPitch]);
  }
  store_bytes(output, y, x, results);
}

// Windows of any size and weights, pixels of any kind, along rows first, by all that a thread block's rows need or as
// much of it as shared memory holds. A thread has 4 rows of a column; along both axes it keeps the four numbers in
// registers that neighbors share.
constexpr int kWindowThreads = kThresholdTile * kThresholdTile / 4;
constexpr int kWindowRows = 384;  // in shared memory
constexpr int kBeyond = 1 << 17;  // farther than any window reaches

__device__ __forceinline__ float fused(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
__device__ __forceinline__ double fused(double a, double b, double c) {
  return a * b + c;  // of whole numbers, exact
}

template <class T>
__device__ __forceinline__ void sum_rows(const T* pixels, const View& plane, int64_t x, int radius, int64_t width,
                                         const float* weights, float (&sums)[4]) {
  const auto load = [&](int64_t at) { return to_float(pixels[border_index(at, width, Border::replicate) * plane.x]); };
  float values[4];
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    sums[k] = 0;
    values[k] = load(x - radius + k);
  }
#pragma unroll 4
  for (int i = 0; i <= 2 * radius; ++i) {
    const float weight = weights == nullptr ? 1 : weights[i];
#pragma unroll
    for (int k = 0; k < 4; ++k) sums[k] = __fmaf_rn(weight, values[k], sums[k]);
#pragma unroll
    for (int k = 0; k < 3; ++k) values[k] = values[k + 1];
    values[3] = load(x - radius + i + 4);
  }
}

// Sum: of columns. Only whole numbers in windows too large for threshold_box need double.
template <class T, class Sum>
__global__ void __launch_bounds__(kWindowThreads) threshold_windows(const __grid_constant__ ThresholdLaunch a) {
  float* memory = dynamic_shared<float>();
  const TilePlace place(a, kThresholdTile, kThresholdTile);
  const int64_t image = place.plane / a.channels, channel = place.plane % a.channels;
  const View source = at(a.source, image, channel), output = at(a.output, image, channel);
  const T* pixels = global(static_cast<const T*>(source.data));
  const float* weights = static_cast<const float*>(a.weights);
  const int radius = a.block_size / 2, column = threadIdx.x % kThresholdTile, row = threadIdx.x / kThresholdTile * 4;

  // Rows from here on are counted from the tile's first one.
  const int top = static_cast<int>(max(-place.y, -int64_t{kBeyond})), last = kThresholdTile - 1;
  const int bottom = static_cast<int>(min(a.height - 1 - place.y, int64_t{kBeyond}));
  const auto inside = [&](int y) { return min(max(y, top), bottom); };
  const auto load = [&](int first, int end, float* rows) {
    for (int i = threadIdx.x; i < (end - first + 1) * (kThresholdTile / 4); i += kWindowThreads) {
      const int64_t y = place.y + first + i / (kThresholdTile / 4), x = place.x + i % (kThresholdTile / 4) * 4;
      float sums[4];
      if (x >= a.width) continue;
      sum_rows(pixels + y * source.y, source, x, radius, a.width, weights, sums);
      *reinterpret_cast<float4*>(rows + 4 * i) = make_float4(sums[0], sums[1], sums[2], sums[3]);
    }
  };

  const bool at_once = inside(last + radius) - inside(-radius) < kWindowRows;
  const int turn = at_once ? radius + 1 : kWindowRows / 2 - last;  // distances from the middle
  Sum sums[4] = {};
  for (int first = 0; first <= radius; first += turn) {
    const int end = min(first + turn, radius + 1) - 1;
    int first_above = inside(-end), first_below = inside(first);
    float *above = memory, *below = memory + (kWindowRows / 2) * kThresholdTile;
    if (first > 0) __syncthreads();
    if (at_once) {
      load(first_above, inside(last + end), above);
      first_below = first_above;
      below = above;
    } else {
      load(first_above, inside(last - first), above);
      load(first_below, inside(last + end), below);
    }
    __syncthreads();
    const auto sum_above = [&](int y) { return Sum{above[(inside(y) - first_above) * kThresholdTile + column]}; };
    const auto sum_below = [&](int y) { return Sum{below[(inside(y) - first_below) * kThresholdTile + column]}; };
    Sum up[4], down[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      up[k] = sum_above(row + k - first);
      down[k] = sum_below(row + k + first);
    }
    for (int i = first; i <= end; ++i) {
      const Sum weight = weights == nullptr ? 1 : weights[radius + i];
#pragma unroll
      for (int k = 0; k < 4; ++k) sums[k] = fused(weight, i == 0 ? up[k] : up[k] + down[k], sums[k]);
      if (i == end) break;
#pragma unroll
      for (int k = 0; k < 3; ++k) {
        up[3 - k] = up[2 - k];
        down[k] = down[k + 1];
      }
      up[0] = sum_above(row - i - 1);
      down[3] = sum_below(row + 3 + i + 1);
    }
  }

  constexpr bool kWhole = std::is_same_v<T, uint8_t>;
  const int64_t x = place.x + column;
  if (x >= a.width) return;
  double exact = value_of(a.c, image);
  if (kWhole) exact = a.invert ? floor(exact) : ceil(exact);
  const Sum c = static_cast<Sum>(exact), count = static_cast<Sum>(int64_t{a.block_size} * a.block_size);
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const int64_t y = place.y + row + k;
    if (y >= a.height) break;
    Sum mean = weights == nullptr ? sums[k] / count : sums[k];
    if (kWhole) mean = rint(mean);
    const Sum value = to_float(pixels[y * source.y + x * source.x]);
    const bool passes = a.invert ? value <= mean - c : value > mean - c;
    global(static_cast<T*>(output.data))[y * output.y + x * output.x] = from_float<T>(passes ? a.max_value : 0);
  }
}

}  // namespace texfilters
