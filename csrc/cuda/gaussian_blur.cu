// The launches of the Gaussian blur.
#include "cuda/gaussian_blur.h"

#include "cuda/gaussian_blur.cuh"

namespace texfilters {

int run_gaussian(GaussianLaunch a, void* stream) {
  const cudaStream_t where = static_cast<cudaStream_t>(stream);
  const bool known = a.radius >= 0;
  int64_t room = 0;
  const cudaError_t error = shared_memory(known, room);
  if (error != cudaSuccess) return error;
  a.largest_radius = -1;
  while (a.largest_radius < (known ? a.radius : kLargestRadius) && GaussianMemory(a.largest_radius + 1).bytes() <= room)
    a.largest_radius += 1;
  const int64_t planes = a.images * a.channels;
  if (a.largest_radius >= 0 && (!known || a.radius == a.largest_radius)) {
    const cudaError_t error = launch_blocks(gaussian_tiles, a, planes, tiles(a, kGaussianHeight, kGaussianWidth),
                                            kGaussianThreads, GaussianMemory(a.largest_radius).bytes(), where);
    if (error != cudaSuccess || known) return error;
  }
  return launch_blocks(gaussian_direct, a, planes, tiles(a, kDirectRows, kLanes), kLanes * kDirectRows,
                       kDirectRows * kLanes * sizeof(float), where);
}

}  // namespace texfilters
