// Torch's side of the filters: tensors of any shape and strides as launches.
#pragma once

#include <torch/csrc/stable/ops.h>

#include "cuda/dimensions.h"
#include "cuda/filter.h"
#include "cuda/parameters.h"
#include "cuda/torch_device.h"

namespace texfilters {

inline View plane_view(const torch::stable::Tensor& tensor, const void* data) {
  const int64_t dims = tensor.dim();
  const int64_t channel = dims > 2 ? tensor.stride(dims - 3) : 0;
  const Element type = element(tensor.scalar_type());
  return {const_cast<void*>(data), type, 0, channel, 0, tensor.stride(dims - 2), tensor.stride(dims - 1)};
}

// Completes `launch` for an image and an output, [..., C, H, W] or [H, W] (the output's C may be another), and calls
// run(launch), which returns a cudaError_t, once, or as often as their leading dimensions cannot be merged. The
// parameters of a single image's number i belong to it: they are told before.
template <class Launch, class Run>
void for_launches(const torch::stable::Tensor& image, const torch::stable::Tensor& output, Launch launch,
                  const Run& run) {
  const int64_t dims = image.dim();
  launch.source = plane_view(image, image.const_data_ptr());
  launch.output = plane_view(output, output.mutable_data_ptr());
  launch.channels = dims > 2 ? image.size(dims - 3) : 1;
  launch.height = image.size(dims - 2);
  launch.width = image.size(dims - 1);
  launch.images = 1;
  std::vector<Dimension> outer = leading(image, output, dims > 3 ? dims - 3 : 0);
  if (!outer.empty()) {
    launch.images = outer.back().size;
    launch.source.image = outer.back().in;
    launch.output.image = outer.back().out;
    outer.pop_back();
  }
  for_indices(outer, [&](int64_t in, int64_t out) {
    Launch part = launch;
    advance(part.source, in);
    advance(part.output, out);
    check(run(part));
  });
}

inline void check_image(const torch::stable::Tensor& image) {
  STD_TORCH_CHECK(image.dim() >= 2, "image must have at least 2 dimensions, got ", image.dim());
  element(image.scalar_type());  // is one of those
}

}  // namespace texfilters
