// rgb_to_gray on CUDA tensors.
#include "cuda/rgb_to_gray.h"

#include "cuda/filter_op.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

Tensor rgb_to_gray(Tensor image) {
  check_image(image);
  const int64_t dims = image.dim();
  STD_TORCH_CHECK(dims >= 3 && image.size(dims - 3) == 3, "image must have 3 channels");
  const DeviceGuard guard(image.get_device_index());
  Tensor one_channel = image, output = torch::stable::empty_like(torch::stable::narrow(one_channel, dims - 3, 0, 1));
  if (image.numel() == 0) return output;
  const cudaStream_t stream = current_stream(image);
  for_launches(image, output, FilterLaunch(), [&](const FilterLaunch& part) { return run_gray(part, stream); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CUDA, m) {
  m.impl("rgb_to_gray", TORCH_BOX(&rgb_to_gray));
}

}  // namespace texfilters
