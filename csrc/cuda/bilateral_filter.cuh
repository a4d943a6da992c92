// The kernels of the bilateral filter.
#pragma once

#include "cuda/bilateral_window.cuh"
#include "cuda/copy_tile.cuh"
#include "cuda/filter.cuh"

namespace texfilters {

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
