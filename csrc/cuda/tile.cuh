// A tile of an image that a block holds in registers: its shape, where it lies, and how it is read and written.
#pragma once

#include <type_traits>

#include "cuda/anisotropic_diffusion.h"
#include "cuda/elements.cuh"

namespace texfilters {

constexpr float kOutside = 1e38f, kWall = 1e30f, kLargest = 3.40282347e38f;
constexpr int kKept = 192;  // bytes

template <int Channels, int Columns, int Rows, int Warps, int Blocks, int Loads>
struct Tile {
  static constexpr int kChannels = Channels;  // that share one conductance
  static constexpr int kColumns = Columns;
  static constexpr int kRows = Rows;
  static constexpr int kWarps = Warps;
  static constexpr int kBlocks = Blocks;  // on a multiprocessor at once: what the registers allow
  static constexpr int kThreads = kLanes * Warps;
  static constexpr int kWidth = kLanes * Columns;
  static constexpr int kHeight = Rows * Warps;

  // Shared memory, while iterating: [2][kWarps][top, bottom][kChannels][kColumns][kLanes].
  static constexpr int kEdge = Channels * kWidth;
  static constexpr int kTurn = Warps * 2 * kEdge;
  static constexpr int kEdges = 2 * kTurn + kEdge;  // the last one lies outside the image
  // Before and after: [kWarps][kStagedRows][kStagedWidth]. An even number of columns would meet in the same banks
  // without padding.
  static constexpr int kPadding = Columns % 2 ? 0 : 1;
  static constexpr int kStagedWidth = kWidth + kPadding * Columns;
  static constexpr int kStagedRows = Channels > 1 ? Rows : (Rows + 1) / 2;
  static constexpr int kStrip = kStagedRows * kStagedWidth;
  static constexpr int kRowsInFlight = Loads / Columns;  // as many as registers allow
  // And behind both, what is Kept for later.
  static constexpr int kBuffers = kEdges > Warps* kStrip ? kEdges : Warps * kStrip;
  static constexpr int kShared = kBuffers * static_cast<int>(sizeof(float)) + kKept;  // bytes
  static __device__ __forceinline__ int staged(int column) { return column + kPadding * (column / kLanes); }

  using State = float[Channels][Rows][Columns];
};

// Where a block's tile lies in the image, and which part of it the block writes.
template <class T>
struct Place {
  int64_t x, y;        // of its first pixel
  int width, height;   // inside the image
  int x0, x1, y0, y1;  // written

  __device__ Place(const DiffusionLaunch& a, unsigned tile) {
    const unsigned i = tile % a.tiles_x, j = tile / a.tiles_x;
    x = int64_t{i} * (T::kWidth - 2 * a.halo);
    y = int64_t{j} * (T::kHeight - 2 * a.halo);
    width = static_cast<int>(min(a.width - x, int64_t{T::kWidth}));
    height = static_cast<int>(min(a.height - y, int64_t{T::kHeight}));
    x0 = i > 0 ? a.halo : 0;
    y0 = j > 0 ? a.halo : 0;
    x1 = i + 1 < a.tiles_x ? T::kWidth - a.halo : width;
    y1 = j + 1 < a.tiles_y ? T::kHeight - a.halo : height;
  }
};

// A pixel in the units of the state. Beyond kWall float32 numbers lie so far apart that nothing flows between unequal
// ones: such a pixel, as images have it where nothing was measured, is a wall, and in the end what it was. The largest
// become kOutside; two of these that were unequal are taken for equal by the other channels of a coupled image.
template <class S>
__device__ __forceinline__ float scaled(S pixel, float scale) {
  const float u = to_float(pixel), state = u * scale;
  constexpr bool kHasWalls = std::is_same_v<S, float> || std::is_same_v<S, BFloat16>;
  return kHasWalls && fabsf(state) > kOutside && fabsf(u) <= kLargest ? copysignf(kOutside, u) : state;
}

// Some rows of a warp's strip between memory, where lanes take neighboring pixels, and shared memory, where each finds
// its own columns.
template <class T, class S>
__device__ __forceinline__ void stage_in(const S* pixels, const View& view, const Place<T>& place, int first, int rows,
                                         float scale, float* staging) {
  const int lane = threadIdx.x % kLanes;
  pixels += first * view.y + lane * view.x;
#pragma unroll(T::kRowsInFlight)
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int i = 0; i < T::kColumns; ++i) {
      const bool inside = first + r < place.height && lane + i * kLanes < place.width;
      const float pixel = inside ? scaled(pixels[i * kLanes * view.x], scale) : kOutside;
      staging[r * T::kStagedWidth + T::staged(i * kLanes) + lane] = pixel;
    }
    pixels += view.y;
  }
}

