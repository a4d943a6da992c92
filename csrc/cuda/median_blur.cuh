// The median filter's kernels: each channel for itself, beyond the border the nearest pixel.
#pragma once

#include "cuda/bordered_tile.cuh"
#include "cuda/byte_tile.cuh"
#include "cuda/filter.cuh"
#include "cuda/median.cuh"
#include "cuda/median_blur.h"

namespace texfilters {

constexpr int kMedianTile = 32;     // columns, four for each of 8 lanes
constexpr int kMedianHalo = 4;      // columns in front of and behind them in shared memory
constexpr int kMedianAnyTile = 16;  // of windows of any size, a thread for each

template <int K>
struct BytesTile {
  static constexpr int kThreads = 64;
  static constexpr int kHeight = K < 7 ? 64 : 32;  // for a small window a thread's start takes as long as the median
  static constexpr int kRows = kHeight + K - 1;
  // In words; the 4 rows of 8 words that a warp reads at once lie in different banks.
  static constexpr int kPitch = (kMedianTile + 2 * kMedianHalo) / 4;
  static_assert(kPitch % 8 == 2);
  static constexpr int kShared = kRows * kPitch * static_cast<int>(sizeof(uint32_t));
};

template <int K>
__global__ void __launch_bounds__(BytesTile<K>::kThreads) median_of_bytes(const __grid_constant__ MedianLaunch a) {
  using Tile = BytesTile<K>;
  uint32_t* tile = dynamic_shared<uint32_t>();
  const TilePlace place(a, Tile::kHeight, kMedianTile);
  const int64_t image = place.plane / a.channels, channel = place.plane % a.channels;
  const BytePlane source(a.source, image, channel, a.height, a.width);
  load_byte_tile<Tile::kThreads>(source, place.y - K / 2, place.x - kMedianHalo, Tile::kRows, Tile::kPitch,
                                 Tile::kPitch, tile);
  __syncthreads();

  const BytePlane output(a.output, image, channel, a.height, a.width);
  const int word = threadIdx.x % 8;
  const int64_t x = place.x + 4 * word;
#pragma unroll 1
  for (int row = threadIdx.x / 8 * 4; row < Tile::kHeight; row += Tile::kThreads / 8 * 4) {
    if (x >= a.width || place.y + row >= a.height) return;
    uint32_t medians[4];
    medians_of_block<K>(tile + (row + K / 2) * Tile::kPitch + word + 1, Tile::kPitch, medians);
    store_bytes(output, place.y + row, x, medians);
  }
}

template <int K>
struct NumbersTile {
  static constexpr int kThreads = 128, kHeight = 32;
  static constexpr int kRows = kHeight + K - 1;
  static constexpr int kPitch = kMedianTile + 2 * kMedianHalo;
  static constexpr int kShared = kRows * kPitch * static_cast<int>(sizeof(float));
};

template <int K>
__global__ void __launch_bounds__(NumbersTile<K>::kThreads) median_of_numbers(const __grid_constant__ MedianLaunch a) {
  using Tile = NumbersTile<K>;
  constexpr int kRadius = K / 2;
  float* tile = dynamic_shared<float>();
  const TilePlace place(a, Tile::kHeight, kMedianTile);
  const int64_t image = place.plane / a.channels, channel = place.plane % a.channels;
  const View source = at(a.source, image, channel);
  bool nan = false;
  with_element(source.element, source.data, [&](auto* pixels) {
    const auto load = [&](int i, int64_t y, int64_t x) {
      const float pixel = to_float(pixels[y * source.y + x * source.x]);
      nan |= pixel != pixel;
      tile[i + kMedianHalo - kRadius] = pixel;
    };
    for_bordered_tile(place.y - kRadius, place.x - kRadius, Tile::kRows, kMedianTile + K - 1, Tile::kPitch, a.height,
                      a.width, Border::replicate, load);
  });
  nan = __syncthreads_or(nan);

  const int column = threadIdx.x % 8 * 4, row = threadIdx.x / 8 * 2;
  const int64_t x = place.x + column, y = place.y + row;
  if (x >= a.width || y >= a.height) return;
  float medians[2][kMedianColumns];
  const float* block = tile + (row + kRadius) * Tile::kPitch + kMedianHalo + column;
  medians_of_block<K>(block, Tile::kPitch, medians);
  const View output = at(a.output, image, channel, y, x);
  with_element(output.element, output.data, [&](auto* pixels) {
    using T = std::remove_reference_t<decltype(*pixels)>;
    const auto inside = [&](int i, int j) { return y + i < a.height && x + j < a.width; };
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < kMedianColumns; ++j) {
        if (inside(i, j)) pixels[i * output.y + j * output.x] = from_float<T>(medians[i][j]);
      }
    }
    if (!nan) return;
    block -= kRadius * Tile::kPitch + kRadius;
#pragma unroll 1
    for (int n = 0; n < 2 * kMedianColumns; ++n) {
      const int i = n / kMedianColumns, j = n % kMedianColumns;
      if (inside(i, j) && has_nan(block + i * Tile::kPitch + j, Tile::kPitch, K))
        pixels[i * output.y + j * output.x] = from_float<T>(from_key(float{}, kNanKey));
    }
  });
}

// Windows of any size, from memory.
__global__ void __launch_bounds__(kMedianAnyTile* kMedianAnyTile)
    median_of_any(const __grid_constant__ MedianLaunch a) {
  const TilePlace place(a, kMedianAnyTile, kMedianAnyTile);
  const int64_t y = place.y + threadIdx.x / kMedianAnyTile, x = place.x + threadIdx.x % kMedianAnyTile;
  if (y >= a.height || x >= a.width) return;
  const auto rows = Reach<int64_t>::around(y, a.ksize / 2, a.height);
  const auto columns = Reach<int64_t>::around(x, a.ksize / 2, a.width);
  const uint32_t count = static_cast<uint32_t>(a.ksize * a.ksize);
  const int64_t image = place.plane / a.channels, channel = place.plane % a.channels;
  const View source = at(a.source, image, channel), output = at(a.output, image, channel, y, x);
  with_element(source.element, source.data, [&](auto* data) {
    using T = std::remove_reference_t<decltype(*data)>;
    if constexpr (std::is_same_v<T, uint8_t>) {
      *global(static_cast<T*>(output.data)) = find_median<uint8_t>(
          rows, columns, count, [&](int64_t y, int64_t x) { return data[y * source.y + x * source.x]; });
    } else {
      *global(static_cast<T*>(output.data)) = from_float<T>(find_median<float>(
          rows, columns, count, [&](int64_t y, int64_t x) { return to_float(data[y * source.y + x * source.x]); }));
    }
  });
}

}  // namespace texfilters
