// The gray value of a pixel.
#pragma once

#include "cuda/elements.cuh"

namespace texfilters {

// ITU-R BT.601, for bytes in units of 2^-15 as OpenCV has it; otherwise in float32, added from the left to the right.
template <class T>
__device__ __forceinline__ T luma(T red, T green, T blue) {
  if constexpr (std::is_same_v<T, uint8_t>) {
    return static_cast<uint8_t>((9798u * red + 19235u * green + 3735u * blue + (1u << 14)) >> 15);
  } else {
    return from_float<T>(0.299f * to_float(red) + 0.587f * to_float(green) + 0.114f * to_float(blue));
  }
}

}  // namespace texfilters
