// Images that no iteration touches: the bits as they are.
#pragma once

#include <type_traits>

#include "cuda/anisotropic_diffusion.h"
#include "cuda/elements.cuh"

namespace texfilters {

constexpr int kCopyThreads = 256, kCopyPixels = 16384;  // of a block

// Grid: images, channels, parts of a volume.
__global__ void __launch_bounds__(kCopyThreads) copy_unchanged(const __grid_constant__ DiffusionLaunch a) {
  const int64_t pixels = a.depth * a.height * a.width;
  const unsigned parts = static_cast<unsigned>((pixels - 1) / kCopyPixels + 1), plane = blockIdx.x / parts;
  const unsigned channels = static_cast<unsigned>(a.channels);
  const int64_t image = a.first_image + plane / channels;
  if (iterations_left(a.niter, image, 0) > 0) return;
  const View source = at(a.source, image, plane % channels), output = at(a.output, image, plane % channels);
  const int64_t begin = int64_t{blockIdx.x % parts} * kCopyPixels, end = min(begin + kCopyPixels, pixels);

  with_element(source.element, source.data, [&](auto* from) {
    auto* to = global(static_cast<decltype(from)>(output.data));
    constexpr int kVector = sizeof(uint4) / sizeof(*from);
    const auto in_one_piece = [&](const View& v) {
      return v.x == 1 && (a.height == 1 || v.y == a.width) && (a.depth == 1 || v.z == a.height * a.width);
    };
    const uintptr_t address = reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to);
    if (in_one_piece(source) && in_one_piece(output) && address % sizeof(uint4) == 0 && end % kVector == 0) {
      static_assert(kCopyPixels % kVector == 0);
#pragma unroll 4
      for (int64_t i = begin / kVector + threadIdx.x; i < end / kVector; i += kCopyThreads)
        reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
      return;
    }
#pragma unroll 4
    for (int64_t i = begin + threadIdx.x; i < end; i += kCopyThreads) {
      const int64_t x = i % a.width, row = i / a.width, y = row % a.height, z = row / a.height;
      to[x * output.x + y * output.y + z * output.z] = from[x * source.x + y * source.y + z * source.z];
    }
  });
}

}  // namespace texfilters
