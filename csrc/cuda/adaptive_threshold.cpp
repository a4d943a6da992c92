// The adaptive threshold on CUDA tensors.
#include "cuda/adaptive_threshold.h"

#include <string>
#include <vector>

#include "cuda/filter_op.h"
#include "windows.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

Tensor adaptive_threshold(Tensor image, int64_t block_size, Tensor c, std::string method, double max_value,
                          bool invert) {
  check_image(image);
  check_window("block_size", block_size, 1);
  STD_TORCH_CHECK(method == "mean" || method == "gaussian", "method must be mean or gaussian, got ", method);
  const CallParameter parameter("c", c, image, 2);
  const DeviceGuard guard(image.get_device_index());
  Tensor output = torch::stable::empty_like(image);
  if (image.numel() == 0) return output;

  const cudaStream_t stream = current_stream(image);
  ThresholdLaunch launch;
  launch.block_size = static_cast<int32_t>(block_size);
  launch.max_value = static_cast<float>(max_value);
  launch.invert = invert;
  DeviceTable table;
  parameter.tell(launch.c, table);
  if (method == "gaussian") {
    const std::vector<double> weights = threshold_gaussian(block_size);
    table.add(std::vector<float>(weights.begin(), weights.end()), launch.weights);
  }
  table.send(image, stream);
  for_launches(image, output, launch, [&](const ThresholdLaunch& part) { return run_threshold(part, stream); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CUDA, m) {
  m.impl("adaptive_threshold", TORCH_BOX(&adaptive_threshold));
}

}  // namespace texfilters
