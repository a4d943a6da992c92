// Images that no iteration touches: the bits as they are.
#pragma once

#include "cuda/anisotropic_diffusion.h"
#include "cuda/elements.cuh"

namespace texfilters {

constexpr int kCopyThreads = 256, kCopyPixels = 16384;  // of a block

// Grid: images, channels, parts of the rest; the launcher has merged all axes that it could.
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
    const uintptr_t address = reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to);
    const bool in_one_piece = source.x == 1 && output.x == 1 && a.height * a.depth == 1;
    if (in_one_piece && address % sizeof(uint4) == 0 && end % kVector == 0) {
      static_assert(kCopyPixels % kVector == 0);
#pragma unroll 4
      for (int64_t i = begin / kVector + threadIdx.x; i < end / kVector; i += kCopyThreads)
        reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
      return;
    }
    const auto copy = [&](auto width, auto height) {
      using Index = decltype(width);
#pragma unroll 4
      for (int64_t i = begin + threadIdx.x; i < end; i += kCopyThreads) {
        const Index row = static_cast<Index>(i) / width, x = static_cast<Index>(i) % width;
        const Index y = row % height, z = row / height;
        to[x * output.x + y * output.y + z * output.z] = from[x * source.x + y * source.y + z * source.z];
      }
    };
    if (pixels <= 0xffffffff) return copy(static_cast<uint32_t>(a.width), static_cast<uint32_t>(a.height));
    copy(a.width, a.height);  // in divisions of 64 bits, which take several times as long
  });
}

}  // namespace texfilters
