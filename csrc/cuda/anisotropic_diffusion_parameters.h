// The parameters of a diffusion: if niter is on the CPU for each image, those that take longest come first, so that
// none begins late.
#pragma once

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "cuda/anisotropic_diffusion.h"
#include "cuda/parameters.h"

namespace texfilters {

class DiffusionParameters {
 public:
  using Tensor = torch::stable::Tensor;

  DiffusionParameters(const Tensor& image, int64_t ndim, const Tensor& niter, const Tensor& kappa, const Tensor& gamma)
      : niter_("niter", niter, image, ndim), kappa_("kappa", kappa, image, ndim), gamma_("gamma", gamma, image, ndim) {
    STD_TORCH_CHECK(
        iterations_known() || niter_.parameter.number == Number::int32 || niter_.parameter.number == Number::int64,
        "niter on a device must be int32 or int64");
  }

  bool iterations_known() const { return niter_.known(); }

  // The most that an image takes. What the device knows has to be waited for.
  int64_t most_iterations(cudaStream_t stream) const {
    const Parameter& p = niter_.parameter;
    if (iterations_known()) {
      const std::vector<double>& values = niter_.one_an_image;
      return whole(values.empty() ? p.all : *std::max_element(values.begin(), values.end()));
    }
    STD_TORCH_CHECK(!is_capturing(stream),
                    "niter must be on the CPU while a CUDA graph is captured: on a device it has to be waited for and "
                    "read");
    return p.number == Number::int32 ? read_most<int32_t>(stream) : read_most<int64_t>(stream);
  }

  // Makes the launch read them.
  void send(DiffusionLaunch& launch, const Tensor& image, cudaStream_t stream) {
    const auto positive = [](double value) {
      constexpr float kLeast = std::numeric_limits<float>::min(), kNone = std::numeric_limits<float>::quiet_NaN();
      return value > 0 ? std::max(static_cast<float>(value), kLeast) : kNone;
    };
    niter_.tell(launch.niter, Number::int32, table_, whole);
    kappa_.tell(launch.kappa, Number::float32, table_, positive);
    gamma_.tell(launch.gamma, Number::float32, table_, positive);
    const void* order = nullptr;
    if (const std::vector<double>& niter = niter_.one_an_image; !niter.empty()) {
      std::vector<int32_t> longest_first(niter.size());
      std::iota(longest_first.begin(), longest_first.end(), 0);
      std::stable_sort(longest_first.begin(), longest_first.end(),
                       [&](int32_t a, int32_t b) { return niter[a] > niter[b]; });
      table_.add(longest_first, order);
    }
    table_.send(image, stream);
    launch.order = static_cast<const int32_t*>(order);
    launch.copies = some_without_iterations();
  }

 private:
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

  CallParameter niter_, kappa_, gamma_;
  DeviceTable table_;
};

}  // namespace texfilters
