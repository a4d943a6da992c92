// An image as independent units (a plane or volume; with coupled channels, an image), for any strides.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace texfilters {

// Which dimensions are z, y and x for a kernel whose rows are padded to whole vectors: as they come, unless the rows
// are short and another axis is longer. z is -1 in 2-D.
struct SpatialAxes {
  int64_t z = -1, y, x;

  SpatialAxes(const torch::stable::Tensor& image, int64_t ndim) : y(image.dim() - 2), x(image.dim() - 1) {
    constexpr int64_t kShort = 64;
    if (ndim == 3) z = image.dim() - 3;
    if (image.size(x) >= kShort) return;
    if (image.size(y) > image.size(x)) std::swap(x, y);
    if (ndim == 3 && image.size(z) > image.size(x)) std::swap(x, z);
  }
};

// Sizes that input and output share.
struct Units {
  std::vector<int64_t> leading;  // sizes of the dimensions that number the units
  int64_t count = 1;
  int64_t channels = 1;  // within a unit
  int64_t depth = 1, height, width;

  Units(const torch::stable::Tensor& image, int64_t ndim, const SpatialAxes& axes, bool coupled) {
    const auto sizes = image.sizes();
    const int64_t dims = image.dim(), channel = coupled && dims > ndim ? dims - ndim - 1 : -1;
    for (int64_t i = 0; i < dims - ndim; ++i) {
      if (i == channel) {
        channels = sizes[i];
      } else {
        leading.push_back(sizes[i]);
        count *= sizes[i];
      }
    }
    if (ndim == 3) depth = sizes[axes.z];
    height = sizes[axes.y];
    width = sizes[axes.x];
  }

  bool empty() const { return count * channels * depth * height * width == 0; }
};

// Where a tensor keeps them.
template <class S>
struct Planes {
  S* data;
  std::vector<int64_t> leading;  // strides
  int64_t channel = 0, z = 0, y, x;

  Planes(const torch::stable::Tensor& image, S* data, int64_t ndim, const SpatialAxes& axes, bool coupled)
      : data(data) {
    const auto strides = image.strides();
    const int64_t dims = image.dim();
    for (int64_t i = 0; i < dims - ndim; ++i) leading.push_back(strides[i]);
    if (coupled && !leading.empty()) {
      channel = leading.back();
      leading.pop_back();
    }
    if (ndim == 3) z = strides[axes.z];
    y = strides[axes.y];
    x = strides[axes.x];
  }

  S* unit(const Units& units, int64_t index) const {
    S* first = data;
    for (std::size_t i = leading.size(); i-- > 0; index /= units.leading[i])
      first += index % units.leading[i] * leading[i];
    return first;
  }
};

// Rows [begin, end) of a unit in 2-D, the bits as they are.
template <class S>
void copy_rows(const Units& units, int64_t unit, int64_t begin, int64_t end, const Planes<const S>& in,
               const Planes<S>& out) {
  const S* source = in.unit(units, unit);
  S* target = out.unit(units, unit);
  for (int64_t c = 0; c < units.channels; ++c) {
    for (int64_t y = begin; y < end; ++y) {
      const S* from = source + c * in.channel + y * in.y;
      S* to = target + c * out.channel + y * out.y;
      for (int64_t x = 0; x < units.width; ++x) to[x * out.x] = from[x * in.x];
    }
  }
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <class T>
using Buffer = std::unique_ptr<T[], Free>;

// Aligned to a cache line, which is also the widest vector.
template <class T>
Buffer<T> allocate(int64_t count) {
  constexpr std::size_t kLine = 64;
  void* p = std::aligned_alloc(kLine, (static_cast<std::size_t>(count) * sizeof(T) + kLine - 1) / kLine * kLine);
  if (p == nullptr) throw std::bad_alloc();
  return Buffer<T>(static_cast<T*>(p));
}

}  // namespace texfilters
