// A filter's parameters as the ops take them, on any device.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <vector>

namespace texfilters {

// What keeps the diffusion's kernels safe on any device.
inline void check_diffusion(const torch::stable::Tensor& image, int64_t option, const std::vector<double>& spacing,
                            int64_t ndim) {
  STD_TORCH_CHECK(ndim == 2 || ndim == 3, "ndim must be 2 or 3, got ", ndim);
  STD_TORCH_CHECK(image.dim() >= ndim, "image must have at least ", ndim, " dimensions, got ", image.dim());
  STD_TORCH_CHECK(static_cast<int64_t>(spacing.size()) == ndim, "spacing must have ", ndim, " numbers, got ",
                  spacing.size());
  STD_TORCH_CHECK(option >= 1 && option <= 3, "option must be 1, 2 or 3, got ", option);
}

inline void check_shape(const char* name, const torch::stable::Tensor& tensor, const torch::stable::Tensor& image,
                        int64_t ndim) {
  STD_TORCH_CHECK(
      tensor.dim() == 0 || (tensor.dim() == 1 && image.dim() == ndim + 2 && tensor.size(0) == image.size(0)), name,
      " must have shape [] or [B]");
}

// A parameter tensor: one value for all images or one for each.
class PerImage {
 public:
  PerImage(const char* name, const torch::stable::Tensor& tensor, const torch::stable::Tensor& image, int64_t ndim)
      : step_(tensor.dim() ? 1 : 0) {
    STD_TORCH_CHECK(tensor.is_cpu(), name, " must be on the CPU");
    check_shape(name, tensor, image, ndim);
    using torch::headeronly::ScalarType;
    const ScalarType type = tensor.scalar_type();
    if (type == ScalarType::Int) read<int32_t>(tensor);
    if (type == ScalarType::Long) read<int64_t>(tensor);
    if (type == ScalarType::Half) read<c10::Half>(tensor);
    if (type == ScalarType::BFloat16) read<c10::BFloat16>(tensor);
    if (type == ScalarType::Float) read<float>(tensor);
    if (type == ScalarType::Double) read<double>(tensor);
    STD_TORCH_CHECK(static_cast<int64_t>(values_.size()) == tensor.numel(), name,
                    " must be int32, int64 or floating point");
  }
  double operator[](int64_t image) const { return values_[image * step_]; }

 private:
  template <class T>
  void read(const torch::stable::Tensor& tensor) {
    const T* data = static_cast<const T*>(tensor.const_data_ptr());
    for (int64_t i = 0; i < tensor.numel(); ++i)
      values_.push_back(static_cast<double>(data[i * (step_ ? tensor.stride(0) : 0)]));
  }

  int64_t step_;
  std::vector<double> values_;
};

}  // namespace texfilters
