// The cartoon on CUDA tensors.
#include "cuda/cartoonize.h"

#include <algorithm>
#include <vector>

#include "cuda/filter_op.h"
#include "windows.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

Tensor cartoonize(const Tensor& image, int64_t d, const Tensor& sigma_color, const Tensor& sigma_space, int64_t passes,
                  int64_t ksize, int64_t block_size, const Tensor& c) {
  check_image(image);
  const int64_t dims = image.dim();
  STD_TORCH_CHECK(dims >= 3 && image.size(dims - 3) == 3, "image must have 3 channels");
  STD_TORCH_CHECK(passes >= 0, "passes must not be negative, got ", passes);
  check_window("ksize", ksize, 1);
  check_window("block_size", block_size, 1);
  const CallParameter color("sigma_color", sigma_color, image, 2), space("sigma_space", sigma_space, image, 2);
  const CallParameter offset("c", c, image, 2);
  const DeviceGuard guard(image.get_device_index());
  const Tensor output = torch::stable::empty_like(image);
  if (image.numel() == 0) return output;

  const cudaStream_t stream = current_stream(image);
  CartoonLaunch launch;
  launch.passes = passes;
  launch.ksize = static_cast<int32_t>(ksize);
  launch.block_size = static_cast<int32_t>(block_size);
  DeviceTable table;
  color.tell(launch.sigma_color, table);
  space.tell(launch.sigma_space, table);
  offset.tell(launch.c, table);
  table.send(image, stream);
  if (d > 0 || (space.known() && space.one_an_image.empty()))
    launch.radius = static_cast<int32_t>(bilateral_radius(d, space.parameter.all));

  std::vector<Tensor> scratch;
  for_launches(image, output, launch, [&](const CartoonLaunch& part) {
    const int64_t numbers = cartoon_planes(part) * part.height * part.width;  // of an image
    if (numbers == 0) return run_cartoon(part, nullptr, part.images, stream);
    const int64_t fitting = scratch_bytes() / (numbers * bytes(part.source.element));
    const int64_t together = std::min(part.images, std::max<int64_t>(1, fitting));
    if (scratch.empty()) scratch.push_back(torch::stable::new_empty(image, {together * numbers}));
    return run_cartoon(part, scratch[0].mutable_data_ptr(), together, stream);
  });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CUDA, m) {
  m.impl("cartoonize", TORCH_BOX(&cartoonize));
}

}  // namespace texfilters
