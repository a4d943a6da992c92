// The Gaussian blur, both axes in one launch: a tile of a plane with what lies around it in shared memory, its columns
// blurred into a second tile there, and the rows of that one into the image.
//
//        kGaussianWidth + 2 r           + 2 r         kGaussianWidth
//     +---------------------+    +---------------+    +-----------+
//     | +-----------------+ |    |               |    |           |
//     | |                 | | -> |               | -> |           |  kGaussianHeight
//     | +-----------------+ |    +---------------+    +-----------+
//     +---------------------+
#pragma once

#include "cuda/bordered_tile.cuh"
#include "cuda/copy_tile.cuh"
#include "cuda/filter.cuh"
#include "cuda/gaussian_blur.h"

namespace texfilters {

constexpr int kGaussianWarps = 8, kGaussianThreads = kLanes * kGaussianWarps;
constexpr int kGaussianWidth = 64, kGaussianHeight = 32;
constexpr int kBlurred = 4;  // pixels that a thread blurs at once, below or beside each other

__device__ inline int gaussian_radius(const GaussianLaunch& a, int64_t image) {
  if (a.radius >= 0) return a.radius;
  const double length = ceil(3 * value_of(a.sigma, image));  // fmin and fmax take the number beside a NaN
  return static_cast<int>(fmin(fmax(length, 0.0), static_cast<double>(kLargestRadius)));
}

// exp(-i^2 / (2 sigma^2)) times a number that makes the sum over all |i| <= radius 1.
struct GaussianWeights {
  float slope, scale;

  __device__ GaussianWeights(double sigma, int radius) {
    constexpr float kHalfLog2e = 0.72134752f, kFinite = 1e30f;
    const float length = static_cast<float>(sigma);
    slope = sigma >= 0 ? fminf(kHalfLog2e / length / length, kFinite) : __uint_as_float(0x7fffffffu);
    scale = 1;
    float sum = 0;
    for (int i = 1 + threadIdx.x % kLanes; i <= radius; i += kLanes) sum += (*this)(i);
    for (int step = kLanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
    scale = 1 / (2 * sum + (*this)(0));
  }

  __device__ float operator()(int i) const {
    const float square = static_cast<float>(i) * static_cast<float>(i);
    return exp2_approx(-slope * square) * scale;
  }
};

// Where things lie in shared memory. A row of the second tile begins at a multiple of 16 bytes, and reading it 16 bytes
// at a time stays within it.
struct GaussianMemory {
  int rows, columns, pitch, weights;

