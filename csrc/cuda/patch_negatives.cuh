// The kernel of patch_negatives: a gather, bound by memory.
#pragma once

#include "cuda/filter.cuh"
#include "cuda/patch_negatives.h"

namespace texfilters {

constexpr int kPatchTile = 32, kPatchPixels = 8;  // of a thread, side by side
constexpr int kPatchThreads = kPatchTile * kPatchTile / kPatchPixels;

// A number, or the nearest in least..most.
__device__ __forceinline__ uint32_t number_at(const Numbers& numbers, int64_t offset, uint32_t least, uint32_t most) {
  if (numbers.wide) {
    const int64_t number = global(static_cast<const int64_t*>(numbers.data))[offset];
    return static_cast<uint32_t>(min(max(number, int64_t{least}), int64_t{most}));
  }
  const int32_t number = global(static_cast<const int32_t*>(numbers.data))[offset];
  return min(static_cast<uint32_t>(max(number, static_cast<int32_t>(least))), most);
}

template <class T>
struct alignas(sizeof(T) == 1 ? 8 : 16) PatchPiece {
  T at[kPatchPixels];
};

// Sizes and places out of range are taken for the nearest within.
__global__ void __launch_bounds__(kPatchThreads) gather_patches(const __grid_constant__ PatchLaunch a) {
  const TilePlace place(a, kPatchTile, kPatchTile);
  constexpr int kLine = kPatchTile / kPatchPixels;
  const int64_t y = place.y + threadIdx.x / kLine, x = place.x + threadIdx.x % kLine * kPatchPixels;
  if (y >= a.height || x >= a.width) return;
  const int64_t image = place.plane / a.results, result = place.plane % a.results;

  // All below 2^31, so that two of them can be added.
  const uint32_t height = static_cast<uint32_t>(a.height), width = static_cast<uint32_t>(a.width);
  const int64_t drawn = image * a.patch_size.strides[0] + result * a.patch_size.strides[1];
  const uint32_t size = number_at(a.patch_size, drawn, 1, max(height, width));
  const uint32_t row = static_cast<uint32_t>(y) / size, down = static_cast<uint32_t>(y) % size;
  const uint32_t column = static_cast<uint32_t>(x) / size;
  uint32_t across = static_cast<uint32_t>(x) % size;

  const int64_t places = image * a.places.strides[0] + result * a.places.strides[1];
  int64_t cell = int64_t{row} * ((width - 1) / size + 1) + column, line = 0, from[kPatchPixels];
  uint32_t left = 0;
  const auto look_up = [&] {
    const int64_t place = places + min(cell, a.cells - 1) * a.places.strides[2];
    const uint32_t top = number_at(a.places, place, 0, height - 1);
    left = number_at(a.places, place + a.places.strides[3], 0, width - 1);
    line = min(top + down, height - 1) * a.source.y;
  };
  look_up();
#pragma unroll
  for (int i = 0; i < kPatchPixels; ++i) {
    if (across == size) {
      across = 0;
      cell += 1;
      look_up();
    }
    from[i] = line + min(left + across, width - 1) * a.source.x;
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
