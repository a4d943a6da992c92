// An image's dtype as a type.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <type_traits>

namespace texfilters {

// What pixels of type S are computed in.
template <class S>
using Compute = std::conditional_t<std::is_same_v<S, double>, double, float>;

// f with a value of the type of the image's pixels.
template <class F>
void with_element_type(const torch::stable::Tensor& image, const F& f) {
  using torch::headeronly::ScalarType;
  switch (image.scalar_type()) {
    case ScalarType::Byte:
      return f(uint8_t{});
    case ScalarType::Half:
      return f(c10::Half{});
    case ScalarType::BFloat16:
      return f(c10::BFloat16{});
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    default:
      STD_TORCH_CHECK(false, "image must be uint8, float16, bfloat16, float32 or float64");
  }
}

}  // namespace texfilters
