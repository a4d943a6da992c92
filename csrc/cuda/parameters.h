// The parameters of a call, on the CPU or on the device, as the CUDA kernels read them.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "cuda/anisotropic_diffusion.h"
#include "cuda/torch_device.h"
#include "per_image.h"

namespace texfilters {

inline void check(int error) {
  STD_TORCH_CHECK(error == cudaSuccess, "CUDA: ", cudaGetErrorString(static_cast<cudaError_t>(error)));
}

// Those on the device are read there. Those on the CPU go along with the launches: a number as it is, one for each
// image in a small table; and if niter is among these, the images that take longest come first, so that none begins
// late.
class CallParameters {
 public:
  using Tensor = torch::stable::Tensor;

  CallParameters(const Tensor& image, int64_t ndim, const Tensor& niter, const Tensor& kappa, const Tensor& gamma)
      : niter_("niter", niter, image, ndim), kappa_("kappa", kappa, image, ndim), gamma_("gamma", gamma, image, ndim) {
    STD_TORCH_CHECK(
        iterations_known() || niter_.parameter.number == Number::int32 || niter_.parameter.number == Number::int64,
        "niter on a device must be int32 or int64");
  }

  bool iterations_known() const { return niter_.parameter.values == nullptr; }

  // The most that an image takes. What the device knows has to be waited for.
  int64_t most_iterations(cudaStream_t stream) const {
    const Parameter& p = niter_.parameter;
    if (iterations_known()) {
      const std::vector<double>& values = niter_.one_an_image;
      return whole(values.empty() ? p.all : *std::max_element(values.begin(), values.end()));
    }
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream, &capture));
    STD_TORCH_CHECK(capture == cudaStreamCaptureStatusNone,
                    "niter must be on the CPU while a CUDA graph is captured: on a device it has to be waited for and "
                    "read");
    return p.number == Number::int32 ? read_most<int32_t>(stream) : read_most<int64_t>(stream);
  }

  // Makes the launch read them. The table must live until the last launch of the call is issued.
  void send(DiffusionLaunch& launch, const Tensor& image, cudaStream_t stream) {
    std::vector<int32_t> table;
    std::vector<Parameter*> columns;
    const auto tell = [&](const Source& source, Parameter& parameter, auto cell) {
      parameter = source.parameter;
      for (double value : source.one_an_image) table.push_back(cell(value));
      if (!source.one_an_image.empty()) columns.push_back(&parameter);
    };
    const auto positive = [](double value) {
      constexpr float kLeast = std::numeric_limits<float>::min(), kNone = std::numeric_limits<float>::quiet_NaN();
      const float number = value > 0 ? std::max(static_cast<float>(value), kLeast) : kNone;
      int32_t bits;
      std::memcpy(&bits, &number, sizeof(bits));
      return bits;
    };
    tell(niter_, launch.niter, whole);
    tell(kappa_, launch.kappa, positive);
    tell(gamma_, launch.gamma, positive);
    launch.copies = some_without_iterations();
    if (columns.empty()) return;
    const int64_t images = image.size(0);
    const bool sorted = columns[0] == &launch.niter;
    if (sorted) {
      table.resize(table.size() + images);
      const auto order = table.end() - images;
      std::iota(order, table.end(), 0);
      std::stable_sort(order, table.end(),
                       [&](int32_t a, int32_t b) { return niter_.one_an_image[a] > niter_.one_an_image[b]; });
    }
    table_.push_back(
        torch::stable::new_empty(image, {static_cast<int64_t>(table.size())}, torch::headeronly::ScalarType::Int));
    int32_t* device = static_cast<int32_t*>(table_.back().mutable_data_ptr());
    check(upload(table.data(), static_cast<int64_t>(table.size()), device, stream));
    for (Parameter* parameter : columns) {
      *parameter = {device, parameter == &launch.niter ? Number::int32 : Number::float32, 1, 0};
      device += images;
    }
    if (sorted) launch.order = device;
  }

 private:
  struct Source {
    Parameter parameter;               // a number, or memory on the device
    std::vector<double> one_an_image;  // from the CPU

    Source(const char* name, const Tensor& tensor, const Tensor& image, int64_t ndim) {
      if (!on_device_of(image, tensor)) {
        STD_TORCH_CHECK(tensor.is_cpu(), name, " must be on the CPU or on the image's device");
        const PerImage values(name, tensor, image, ndim);
        if (tensor.dim() == 0) {
          parameter.all = values[0];
        } else {
          for (int64_t i = 0; i < tensor.size(0); ++i) one_an_image.push_back(values[i]);
        }
        return;
      }
      check_shape(name, tensor, image, ndim);
      parameter = {tensor.const_data_ptr(), number(name, tensor), tensor.dim() ? tensor.stride(0) : 0, 0};
      count = tensor.dim() ? tensor.size(0) : 1;
    }

    int64_t count = 1;  // on the device
  };

  // Or maybe some, where only the device knows.
  bool some_without_iterations() const {
    const auto none = [](double niter) { return whole(niter) == 0; };
    const std::vector<double>& values = niter_.one_an_image;
    if (!iterations_known()) return true;
    return values.empty() ? none(niter_.parameter.all) : std::any_of(values.begin(), values.end(), none);
  }

  // As the kernels take it.
  static int32_t whole(double niter) {
    constexpr double kMost = std::numeric_limits<int32_t>::max();
    return static_cast<int32_t>(std::min(std::max(0.0, niter), kMost));
  }

  static Number number(const char* name, const Tensor& tensor) {
    using torch::headeronly::ScalarType;
    switch (tensor.scalar_type()) {
      case ScalarType::Int:
        return Number::int32;
      case ScalarType::Long:
        return Number::int64;
      case ScalarType::Half:
        return Number::float16;
      case ScalarType::BFloat16:
        return Number::bfloat16;
      case ScalarType::Float:
        return Number::float32;
      case ScalarType::Double:
        return Number::float64;
      default:
        STD_TORCH_CHECK(false, name, " must be int32, int64 or floating point");
    }
  }

  template <class T>
  int64_t read_most(cudaStream_t stream) const {
    const Parameter& p = niter_.parameter;
    std::vector<T> values((niter_.count - 1) * p.stride + 1);
    check(cudaMemcpyAsync(values.data(), p.values, values.size() * sizeof(T), cudaMemcpyDeviceToHost, stream));
    check(cudaStreamSynchronize(stream));
    T most = 0;
    for (int64_t i = 0; i < niter_.count; ++i) most = std::max(most, values[i * p.stride]);
    return std::min<int64_t>(most, std::numeric_limits<int32_t>::max());
  }

  Source niter_, kappa_, gamma_;
  std::vector<Tensor> table_;
};

}  // namespace texfilters
