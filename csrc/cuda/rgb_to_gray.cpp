// rgb_to_gray on CUDA tensors.
#include "cuda/rgb_to_gray.h"

#include <vector>

#include "cuda/filter_op.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

Tensor rgb_to_gray(Tensor image) {
  check_image(image);
  const int64_t dims = image.dim();
  STD_TORCH_CHECK(dims >= 3 && image.size(dims - 3) == 3, "image must have 3 channels");
  const DeviceGuard guard(image.get_device_index());
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < dims; ++i) sizes.push_back(i == dims - 3 ? 1 : image.size(i));
  Tensor output = torch::stable::new_empty(image, sizes);
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
