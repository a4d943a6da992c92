// The launches of the bilateral filter.
#include "cuda/bilateral_filter.h"

#include "cuda/bilateral_filter.cuh"

namespace texfilters {
namespace {

using Kernel = void (*)(BilateralLaunch);

}  // namespace

int run_bilateral(BilateralLaunch a, void* stream) {
  const cudaStream_t where = static_cast<cudaStream_t>(stream);
  const bool known = a.radius >= 0, gray = a.channels == 1, bytes = a.source.element == Element::uint8;
  const int64_t pixel = gray ? sizeof(GrayPixel) : sizeof(RgbPixel);
  int64_t room = 0;
  const cudaError_t error = shared_memory(known, room);
  if (error != cudaSuccess) return error;
  if (gray || a.channels == 3) {
    while (a.largest_radius != a.radius && bilateral_bytes(a.largest_radius + 1, pixel) <= room) a.largest_radius += 1;
  }
  if (a.largest_radius > 0 && (!known || a.radius == a.largest_radius)) {
    static const Kernel kernels[][2] = {{bilateral_tiles<GrayPixel, 0>, bilateral_tiles<GrayPixel, kUsualRadius>},
                                        {bilateral_tiles<RgbPixel, 0>, bilateral_tiles<RgbPixel, kUsualRadius>},
                                        {bilateral_tiles<BytesPixel, 0>, bilateral_tiles<BytesPixel, kUsualRadius>}};
    const Kernel kernel = kernels[gray ? 0 : bytes ? 2 : 1][a.radius == kUsualRadius];
    const cudaError_t error = launch_blocks(kernel, a, a.images, tiles(a, kBilateralHeight, kBilateralWidth),
                                            kBilateralThreads, bilateral_bytes(a.largest_radius, pixel), where);
    if (error != cudaSuccess || known) return error;
  }
  const int64_t parts = (a.height * a.width - 1) / kDirectThreads + 1;
  return launch_blocks(bilateral_direct, a, a.images, parts, kDirectThreads, 0, where);
}

}  // namespace texfilters
