// The bilateral filter on CUDA tensors.
#include "cuda/bilateral_filter.h"

#include <string>

#include "cuda/filter_op.h"
#include "windows.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

Tensor bilateral_filter(const Tensor& image, int64_t d, const Tensor& sigma_color, const Tensor& sigma_space,
                        std::string border) {
  check_image(image);
  BilateralLaunch launch;
  launch.border = parse_border(border);
  const CallParameter color("sigma_color", sigma_color, image, 2), space("sigma_space", sigma_space, image, 2);
  const DeviceGuard guard(image.get_device_index());
  const Tensor output = torch::stable::empty_like(image);
  if (image.numel() == 0) return output;

  const cudaStream_t stream = current_stream(image);
  DeviceTable table;
  color.tell(launch.sigma_color, table);
  space.tell(launch.sigma_space, table);
  table.send(image, stream);
  if (d > 0 || (space.known() && space.one_an_image.empty()))
    launch.radius = static_cast<int32_t>(bilateral_radius(d, space.parameter.all));
  for_launches(image, output, launch, [&](const BilateralLaunch& part) { return run_bilateral(part, stream); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CUDA, m) {
  m.impl("bilateral_filter", TORCH_BOX(&bilateral_filter));
}

}  // namespace texfilters
