// Planes of an image, input and output; those of a channels_last image together, as rows of interleaved pixels.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "cpu/planes.h"

namespace texfilters {

template <class T>
class InterleavedPlanes {
 public:
  InterleavedPlanes(const torch::stable::Tensor& image, const torch::stable::Tensor& output, const SpatialAxes& axes,
                    int64_t most_channels)
      : InterleavedPlanes(image, output, axes,
                          are_interleaved(image, axes, most_channels) && are_interleaved(output, axes, most_channels)) {
  }

  bool empty() const { return units_.empty(); }
  int64_t count() const { return units_.count; }
  const T* source(int64_t plane) const { return in_.unit(units_, plane); }
  T* target(int64_t plane) const { return out_.unit(units_, plane); }

  int64_t pitch;                                   // from a pixel to the next one of its channel
  int64_t height, width;                           // the width in elements, of all interleaved channels
  int64_t source_y, source_x, target_y, target_x;  // strides

 private:
  InterleavedPlanes(const torch::stable::Tensor& image, const torch::stable::Tensor& output, const SpatialAxes& axes,
                    bool interleaved)
      : units_(image, 2, axes, interleaved),
        in_(image, static_cast<const T*>(image.const_data_ptr()), 2, axes, interleaved),
        out_(output, static_cast<T*>(output.mutable_data_ptr()), 2, axes, interleaved) {
    pitch = units_.channels;
    height = units_.height;
    width = units_.width * pitch;
    source_y = in_.y;
    target_y = out_.y;
    source_x = interleaved ? 1 : in_.x;
    target_x = interleaved ? 1 : out_.x;
  }

  static bool are_interleaved(const torch::stable::Tensor& image, const SpatialAxes& axes, int64_t most_channels) {
    if (image.dim() < 3) return false;
    const int64_t channel = image.dim() - 3, channels = image.size(channel);
    return channels > 1 && channels <= most_channels && image.stride(channel) == 1 && image.stride(axes.x) == channels;
  }

  Units units_;
  Planes<const T> in_;
  Planes<T> out_;
};

}  // namespace texfilters