  TEXFILTERS_HOST_DEVICE explicit GaussianMemory(int radius)
      : rows(kGaussianHeight + 2 * radius),
        columns(kGaussianWidth + 2 * radius),
        pitch((columns + 2 * kBlurred - 1) / kBlurred * kBlurred),
        weights(2 * radius + 1) {}
  TEXFILTERS_HOST_DEVICE int64_t bytes() const {
    const int64_t numbers = int64_t{kGaussianHeight} * pitch + int64_t{rows} * columns + weights;
    return numbers * int64_t{sizeof(float)} + (rows + columns) * int64_t{sizeof(int64_t)};
  }
};

// Grid: planes, tiles.
__global__ void __launch_bounds__(kGaussianThreads) gaussian_tiles(const __grid_constant__ GaussianLaunch a) {
  const TilePlace place(a, kGaussianHeight, kGaussianWidth);
  const int64_t image = place.plane / a.channels;
  const int radius = gaussian_radius(a, image);
  if (radius > a.largest_radius) return;
  const View source = at(a.source, image, place.plane % a.channels);
  const View output = at(a.output, image, place.plane % a.channels, place.y, place.x);
  const int rows = static_cast<int>(min(a.height - place.y, int64_t{kGaussianHeight}));
  const int columns = static_cast<int>(min(a.width - place.x, int64_t{kGaussianWidth}));
  const double sigma = value_of(a.sigma, image);
  if (sigma == 0) return copy_tile(at(source, 0, 0, place.y, place.x), output, 1, rows, columns);

  const GaussianMemory memory(radius);
  float* across = dynamic_shared<float>();
  int64_t* places = reinterpret_cast<int64_t*>(across + kGaussianHeight * memory.pitch);
  float* tile = reinterpret_cast<float*>(places + memory.rows + memory.columns);
  float* weights = tile + memory.rows * memory.columns;
  if (threadIdx.x < kLanes) {
    const GaussianWeights weight(sigma, radius);
    for (int i = threadIdx.x; i < memory.weights; i += kLanes) weights[i] = weight(i - radius);
  }
  load_bordered_tile<kGaussianThreads>(source, place.y - radius, place.x - radius, rows + 2 * radius, memory.columns,
                                       a.height, a.width, a.border, places, tile);
  __syncthreads();

  // Columns: a thread has kBlurred pixels below each other.
  for (int i = threadIdx.x; i < (rows + kBlurred - 1) / kBlurred * memory.columns; i += kGaussianThreads) {
    const int y = i / memory.columns * kBlurred, x = i % memory.columns;
    const float* pixel = tile + y * memory.columns + x;
    const int last = rows + 2 * radius - 1 - y;  // below which there is nothing
    float window[kBlurred], sum[kBlurred] = {};
#pragma unroll
    for (int m = 0; m < kBlurred - 1; ++m) window[m + 1] = pixel[min(m, last) * memory.columns];
#pragma unroll 4
    for (int t = 0; t <= 2 * radius; ++t) {
#pragma unroll
      for (int m = 0; m < kBlurred - 1; ++m) window[m] = window[m + 1];
      window[kBlurred - 1] = pixel[min(t + kBlurred - 1, last) * memory.columns];
      const float weight = weights[t];
#pragma unroll
      for (int m = 0; m < kBlurred; ++m) sum[m] = __fmaf_rn(weight, window[m], sum[m]);
    }
#pragma unroll
    for (int m = 0; m < kBlurred; ++m) {
      if (y + m < rows) across[(y + m) * memory.pitch + x] = sum[m];
    }
  }
  __syncthreads();

  // Rows: a thread has kBlurred pixels beside each other.
  constexpr int kGroups = kGaussianWidth / kBlurred;
  for (int i = threadIdx.x; i < rows * kGroups; i += kGaussianThreads) {
    const int y = i / kGroups, x = i % kGroups * kBlurred;
    const float4* pixels = reinterpret_cast<const float4*>(across + y * memory.pitch + x);
    float window[2 * kBlurred], sum[kBlurred] = {};
    const auto read = [&](int group) {
      const float4 four = pixels[group];
      window[4] = four.x, window[5] = four.y, window[6] = four.z, window[7] = four.w;
    };
    read(0);
    for (int t = 0; t <= 2 * radius; t += kBlurred) {
#pragma unroll
      for (int m = 0; m < kBlurred; ++m) window[m] = window[m + kBlurred];
      read(t / kBlurred + 1);
#pragma unroll
      for (int k = 0; k < kBlurred; ++k) {
        if (t + k > 2 * radius) break;
        const float weight = weights[t + k];
#pragma unroll
        for (int m = 0; m < kBlurred; ++m) sum[m] = __fmaf_rn(weight, window[m + k], sum[m]);
      }
    }
    with_element(output.element, output.data, [&](auto* to) {
      using S = std::remove_reference_t<decltype(*to)>;
      to += y * output.y;
#pragma unroll
      for (int m = 0; m < kBlurred; ++m) {
        if (x + m < columns) to[(x + m) * output.x] = from_float<S>(sum[m]);
      }
    });
  }
}

// Any radius, out of memory: a thread has a pixel of a tile of kLanes columns, whose columns are blurred as many at
// once.
constexpr int kDirectRows = 8;

// Grid: planes, tiles.
__global__ void __launch_bounds__(kLanes* kDirectRows) gaussian_direct(const __grid_constant__ GaussianLaunch a) {
  float* blurred = dynamic_shared<float>();  // [kDirectRows][kLanes]
  const TilePlace place(a, kDirectRows, kLanes);
  const int64_t image = place.plane / a.channels;
  const int radius = gaussian_radius(a, image), lane = threadIdx.x % kLanes, row = threadIdx.x / kLanes;
  if (radius <= a.largest_radius) return;
  const View source = at(a.source, image, place.plane % a.channels);
  const View output = at(a.output, image, place.plane % a.channels, place.y, place.x);
  const int rows = static_cast<int>(min(a.height - place.y, int64_t{kDirectRows}));
  const int columns = static_cast<int>(min(a.width - place.x, int64_t{kLanes}));
  const double sigma = value_of(a.sigma, image);
  if (sigma == 0) return copy_tile(at(source, 0, 0, place.y, place.x), output, 1, rows, columns);

  const GaussianWeights weight(sigma, radius);
  float sum = 0;
  for (int first = -radius; first < kLanes + radius; first += kLanes) {
    const int64_t at_x = border_index(place.x + first + lane, a.width, a.border);
    float down = 0;
    for (int i = -radius; i <= radius && row < rows; ++i) {
      const int64_t at_y = border_index(place.y + row + i, a.height, a.border);
      const float pixel = at_y < 0 || at_x < 0 ? 0 : read_pixel(source, at_y * source.y + at_x * source.x);
      down = __fmaf_rn(weight(i), pixel, down);
    }
    blurred[threadIdx.x] = down;
    __syncthreads();
    for (int i = max(first, lane - radius); i <= min(first + kLanes - 1, lane + radius); ++i)
      sum = __fmaf_rn(weight(i - lane), blurred[row * kLanes + i - first], sum);
    __syncthreads();
  }
  if (row < rows && lane < columns) write_pixel(output, row * output.y + lane * output.x, sum);
}

}  // namespace texfilters
