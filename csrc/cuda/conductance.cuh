// The three conductances with the step size folded in: what a difference is multiplied by to give what flows.
#pragma once

#include <type_traits>

#include "cuda/device.cuh"
#include "pixel_math.h"

namespace texfilters {

enum Axis { kX, kY, kZ };
using AlongX = std::integral_constant<Axis, kX>;
using AlongY = std::integral_constant<Axis, kY>;
using AlongZ = std::integral_constant<Axis, kZ>;

// Takes differences times `scale`. With w = gamma / spacing of the axis,
//
//   option 1   w exp(-(d/kappa)^2)            = 2^(log2(w) - t^2),              t = d sqrt(log2 e) / kappa
//   option 2   w / (1 + (d/kappa)^2)          = 1 / (1/w + t^2),                t = d / (kappa sqrt(w))
//   option 3   w/2 max(0, 1 - (d/kappa)^2/2)^2 = clamp(sqrt(w/2) - t^2, 0, 1)^2, t = d (w/2)^(1/4) / (kappa sqrt(2))
//
// so that a weight is an addition and a multiplication in one, and the special function. In options 2 and 3 t knows the
// w of the x axis only; the other axes multiply by the ratio of theirs.
template <int kOption, bool kCoupled>
struct Conductance {
  float scale;
  float offset[3];
  float ratio[3];

  // A kappa or gamma out of its range makes `scale` NaN, and with it every pixel.
  __device__ Conductance(double kappa, double gamma, const float (&inverse_spacing)[3]) {
    const float step = static_cast<float>(gamma), w = step * inverse_spacing[kX];
    for (int axis = 0; axis < 3; ++axis) {
      offset[axis] = kOption == 1 ? log2f(step * inverse_spacing[axis]) : kOption == 2 ? 1 / w : sqrtf(w / 2);
      ratio[axis] = inverse_spacing[axis] / inverse_spacing[kX];
    }
    const float numerator = kOption == 1   ? sqrtf(static_cast<float>(kLog2e))
                            : kOption == 2 ? sqrtf(1 / w)
                                           : sqrtf(sqrtf(w / 2) / 2);
    // Bounded, so that a pixel times the scale and its inverse stays finite.
    scale = fminf(fmaxf(numerator / static_cast<float>(fmin(fmax(kappa, 1e-30), 1e30)), 1e-30f), 1e30f);
    if (!(kappa > 0 && gamma > 0)) scale = __uint_as_float(0x7fc00000u);
  }

  // weight = finish(add(... add(begin(), t of one channel) ..., t of the last)).
  template <Axis axis>
  __device__ __forceinline__ float begin() const {
    return offset[axis];
  }
  __device__ __forceinline__ float add(float sum, float t) const { return __fmaf_rn(kOption == 2 ? t : -t, t, sum); }
  template <Axis axis>
  __device__ __forceinline__ float finish(float sum) const {
    if constexpr (kOption == 1) {
      return exp2_approx(sum);
    } else if constexpr (kOption == 2) {
      const float weight = reciprocal_approx(sum);
      return axis == kX ? weight : weight * ratio[axis];
    } else {
      // The saturation costs nothing, but takes NaN for 0; of other channels than d's a weight must tell.
      const float root = !kCoupled ? __saturatef(sum) : sum < 0 ? 0 : sum;
      return root * (axis == kX ? root : root * ratio[axis]);
    }
  }
};

}  // namespace texfilters
