// What the kernels of the filters begin with, and how they are launched.
#pragma once

#include <algorithm>

#include "cuda/elements.cuh"
#include "cuda/filter.h"

namespace texfilters {

// Grid: images or planes from a.first on, `parts` blocks for each.
struct BlockPlace {
  int64_t plane;
  unsigned part;

  __device__ BlockPlace(const FilterLaunch& a, unsigned parts)
      : plane(a.first + blockIdx.x / parts), part(blockIdx.x % parts) {}
};

// Where a block's tile of an image lies that is cut into tiles of that size.
struct TilePlace {
  int64_t plane, y, x;

  __device__ TilePlace(const FilterLaunch& a, int tile_height, int tile_width) {
    const unsigned across = static_cast<unsigned>((a.width - 1) / tile_width + 1);
    const unsigned down = static_cast<unsigned>((a.height - 1) / tile_height + 1);
    const BlockPlace block(a, across * down);
    plane = block.plane;
    y = int64_t{block.part / across} * tile_height;
    x = int64_t{block.part % across} * tile_width;
  }
};

inline int64_t tiles(const FilterLaunch& a, int64_t tile_height, int64_t tile_width) {
  return ((a.height - 1) / tile_height + 1) * ((a.width - 1) / tile_width + 1);
}

// What a block may have of shared memory, in bytes. Where a kernel's need is not known, several blocks are to find room
// on a multiprocessor.
inline cudaError_t shared_memory(bool known, int64_t& room) {
  constexpr int kForUnknown = 64 * 1024;
  int device = 0, most = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  room = known ? most : std::min(most, kForUnknown);
  return error;
}

// Lets the kernel's blocks have as much as the device does, not only what this launch takes: between here and there
// another thread may launch it with less.
template <class Kernel>
cudaError_t allow_shared_memory(Kernel* kernel) {
  int64_t most = 0;
  const cudaError_t error = shared_memory(true, most);
  if (error != cudaSuccess) return error;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(most));
}

// `parts` blocks for each of `count` images or planes, in as many launches as the largest grid asks for. Shared memory
// is in bytes.
template <class Launch>
cudaError_t launch_blocks(void (*kernel)(Launch), Launch a, int64_t count, int64_t parts, int threads, int64_t shared,
                          cudaStream_t stream) {
  int device = 0, largest = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&largest, cudaDevAttrMaxGridDimX, device);
  if (error == cudaSuccess && shared > 48 * 1024) error = allow_shared_memory(kernel);
  if (error != cudaSuccess) return static_cast<void>(cudaGetLastError()), error;  // not left for somebody else
  if (parts > largest) return cudaErrorInvalidValue;
  for (int64_t first = 0; first < count; first += largest / parts) {
    a.first = first;
    const int64_t grid = std::min(count - first, largest / parts) * parts;
    launch(kernel, dim3(static_cast<unsigned>(grid)), dim3(threads), shared, stream, a);
    error = cudaGetLastError();
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace texfilters
