// The median filter on CUDA tensors.
#include "cuda/median_blur.h"

#include "cuda/filter_op.h"
#include "windows.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

Tensor median_blur(Tensor image, int64_t ksize) {
  check_image(image);
  check_window("ksize", ksize, 1);
  const DeviceGuard guard(image.get_device_index());
  Tensor output = torch::stable::empty_like(image);
  if (image.numel() == 0) return output;
  const cudaStream_t stream = current_stream(image);
  MedianLaunch launch;
  launch.ksize = ksize;
  for_launches(image, output, launch, [&](const MedianLaunch& part) { return run_median(part, stream); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CUDA, m) {
  m.impl("median_blur", TORCH_BOX(&median_blur));
}

}  // namespace texfilters
