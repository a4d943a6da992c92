// The bilateral filter: a block has a tile of pixels with what lies around it in shared memory, a lane a column of
// kStripRows pixels in it. The rows of a window meet as
//
//     row -1   | o o o
//     row  0   | o o o o
//     row  1   | o o o o     each pixel that is read serves up to kStripRows windows
//     ...
//
// The weight of a neighbor at the color distance L and the distance r is 2^(-(color L)^2 - space r^2). For RGB of 8
// bits a neighbor takes 8 instructions: one for L + 2^23 as the bits of a float, two for the exponent, the power, and
// four sums. A pixel is kept as floats beside its packed bytes, so that one load of 16 bytes fetches all there is to
// it.
#pragma once

#include "cuda/bilateral_filter.h"
#include "cuda/bordered_tile.cuh"
#include "cuda/copy_tile.cuh"
#include "cuda/filter.cuh"

namespace texfilters {

constexpr int kStripRows = 4, kBilateralWarps = 8, kBilateralThreads = kLanes * kBilateralWarps;
constexpr int kBilateralWidth = kLanes, kBilateralHeight = 2 * kStripRows * kBilateralWarps;

// What an image's sigmas make of its windows.
struct BilateralWeights {
  float color, space;
  bool identity;

  __device__ BilateralWeights(const BilateralLaunch& a, int64_t image) {
    const double in_color = value_of(a.sigma_color, image), in_space = value_of(a.sigma_space, image);
    identity = in_color == 0 || in_space == 0;
    constexpr float kHalfLog2e = 0.72134752f, kRootOfIt = 0.84932180f, kFinite = 1e30f;
    const float across = static_cast<float>(in_color), along = static_cast<float>(in_space);
    color = across >= 0 ? fminf(kRootOfIt / across, kFinite) : __uint_as_float(0x7fffffffu);
    space = along >= 0 ? fminf(kHalfLog2e / along / along, kFinite) : __uint_as_float(0x7fffffffu);
  }
};

__device__ inline int bilateral_radius(const BilateralLaunch& a, int64_t image) {
  if (a.radius >= 0) return a.radius;
  const double length = rint(1.5 * value_of(a.sigma_space, image));  // fmin and fmax take the number beside a NaN
  return static_cast<int>(fmin(fmax(length, 1.0), static_cast<double>(kLargestRadius)));
}

// How far a circle of that radius reaches at a distance from its middle. Rounding cannot pass a whole number here.
__device__ __forceinline__ int half_chord(int radius, int distance) {
  const int64_t rest = int64_t{radius} * radius - int64_t{distance} * distance;
  return rest < 1 << 22 ? static_cast<int>(__fsqrt_rn(static_cast<float>(rest)))
                        : static_cast<int>(sqrt(static_cast<double>(rest)));
}

// Pixels in shared memory. scaled_distance(q, p, color) is color times their L1 distance.
struct GrayPixel {
  static constexpr int kChannels = 1;
  static constexpr bool kBytes = false;
  float value;

  __device__ float channel(int) const { return value; }
  template <class Read>
  static __device__ GrayPixel from(const Read& read) {
    return {to_float(read(0))};
  }
};
__device__ __forceinline__ float scaled_distance(const GrayPixel& q, const GrayPixel& p, float color) {
  return (q.value - p.value) * color;
}

struct __align__(16) RgbPixel {
  static constexpr int kChannels = 3;
  static constexpr bool kBytes = false;
  float r, g, b;

  __device__ float channel(int c) const { return c == 0 ? r : c == 1 ? g : b; }
  template <class Read>
  static __device__ RgbPixel from(const Read& read) {
    return {to_float(read(0)), to_float(read(1)), to_float(read(2))};
  }
};
__device__ __forceinline__ float scaled_distance(const RgbPixel& q, const RgbPixel& p, float color) {
  return (fabsf(q.r - p.r) + fabsf(q.g - p.g) + fabsf(q.b - p.b)) * color;
}

struct __align__(16) BytesPixel {  // RGB of 8 bits
  static constexpr int kChannels = 3;
  static constexpr bool kBytes = true;
  float r, g, b;
  unsigned packed;

