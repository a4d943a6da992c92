// In place of csrc/cuda/torch_device.h: the ops are registered for tensors on the CPU, in a namespace of their own, and
// the test says which of these tensors the emulated device holds.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <set>

namespace texfilters {

struct DeviceGuard {
  explicit DeviceGuard(int32_t) {}
};

inline int64_t& scratch_bytes() {
  static int64_t bytes;
  return bytes;
}

inline cudaStream_t current_stream(const torch::stable::Tensor&) {
  return nullptr;
}

inline std::set<const void*>& tensors_on_device() {
  static std::set<const void*> addresses;
  return addresses;
}

inline bool on_device_of(const torch::stable::Tensor&, const torch::stable::Tensor& tensor) {
  return tensors_on_device().count(tensor.const_data_ptr()) != 0;
}

}  // namespace texfilters

#define TEXFILTERS_EMULATED_CUDA CPU
#define TEXFILTERS_EMULATED_CompositeExplicitAutograd CompositeExplicitAutograd
#define TEXFILTERS_EMULATED_IMPL(key, m) _STABLE_TORCH_LIBRARY_IMPL(texfilters_emulated, key, m, C10_UID)
#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(name, key, m) TEXFILTERS_EMULATED_IMPL(TEXFILTERS_EMULATED_##key, m)
