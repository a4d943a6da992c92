// The parameters of a call, on the CPU or on the device, as the CUDA kernels read them. Those on the device are read
// there. Those on the CPU go along with the launches: a number as it is, one for each image in a small table.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstring>
#include <utility>
#include <vector>

#include "cuda/image.h"
#include "cuda/torch_device.h"
#include "cuda/upload.h"
#include "per_image.h"

namespace texfilters {

inline void check(int error) {
  STD_TORCH_CHECK(error == cudaSuccess, "CUDA: ", cudaGetErrorString(static_cast<cudaError_t>(error)));
}

// Whether the launches go into a CUDA graph.
inline bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &capture));
  return capture != cudaStreamCaptureStatusNone;
}

// Numbers that the kernels find in device memory. It must live until the last launch of the call is issued.
class DeviceTable {
 public:
  using Tensor = torch::stable::Tensor;

  // `place` becomes their address when they are sent.
  template <class T>
  void add(const std::vector<T>& values, const void*& place) {
    constexpr std::size_t kWords = sizeof(T) / sizeof(int32_t);
    words_.resize((words_.size() + kWords - 1) / kWords * kWords);  // aligned
    places_.emplace_back(&place, words_.size());
    words_.resize(words_.size() + values.size() * kWords);
    std::memcpy(words_.data() + places_.back().second, values.data(), values.size() * sizeof(T));
  }

  void send(const Tensor& image, cudaStream_t stream) {
    if (words_.empty()) return;
    const int64_t count = static_cast<int64_t>(words_.size());
    memory_.push_back(torch::stable::new_empty(image, {count}, torch::headeronly::ScalarType::Int));
    int32_t* device = static_cast<int32_t*>(memory_.back().mutable_data_ptr());
    check(upload(words_.data(), count, device, stream));
    for (const auto& [place, offset] : places_) *place = device + offset;
  }

 private:
  std::vector<int32_t> words_;
  std::vector<std::pair<const void**, std::size_t>> places_;
  std::vector<Tensor> memory_;
};

// One parameter: a number or memory on the device, or from the CPU one value for each image.
struct CallParameter {
  using Tensor = torch::stable::Tensor;

  Parameter parameter;
  std::vector<double> one_an_image;
  int64_t count = 1;  // on the device

  CallParameter(const char* name, const Tensor& tensor, const Tensor& image, int64_t ndim) {
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

  bool known() const { return parameter.values == nullptr; }

  // Makes a launch read it, once the table is sent; each value on the CPU as `cell` has it.
  template <class Cell>
  void tell(Parameter& target, Number type, DeviceTable& table, const Cell& cell) const {
    target = parameter;
    if (one_an_image.empty()) return;
    target = {nullptr, type, 1, 0};
    std::vector<decltype(cell(0.0))> cells;
    for (double value : one_an_image) cells.push_back(cell(value));
    table.add(cells, target.values);
  }
  void tell(Parameter& target, DeviceTable& table) const {
    tell(target, Number::float64, table, [](double value) { return value; });
  }

 private:
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
};

}  // namespace texfilters
