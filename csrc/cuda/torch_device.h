// What the ops ask torch of a GPU. The tests that run them on the CPU have a header of their own in its place.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

namespace texfilters {

using torch::stable::accelerator::DeviceGuard;

// That a call may have beside its output, unless a single image needs more.
inline int64_t scratch_bytes() {
  return 64 << 20;
}

inline cudaStream_t current_stream(const torch::stable::Tensor& image) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(image.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

inline bool on_device_of(const torch::stable::Tensor& image, const torch::stable::Tensor& tensor) {
  return tensor.is_cuda() && tensor.get_device_index() == image.get_device_index();
}

}  // namespace texfilters
