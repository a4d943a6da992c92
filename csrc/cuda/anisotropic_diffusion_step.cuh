// Perona-Malik diffusion with the image in memory: one launch an iteration, for volumes and for any number of coupled
// channels. It moves 8 bytes a pixel and iteration, and that is its time.
#pragma once

#include "cuda/anisotropic_diffusion.h"
#include "cuda/conductance.cuh"
#include "cuda/elements.cuh"

namespace texfilters {

// A block's pixels in a slice: each lane has a column of kStepRows.
constexpr int kStepRows = 4, kStepWarps = 8, kStepThreads = kLanes * kStepWarps;
constexpr int kStepWidth = kLanes, kStepHeight = kStepRows * kStepWarps;

// What all blocks of a launch begin with: whose pixels they have, and where those are read and written.
struct StepPlace {
  int64_t image, channel, x, y, z;  // of a lane's first pixel
  int left;                         // iterations of this image, this one included
  View source, target;

  __device__ explicit StepPlace(const DiffusionLaunch& a) {
    unsigned block = blockIdx.x;
    const auto next = [&](int64_t count) {
      const unsigned i = block % static_cast<unsigned>(count);
      block /= static_cast<unsigned>(count);
      return int64_t{i};
    };
    x = next((a.width - 1) / kStepWidth + 1) * kStepWidth + threadIdx.x % kLanes;
    y = next((a.height - 1) / kStepHeight + 1) * kStepHeight + threadIdx.x / kLanes * kStepRows;
    z = next((a.depth - 1) / a.slices + 1) * a.slices;
    channel = next(a.channels);
    const int64_t rank = a.first_image + block;
    image = a.order != nullptr ? a.order[rank] : rank;
    left = iterations_left(a.niter, image, a.first_step);
    source = at(a.source, image, channel);
    target = at(left <= 1 ? a.output : a.state, image, channel);
  }
};

// f(z, y) for the rows of a lane's block that lie in the volume.
template <class F>
__device__ __forceinline__ void for_step_rows(const DiffusionLaunch& a, const StepPlace& place, const F& f) {
  for (int64_t z = place.z; z < min(place.z + a.slices, a.depth); ++z) {
    for (int64_t y = place.y; y < min(place.y + kStepRows, a.height); ++y) f(z, y);
  }
}

__device__ inline void fill_step(const DiffusionLaunch& a, const StepPlace& place, float value) {
  if (place.x >= a.width) return;
  for (int64_t c = 0; c < a.coupled_channels; ++c) {
    for_step_rows(a, place, [&](int64_t z, int64_t y) {
      const View& t = place.target;
      write_pixel(t, c * t.channel + z * t.z + y * t.y + place.x * t.x, value);
    });
  }
}

// One channel of float32 by itself, whose rows are contiguous. Lanes walk through the slices with two read ahead.
// `value` is what becomes of u: an edge inside the block gives to both of its pixels, the one to the next slice half of
// what that begins with. Past the border the nearest pixel is read, from which nothing flows.
template <int kOption>
__global__ void __launch_bounds__(kStepThreads, 3) diffuse_step(const __grid_constant__ DiffusionLaunch a) {
  const StepPlace place(a);
  if (place.left <= 0 || place.y >= a.height) return;
  const Conductance<kOption, false> g(value_of(a.kappa, place.image), value_of(a.gamma, place.image),
                                      a.inverse_spacing);
  if (g.scale != g.scale) return fill_step(a, place, g.scale);
  const View &s = place.source, &t = place.target;
  const int64_t x = min(place.x, a.width - 1), last = a.depth - 1;
  const bool has_left = x > 0, has_right = x + 1 < a.width;
  const int written = place.x < a.width ? static_cast<int>(min(a.height - place.y, int64_t{kStepRows})) : 0;
  const float* row[kStepRows + 2];  // here, from the one above to the one below
#pragma unroll
  for (int r = 0; r < kStepRows + 2; ++r) {
    const int64_t y = min(max(place.y + r - 1, int64_t{0}), a.height - 1);
    row[r] = global(static_cast<const float*>(s.data)) + place.z * s.z + y * s.y + x;
  }
  const auto weight = [&](auto along, float d) {
    constexpr Axis axis = decltype(along)::value;
    return g.template finish<axis>(g.add(g.template begin<axis>(), d * g.scale));
  };
  const int64_t before = place.z > 0 ? -s.z : 0, after = place.z < last ? s.z : 0;
  float u[kStepRows], next[kStepRows], value[kStepRows];
#pragma unroll
  for (int r = 0; r < kStepRows; ++r) {
    u[r] = row[r + 1][0];
    next[r] = row[r + 1][after];
    const float d = u[r] - row[r + 1][before];
    value[r] = __fmaf_rn(-d, weight(AlongZ{}, d), u[r]);
  }
  const auto walk = [&](auto* out, const auto& convert) {
    out += place.z * t.z + place.y * t.y + x * t.x;
    for (int64_t z = place.z, end = min(z + a.slices, a.depth); z < end; ++z, out += t.z) {
      const int64_t ahead = (min(z + 2, last) - z) * s.z;
      float later[kStepRows];
#pragma unroll
      for (int r = 0; r < kStepRows; ++r) later[r] = row[r + 1][ahead];
#pragma unroll
      for (int r = -1; r < kStepRows; ++r) {
        const float up = r < 0 ? row[0][0] : u[max(r, 0)];
        const float d = (r + 1 < kStepRows ? u[(r + 1) % kStepRows] : row[r + 2][0]) - up, w = weight(AlongY{}, d);
        if (r >= 0) value[max(r, 0)] = __fmaf_rn(d, w, value[max(r, 0)]);
        if (r + 1 < kStepRows) value[(r + 1) % kStepRows] = __fmaf_rn(-d, w, value[(r + 1) % kStepRows]);
      }
#pragma unroll
      for (int r = 0; r < kStepRows; ++r) {
        const float from_left = u[r] - (has_left ? row[r + 1][-1] : u[r]);
        const float to_right = (has_right ? row[r + 1][1] : u[r]) - u[r];
        const float back = next[r] - u[r], w = weight(AlongZ{}, back);
        value[r] = __fmaf_rn(to_right, weight(AlongX{}, to_right), value[r]);
        value[r] = __fmaf_rn(-from_left, weight(AlongX{}, from_left), value[r]);
        value[r] = __fmaf_rn(back, w, value[r]);
        if (r < written) out[r * t.y] = convert(value[r]);
        value[r] = __fmaf_rn(-back, w, next[r]);
        u[r] = next[r];
        next[r] = later[r];
      }
#pragma unroll
      for (int r = 0; r < kStepRows + 2; ++r) row[r] += s.z;
    }
  };
  with_element(t.element, t.data, [&](auto* out) {
    walk(out, [](float value) { return from_float<std::remove_reference_t<decltype(*out)>>(value); });
  });
}

// All channels of a lane's pixels: first the weights of a pixel's edges, then what flows through them in each channel.
template <int kOption, class S>
__device__ __forceinline__ void coupled_step_rows(const DiffusionLaunch& a, const StepPlace& place, const S* pixels,
                                                  const Conductance<kOption, true>& g) {
  const View &s = place.source, &t = place.target;
  const int64_t step[3] = {s.x, s.y, s.z};
  for_step_rows(a, place, [&](int64_t z, int64_t y) {
    const S* here = pixels + place.x * s.x + y * s.y + z * s.z;
    const int64_t there = place.x * t.x + y * t.y + z * t.z;
    const bool edge[3][2] = {{place.x > 0, place.x + 1 < a.width}, {y > 0, y + 1 < a.height}, {z > 0, z + 1 < a.depth}};
    const auto weight = [&](auto along, int side) {
      constexpr Axis axis = decltype(along)::value;
      if (!edge[axis][side]) return 0.0f;
      float sum = g.template begin<axis>();
      const S* pixel = here;
      const int64_t neighbor = side == 0 ? -step[axis] : step[axis];
      for (int64_t c = 0; c < a.coupled_channels; ++c, pixel += s.channel)
        sum = g.add(sum, (to_float(pixel[neighbor]) - to_float(*pixel)) * g.scale);
      return g.template finish<axis>(sum);
    };
    const float weights[3][2] = {{weight(AlongX{}, 0), weight(AlongX{}, 1)},
                                 {weight(AlongY{}, 0), weight(AlongY{}, 1)},
                                 {weight(AlongZ{}, 0), weight(AlongZ{}, 1)}};
    const S* pixel = here;
    for (int64_t c = 0; c < a.coupled_channels; ++c, pixel += s.channel) {
      const float u = to_float(*pixel);
      float value = u;
#pragma unroll
      for (int axis = 0; axis < 3; ++axis) {
        if (edge[axis][0]) value += (to_float(pixel[-step[axis]]) - u) * weights[axis][0];
        if (edge[axis][1]) value += (to_float(pixel[step[axis]]) - u) * weights[axis][1];
      }
      write_pixel(t, there + c * t.channel, value);
    }
  });
}

// Any number of coupled channels, any dtype and strides.
template <int kOption>
__global__ void __launch_bounds__(kStepThreads) diffuse_coupled_step(const __grid_constant__ DiffusionLaunch a) {
  const StepPlace place(a);
  if (place.left <= 0 || place.x >= a.width) return;
  const Conductance<kOption, true> g(value_of(a.kappa, place.image), value_of(a.gamma, place.image), a.inverse_spacing);
  if (g.scale != g.scale) return fill_step(a, place, g.scale);
  with_element(place.source.element, place.source.data, [&](auto* pixels) { coupled_step_rows(a, place, pixels, g); });
}

}  // namespace texfilters
