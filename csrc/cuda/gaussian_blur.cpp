// The Gaussian blur on CUDA tensors.
#include "cuda/gaussian_blur.h"

#include <string>

#include "cuda/filter_op.h"
#include "windows.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

Tensor gaussian_blur(const Tensor& image, const Tensor& sigma, int64_t kernel_size, std::string border) {
  check_image(image);
  if (kernel_size != 0) check_window("kernel_size", kernel_size, 1);
  GaussianLaunch launch;
  launch.border = parse_border(border);
  const CallParameter parameter("sigma", sigma, image, 2);
  const DeviceGuard guard(image.get_device_index());
  const Tensor output = torch::stable::empty_like(image);
  if (image.numel() == 0) return output;

  const cudaStream_t stream = current_stream(image);
  DeviceTable table;
  parameter.tell(launch.sigma, table);
  table.send(image, stream);
  if (kernel_size > 0 || (parameter.known() && parameter.one_an_image.empty()))
    launch.radius = static_cast<int32_t>(gaussian_radius(kernel_size, parameter.parameter.all));
  for_launches(image, output, launch, [&](const GaussianLaunch& part) { return run_gaussian(part, stream); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CUDA, m) {
  m.impl("gaussian_blur", TORCH_BOX(&gaussian_blur));
}

}  // namespace texfilters
