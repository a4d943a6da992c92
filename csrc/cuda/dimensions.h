// Torch's dtypes and leading dimensions in the terms of the kernels.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <vector>

#include "cuda/image.h"

namespace texfilters {

// A dimension in front of the spatial ones, of input and output.
struct Dimension {
  int64_t size, in, out;
};

// The leading dimensions, merged where both tensors allow: [B, C] is two of them only if their strides say so.
inline std::vector<Dimension> leading(const torch::stable::Tensor& image, const torch::stable::Tensor& output,
                                      int64_t count) {
  std::vector<Dimension> merged;
  for (int64_t i = 0; i < count; ++i) {
    const Dimension next{image.size(i), image.stride(i), output.stride(i)};
    if (next.size == 1) continue;
    if (!merged.empty() && merged.back().in == next.in * next.size && merged.back().out == next.out * next.size) {
      merged.back() = {merged.back().size * next.size, next.in, next.out};
    } else {
      merged.push_back(next);
    }
  }
  return merged;
}

// f(offset of the input, offset of the output), in elements, for every index into the dimensions.
template <class F>
void for_indices(const std::vector<Dimension>& dimensions, const F& f, std::size_t level = 0, int64_t in = 0,
                 int64_t out = 0) {
  if (level == dimensions.size()) return f(in, out);
  const Dimension& dimension = dimensions[level];
  for (int64_t i = 0; i < dimension.size; ++i)
    for_indices(dimensions, f, level + 1, in + i * dimension.in, out + i * dimension.out);
}

inline Element element(torch::headeronly::ScalarType type) {
  using torch::headeronly::ScalarType;
  switch (type) {
    case ScalarType::Byte:
      return Element::uint8;
    case ScalarType::Half:
      return Element::float16;
    case ScalarType::BFloat16:
      return Element::bfloat16;
    case ScalarType::Float:
      return Element::float32;
    default:
      STD_TORCH_CHECK(false, "image must be uint8, float16, bfloat16 or float32 for the CUDA kernels");
  }
}

// `offset` elements further.
inline void advance(View& view, int64_t offset) {
  view.data = static_cast<char*>(view.data) + offset * bytes(view.element);
}

}  // namespace texfilters
