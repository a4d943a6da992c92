// The bilateral filter out of shared memory, where a block has a tile of pixels with what lies around it; a lane has a
// column of kStripRows of them. The rows of their windows meet as
//
//     row -1   | o o o
//     row  0   | o o o o
//     row  1   | o o o o     each pixel that is read serves up to kStripRows windows
//     ...
//
// The weight of a neighbor at the color distance L and the distance r is 2^(-(color L)^2 - space r^2). For RGB of 8
// bits a neighbor takes 8 instructions: one for L + 2^23 as the bits of a float, two for the exponent, the power, and
// four sums. A pixel is kept as floats beside its packed bytes, so that one load of 16 bytes fetches all of it.
#pragma once

#include "cuda/bilateral_filter.h"
#include "cuda/bordered_tile.cuh"

namespace texfilters {

constexpr int kStripRows = 4, kBilateralWarps = 8, kBilateralThreads = kLanes * kBilateralWarps;
constexpr int kBilateralWidth = kLanes, kBilateralHeight = 2 * kStripRows * kBilateralWarps;

constexpr int kUsualRadius = 4;  // d = 9, for which the windows are unrolled

// Of shared memory, with `pixel` bytes for each.
inline int64_t bilateral_bytes(int64_t radius, int64_t pixel) {
  const int64_t height = kBilateralHeight + 2 * radius, width = kBilateralWidth + 2 * radius;
  return (height + width) * static_cast<int64_t>(sizeof(int64_t)) + height * width * pixel;
}

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

// How far a circle of that radius reaches at a distance from its middle: the whole root, whatever float32 makes of it.
__device__ __forceinline__ int half_chord(int radius, int distance) {
  const int rest = radius * radius - distance * distance;
  int half = static_cast<int>(__fsqrt_rn(static_cast<float>(rest)));
  if (half * half > rest) half -= 1;
  if ((half + 1) * (half + 1) <= rest) half += 1;
  return half;
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

}  // namespace texfilters
