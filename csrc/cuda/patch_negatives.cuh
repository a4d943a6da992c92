// The kernel of patch_negatives: a gather, bound by memory.
#pragma once

#include "cuda/filter.cuh"
#include "cuda/patch_negatives.h"

namespace texfilters {

constexpr int kPatchTile = 32, kPatchPixels = 4;  // of a thread, side by side
constexpr int kPatchThreads = kPatchTile * kPatchTile / kPatchPixels;

__device__ __forceinline__ int64_t number_at(const Numbers& numbers, int64_t offset) {
  return numbers.wide ? global(static_cast<const int64_t*>(numbers.data))[offset]
                      : global(static_cast<const int32_t*>(numbers.data))[offset];
}

template <class T>
struct alignas(sizeof(T) * kPatchPixels) PatchPiece {
  T at[kPatchPixels];
};

// Sizes and places out of range are taken for the nearest within.
__global__ void __launch_bounds__(kPatchThreads) gather_patches(const __grid_constant__ PatchLaunch a) {
  const TilePlace place(a, kPatchTile, kPatchTile);
  constexpr int kLine = kPatchTile / kPatchPixels;
  const int64_t y = place.y + threadIdx.x / kLine, x = place.x + threadIdx.x % kLine * kPatchPixels;
  if (y >= a.height || x >= a.width) return;
  const int64_t image = place.plane / a.results, result = place.plane % a.results;

  const int64_t drawn = number_at(a.patch_size, image * a.patch_size.strides[0] + result * a.patch_size.strides[1]);
  const uint32_t size = static_cast<uint32_t>(min(max(drawn, int64_t{1}), max(a.height, a.width)));
  const uint32_t row = static_cast<uint32_t>(y) / size, down = static_cast<uint32_t>(y) % size;
  const uint32_t column = static_cast<uint32_t>(x) / size;
  const int64_t cell = int64_t{row} * ((static_cast<uint32_t>(a.width) - 1) / size + 1) + column;
  const int64_t places = image * a.places.strides[0] + result * a.places.strides[1];

  int64_t from[kPatchPixels], next = cell, corner_y = 0, corner_x = 0;
  uint32_t across = static_cast<uint32_t>(x) % size;
#pragma unroll
  for (int i = 0; i < kPatchPixels; ++i) {
    if (i == 0 || across == size) {
      across = i == 0 ? across : 0;
      const int64_t known = places + min(next, a.cells - 1) * a.places.strides[2];
      corner_y = number_at(a.places, known);
      corner_x = number_at(a.places, known + a.places.strides[3]);
      next += 1;
    }
    // Apart, since a sum could pass the largest number.
    const int64_t from_y = min(min(max(corner_y, int64_t{0}), a.height - 1) + down, a.height - 1);
    const int64_t from_x = min(min(max(corner_x, int64_t{0}), a.width - 1) + across, a.width - 1);
    from[i] = from_y * a.source.y + from_x * a.source.x;
    across += 1;
  }

  const View source = at(a.source, image, 0);
  const View output = at(a.output, image, 0, y, x);
  with_element(source.element, source.data, [&](auto* pixels) {
    using T = std::remove_reference_t<decltype(*pixels)>;
    T* to = global(static_cast<T*>(output.data)) + result * a.output_result;
    for (int64_t channel = 0; channel < a.channels; ++channel) {
      PatchPiece<T> piece;
#pragma unroll
      for (int i = 0; i < kPatchPixels; ++i) piece.at[i] = pixels[from[i]];
      if (a.width % kPatchPixels == 0) {
        *reinterpret_cast<PatchPiece<T>*>(to) = piece;
      } else {
#pragma unroll
        for (int i = 0; i < kPatchPixels; ++i) {
          if (x + i < a.width) to[i] = piece.at[i];
        }
      }
      pixels += a.source.channel;
      to += a.output.channel;
    }
  });
}

}  // namespace texfilters
