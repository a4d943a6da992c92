// Images of any dtype in device memory, computed in float32.
#pragma once

#include <type_traits>

#include "cuda/device.cuh"
#include "cuda/image.h"

namespace texfilters {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// Without the conversion instructions, which are as slow as the special functions: a byte under the exponent of 2^23.
__device__ __forceinline__ float byte_to_float(unsigned x) {
  return __uint_as_float(0x4B000000u | x) - 8388608.0f;
}
__device__ __forceinline__ float to_float(uint8_t x) {
  return byte_to_float(x);
}
__device__ __forceinline__ float to_float(Half x) {
  return half_to_float(x.bits);
}
__device__ __forceinline__ float to_float(BFloat16 x) {
  return bfloat16_to_float(x.bits);
}
__device__ __forceinline__ float to_float(float x) {
  return x;
}

template <class S>
__device__ __forceinline__ S from_float(float x);

// Half to even by the addition of 1.5 * 2^23, saturated, NaN as 0.
template <>
__device__ __forceinline__ uint8_t from_float<uint8_t>(float x) {
  return static_cast<uint8_t>(__float_as_uint(fminf(fmaxf(x, 0.0f), 255.0f) + 12582912.0f));
}
template <>
__device__ __forceinline__ Half from_float<Half>(float x) {
  return {float_to_half(x)};
}
template <>
__device__ __forceinline__ BFloat16 from_float<BFloat16>(float x) {
  return {float_to_bfloat16(x)};
}
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}

// f on the pointer as what it points to. The branch is the same for the whole grid.
template <class F>
__device__ __forceinline__ void with_element(Element element, void* data, const F& f) {
  switch (element) {
    case Element::uint8:
      return f(global(static_cast<uint8_t*>(data)));
    case Element::float16:
      return f(global(static_cast<Half*>(data)));
    case Element::bfloat16:
      return f(global(static_cast<BFloat16*>(data)));
    case Element::float32:
      return f(global(static_cast<float*>(data)));
  }
}

// One pixel, for kernels whose time goes elsewhere.
__device__ __forceinline__ float read_pixel(const View& view, int64_t at) {
  float value = 0;
  with_element(view.element, view.data, [&](auto* data) { value = to_float(data[at]); });
  return value;
}
__device__ __forceinline__ void write_pixel(const View& view, int64_t at, float value) {
  with_element(view.element, view.data,
               [&](auto* data) { data[at] = from_float<std::remove_reference_t<decltype(*data)>>(value); });
}

// The view of one plane or volume, from a pixel on.
__device__ __forceinline__ View at(View view, int64_t image, int64_t channel, int64_t y = 0, int64_t x = 0) {
  const int64_t offset = image * view.image + channel * view.channel + y * view.y + x * view.x;
  with_element(view.element, view.data, [&](auto* data) { view.data = data + offset; });
  return view;
}

// An image's value of a parameter.
__device__ inline double value_of(const Parameter& parameter, int64_t image) {
  if (parameter.values == nullptr) return parameter.all;
  const int64_t at = image * parameter.stride;
  switch (parameter.number) {
    case Number::int32:
      return static_cast<const int32_t*>(parameter.values)[at];
    case Number::int64:
      return static_cast<double>(static_cast<const int64_t*>(parameter.values)[at]);
    case Number::float16:
      return half_to_float(static_cast<const uint16_t*>(parameter.values)[at]);
    case Number::bfloat16:
      return bfloat16_to_float(static_cast<const uint16_t*>(parameter.values)[at]);
    case Number::float32:
      return static_cast<const float*>(parameter.values)[at];
    case Number::float64:
      break;
  }
  return static_cast<const double*>(parameter.values)[at];
}

// Iterations that an image has left before it is finished, when `first` have been done.
__device__ inline int iterations_left(const Parameter& niter, int64_t image, int first) {
  return static_cast<int>(fmin(fmax(value_of(niter, image), 0.0), 2147483647.0)) - first;
}

}  // namespace texfilters