template <class T, class S>
__device__ __forceinline__ void stage_out(S* pixels, const View& view, const Place<T>& place, int first, int rows,
                                          float unscale, const View& source, const float* staging) {
  const int lane = threadIdx.x % kLanes;
  pixels += first * view.y + lane * view.x;
  float largest = 0;
#pragma unroll 1
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int i = 0; i < T::kColumns; ++i) {
      const float pixel = staging[r * T::kStagedWidth + T::staged(i * kLanes) + lane];
      const S value = from_float<S>(pixel * unscale);
      const int x = lane + i * kLanes;
      if (first + r >= place.y0 && first + r < place.y1 && x >= place.x0 && x < place.x1) {
        pixels[i * kLanes * view.x] = value;
        largest = fmaxf(largest, fabsf(pixel));
      }
    }
    pixels += view.y;
  }
  if (largest <= kWall) return;
  // Walls stay as they were.
  pixels -= rows * view.y;
#pragma unroll 1
  for (int i = 0; i < rows * T::kColumns; ++i) {
    const int r = i / T::kColumns, column = i % T::kColumns * kLanes, x = lane + column, y = first + r;
    const float pixel = staging[r * T::kStagedWidth + T::staged(column) + lane];
    const bool wall = fabsf(pixel) > kWall && fabsf(pixel) <= kOutside;
    if (wall && y >= place.y0 && y < place.y1 && x >= place.x0 && x < place.x1)
      pixels[r * view.y + column * view.x] = from_float<S>(read_pixel(source, y * source.y + x * source.x));
  }
}

// f(channel, first row, number of rows) for a warp's strip, in turns that the staging has room for. They are few, and
// each is a piece of code, since registers have no index.
template <class T, class F>
__device__ __forceinline__ void for_stagings(const F& f) {
#pragma unroll
  for (int c = 0; c < T::kChannels; ++c) {
#pragma unroll
    for (int r = 0; r < T::kRows; r += T::kStagedRows) f(c, r, min(T::kStagedRows, T::kRows - r));
  }
}

template <class T>
__device__ __forceinline__ void read_strip(const View& view, const Place<T>& place, float* staging, float scale,
                                           typename T::State& u) {
  const int lane = threadIdx.x % kLanes, strip = threadIdx.x / kLanes * T::kRows;
  for_stagings<T>([&](int c, int first, int rows) {
    with_element(view.element, view.data, [&](auto* pixels) {
      stage_in<T>(pixels + c * view.channel, view, place, strip + first, rows, scale, staging);
    });
    __syncwarp();
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int i = 0; i < T::kColumns; ++i)
        u[c][first + r][i] = staging[r * T::kStagedWidth + T::staged(lane * T::kColumns + i)];
    }
    __syncwarp();
  });
}

template <class T>
__device__ __forceinline__ void write_strip(const View& view, const View& source, const Place<T>& place, float* staging,
                                            float unscale, const typename T::State& u) {
  const int lane = threadIdx.x % kLanes, strip = threadIdx.x / kLanes * T::kRows;
  for_stagings<T>([&](int c, int first, int rows) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int i = 0; i < T::kColumns; ++i)
        staging[r * T::kStagedWidth + T::staged(lane * T::kColumns + i)] = u[c][first + r][i];
    }
    __syncwarp();
    with_element(view.element, view.data, [&](auto* pixels) {
      stage_out<T>(pixels + c * view.channel, view, place, strip + first, rows, unscale, at(source, 0, c), staging);
    });
    __syncwarp();
  });
}

}  // namespace texfilters