  __device__ float channel(int c) const { return c == 0 ? r : c == 1 ? g : b; }
  template <class Read>
  static __device__ BytesPixel from(const Read& read) {
    const unsigned r = read(0), g = read(1), b = read(2);
    return {byte_to_float(r), byte_to_float(g), byte_to_float(b), r | g << 8 | b << 16};
  }
};
__device__ __forceinline__ float scaled_distance(const BytesPixel& q, const BytesPixel& p, float color) {
  const float above = __uint_as_float(sum_of_differences(q.packed, p.packed, 0x4B000000u));  // 2^23 + L
  return __fmaf_rn(above, color, color * -8388608.0f);  // exact but for one rounding
}

template <class P>
struct WeightedSum {
  float weight = 0, channels[P::kChannels] = {};

  // The pixel itself, whose weight is 1.
  __device__ __forceinline__ void start(const P& p) {
    weight = 1;
#pragma unroll
    for (int c = 0; c < P::kChannels; ++c) channels[c] = p.channel(c);
  }

  // `in_space` is -space r^2.
  __device__ __forceinline__ void add(const P& q, const P& p, float color, float in_space) {
    const float distance = scaled_distance(q, p, color);
    const float w = exp2_approx(__fmaf_rn(-distance, distance, in_space));
    weight += w;
#pragma unroll
    for (int c = 0; c < P::kChannels; ++c) channels[c] = __fmaf_rn(w, q.channel(c), channels[c]);
  }
};

// The sums over the windows of kStripRows pixels below each other, of which the first is *at. The windows are unrolled,
// and the numbers -space r^2 stay in registers.
template <int kRadius, class P>
__device__ __forceinline__ void sum_strip_of(const P* at, int pitch, const BilateralWeights& weights,
                                             WeightedSum<P> (&sums)[kStripRows]) {
  P p[kStripRows];
#pragma unroll
  for (int m = 0; m < kStripRows; ++m) {
    p[m] = at[m * pitch];
    if (P::kBytes) sums[m].start(p[m]);  // of others the distance from themselves may be NaN
  }
#pragma unroll
  for (int x = -kRadius; x <= kRadius; ++x) {
#pragma unroll
    for (int y = -kRadius; y < kRadius + kStripRows; ++y) {
      const P q = at[y * pitch + x];
#pragma unroll
      for (int m = 0; m < kStripRows; ++m) {
        const int square = x * x + (y - m) * (y - m);
        if (square >= P::kBytes && square <= kRadius * kRadius)
          sums[m].add(q, p[m], weights.color, weights.space * -static_cast<float>(square));
      }
    }
  }
}

// The same for any radius.
template <class P>
__device__ __forceinline__ void sum_strip_of_any(const P* at, int pitch, int radius, const BilateralWeights& weights,
                                                 WeightedSum<P> (&sums)[kStripRows]) {
  P p[kStripRows];
#pragma unroll
  for (int m = 0; m < kStripRows; ++m) p[m] = at[m * pitch];
  for (int x = -radius; x <= radius; ++x) {
    const int half = half_chord(radius, x);
    const float in_space = weights.space * -static_cast<float>(x * x);
    const auto add = [&](const P& q, int m, int y) {
      const float distance = static_cast<float>(y - m);
      sums[m].add(q, p[m], weights.color, __fmaf_rn(weights.space * -distance, distance, in_space));
    };
    const P* column = at + x;
    if (2 * half + 1 < kStripRows) {  // windows too low to overlap
#pragma unroll
      for (int m = 0; m < kStripRows; ++m) {
        for (int y = m - half; y <= m + half; ++y) add(column[y * pitch], m, y);
      }
      continue;
    }
#pragma unroll
    for (int i = 0; i < kStripRows - 1; ++i) {  // in the upper windows alone
      const P q = column[(i - half) * pitch];
#pragma unroll
      for (int m = 0; m <= i; ++m) add(q, m, i - half);
    }
#pragma unroll 2
    for (int y = kStripRows - 1 - half; y <= half; ++y) {
      const P q = column[y * pitch];
#pragma unroll
      for (int m = 0; m < kStripRows; ++m) add(q, m, y);
    }
#pragma unroll
    for (int i = 1; i < kStripRows; ++i) {  // in the lower windows alone
      const P q = column[(half + i) * pitch];
#pragma unroll
      for (int m = i; m < kStripRows; ++m) add(q, m, half + i);
    }
  }
}

template <int kRadius, class P>  // kRadius 0: any
__device__ __forceinline__ void sum_strip(const P* at, int pitch, int radius, const BilateralWeights& weights,
                                          WeightedSum<P> (&sums)[kStripRows]) {
  if constexpr (kRadius > 0) {
    sum_strip_of<kRadius>(at, pitch, weights, sums);
  } else {
    sum_strip_of_any(at, pitch, radius, weights, sums);
  }
}

// The pixels from (y, x) of an image on.
template <class P>
__device__ __forceinline__ void load_pixels(const View& source, int64_t y, int64_t x, int rows, int columns,
                                            int64_t height, int64_t width, Border border, int64_t* places, P* tile) {
  const auto load = [&](auto* pixels) {
    for_bordered_pixels<kBilateralThreads>(
        source, y, x, rows, columns, height, width, border, places,
        [&](int i, int64_t offset) {
          const auto* pixel = pixels + offset;
          tile[i] = P::from([&](int c) { return pixel[c * source.channel]; });
        },
        [&](int i) { tile[i] = {}; });
  };
  if constexpr (P::kBytes) {
    load(global(static_cast<uint8_t*>(source.data)));
  } else {
    with_element(source.element, source.data, load);
  }
}

// The averages of a strip whose first pixel is (y, x), of which `rows` are in the image.
template <class P>
__device__ __forceinline__ void write_strip(const View& output, int64_t y, int64_t x, int rows,
                                            const WeightedSum<P> (&sums)[kStripRows]) {
  const auto write = [&](auto* pixels) {
    using S = std::remove_reference_t<decltype(*pixels)>;
    pixels += y * output.y + x * output.x;
#pragma unroll
    for (int m = 0; m < kStripRows; ++m) {
      if (m >= rows) break;
      const float scale = reciprocal_approx(sums[m].weight);
#pragma unroll
      for (int c = 0; c < P::kChannels; ++c) pixels[c * output.channel] = from_float<S>(sums[m].channels[c] * scale);
      pixels += output.y;
    }
  };
  if constexpr (P::kBytes) {
    write(global(static_cast<uint8_t*>(output.data)));
  } else {
    with_element(output.element, output.data, write);
  }
}

// Grid: images, tiles.
template <class P, int kRadius>
__global__ void __launch_bounds__(kBilateralThreads) bilateral_tiles(const __grid_constant__ BilateralLaunch a) {
  int64_t* places = dynamic_shared<int64_t>();
  const TilePlace place(a, kBilateralHeight, kBilateralWidth);
  const int radius = kRadius > 0 ? kRadius : bilateral_radius(a, place.plane);
  if (radius > a.largest_radius) return;
  const BilateralWeights weights(a, place.plane);
  const View source = at(a.source, place.plane, 0), output = at(a.output, place.plane, 0);
  const int rows = static_cast<int>(min(a.height - place.y, int64_t{kBilateralHeight}));
  const int columns = static_cast<int>(min(a.width - place.x, int64_t{kBilateralWidth}));
  if (weights.identity)
    return copy_tile(at(source, 0, 0, place.y, place.x), at(output, 0, 0, place.y, place.x), a.channels, rows, columns);

  const int pitch = kBilateralWidth + 2 * radius;
  P* tile = reinterpret_cast<P*>(places + kBilateralHeight + kBilateralWidth + 4 * radius);
  load_pixels(source, place.y - radius, place.x - radius, rows + 2 * radius, pitch, a.height, a.width, a.border, places,
              tile);
  __syncthreads();
  const int x = threadIdx.x % kLanes;
  if (x >= columns) return;
#pragma unroll 1
  for (int y = threadIdx.x / kLanes * kStripRows; y < rows; y += kBilateralWarps * kStripRows) {
    WeightedSum<P> sums[kStripRows];
    sum_strip<kRadius>(tile + (y + radius) * pitch + x + radius, pitch, radius, weights, sums);
    write_strip(output, place.y + y, place.x + x, rows - y, sums);
  }
}

// Any number of channels and any radius, out of memory: a thread has a pixel, and goes through its window once for each
// kTogether channels.
constexpr int kDirectThreads = 128, kTogether = 4;

// Grid: images, parts of kDirectThreads pixels.
__global__ void __launch_bounds__(kDirectThreads) bilateral_direct(const __grid_constant__ BilateralLaunch a) {
  const BlockPlace block(a, static_cast<unsigned>((a.height * a.width - 1) / kDirectThreads + 1));
  const int radius = bilateral_radius(a, block.plane);
  if (radius <= a.largest_radius) return;
  const int64_t i = int64_t{block.part} * kDirectThreads + threadIdx.x;
  if (i >= a.height * a.width) return;
  const int64_t y = i / a.width, x = i % a.width;
  const BilateralWeights weights(a, block.plane);
  const View source = at(a.source, block.plane, 0), output = at(a.output, block.plane, 0);
  with_element(source.element, source.data, [&](auto* pixels) {
    using S = std::remove_reference_t<decltype(*pixels)>;
    const S* p = pixels + y * source.y + x * source.x;
    S* result = global(static_cast<S*>(output.data)) + y * output.y + x * output.x;
    if (weights.identity) {
      for (int64_t c = 0; c < a.channels; ++c) result[c * output.channel] = p[c * source.channel];
      return;
    }
    for (int64_t first = 0; first < a.channels; first += kTogether) {
      const int count = static_cast<int>(min(a.channels - first, int64_t{kTogether}));
      float weight = 0, sums[kTogether] = {};
      for (int dy = -radius; dy <= radius; ++dy) {
        const int64_t at_y = border_index(y + dy, a.height, a.border);
        const int half = half_chord(radius, dy);
        for (int dx = -half; dx <= half; ++dx) {
          const int64_t at_x = border_index(x + dx, a.width, a.border);
          const bool outside = at_y < 0 || at_x < 0;
          const S* q = pixels + (outside ? 0 : at_y * source.y + at_x * source.x);
          const auto value = [&](int64_t c) { return outside ? 0 : to_float(q[c * source.channel]); };
          float distance = 0;
          for (int64_t c = 0; c < a.channels; ++c) distance += fabsf(value(c) - to_float(p[c * source.channel]));
          distance *= weights.color;
          const float square =
              static_cast<float>(dx) * static_cast<float>(dx) + static_cast<float>(dy) * static_cast<float>(dy);
          const float w = exp2_approx(__fmaf_rn(-distance, distance, -weights.space * square));
          weight += w;
#pragma unroll
          for (int c = 0; c < kTogether; ++c) sums[c] = c < count ? __fmaf_rn(w, value(first + c), sums[c]) : 0;
        }
      }
      const float scale = 1 / weight;
#pragma unroll
      for (int c = 0; c < kTogether; ++c) {
        if (c < count) result[(first + c) * output.channel] = from_float<S>(sums[c] * scale);
      }
    }
  });
}

}  // namespace texfilters
