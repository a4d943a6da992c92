// Perona-Malik diffusion with the image in registers: one launch runs all iterations, or of an image larger than a tile
// as many as the halo allows.
//
// A block owns a tile, a warp a strip of its rows, a lane kColumns neighboring columns of the strip:
//
//              lane 0    lane 1          lane 31
//            +---------+---------+-----+---------+
//   warp 0   | u[r][i] |         | ... |         |  kRows
//            +---------+---------+-----+---------+
//   warp 1   |         |         |     |         |      32 kColumns x kWarps kRows pixels
//            :         :         :     :         :
//
// Between lanes a pixel and the flux go through shuffles. Between warps the first and last row of every strip lie in
// shared memory, twice, used by turns: so one barrier an iteration is enough.
//
// The state is the pixel times Conductance::scale. An edge takes five instructions: the difference, the sum under the
// special function, that function, and one fused multiplication and addition for each of its two pixels. Rows are
// updated from the top; `row` holds what the edge above has already given to the row at work.
//
// Pixels of a tile outside the image hold kOutside. Any difference from it has weight 0, so borders need no code.
#pragma once

#include "cuda/anisotropic_diffusion.h"
#include "cuda/conductance.cuh"
#include "cuda/elements.cuh"
#include "cuda/tile.cuh"

namespace texfilters {

// One iteration of a warp's strip. `above` and `below` are the rows around it, for this lane.
template <class T, int kOption>
__device__ __forceinline__ void diffuse_strip(typename T::State& u, const float* above, const float* below,
                                              const Conductance<kOption, (T::kChannels > 1)>& g) {
  constexpr int C = T::kChannels, kLast = T::kColumns - 1;
  const int lane = threadIdx.x % kLanes;
  float row[C][T::kColumns];
#pragma unroll
  for (int i = 0; i < T::kColumns; ++i) {
    float d[C], sum = g.template begin<kY>();
#pragma unroll
    for (int c = 0; c < C; ++c) {
      d[c] = u[c][0][i] - above[c * T::kWidth + i * kLanes];
      sum = g.add(sum, d[c]);
    }
    const float weight = g.template finish<kY>(sum);
#pragma unroll
    for (int c = 0; c < C; ++c) row[c][i] = __fmaf_rn(-d[c], weight, u[c][0][i]);
  }
#pragma unroll
  for (int r = 0; r < T::kRows; ++r) {
    {  // to the next lane, which is told what flows
      float d[C], sum = g.template begin<kX>();
#pragma unroll
      for (int c = 0; c < C; ++c) {
        const float right = __shfl_down_sync(kAllLanes, u[c][r][0], 1);
        d[c] = (lane == kLanes - 1 ? kOutside : right) - u[c][r][kLast];
        sum = g.add(sum, d[c]);
      }
      const float weight = g.template finish<kX>(sum);
#pragma unroll
      for (int c = 0; c < C; ++c) {
        const float flux = d[c] * weight;
        const float left = __shfl_up_sync(kAllLanes, flux, 1);
        row[c][kLast] += flux;
        row[c][0] -= lane == 0 ? 0 : left;
      }
    }
#pragma unroll
    for (int i = 0; i < kLast; ++i) {
      float d[C], sum = g.template begin<kX>();
#pragma unroll
      for (int c = 0; c < C; ++c) {
        d[c] = u[c][r][i + 1] - u[c][r][i];
        sum = g.add(sum, d[c]);
      }
      const float weight = g.template finish<kX>(sum);
#pragma unroll
      for (int c = 0; c < C; ++c) {
        row[c][i] = __fmaf_rn(d[c], weight, row[c][i]);
        row[c][i + 1] = __fmaf_rn(-d[c], weight, row[c][i + 1]);
      }
    }
    const bool last = r == T::kRows - 1;
#pragma unroll
    for (int i = 0; i < T::kColumns; ++i) {
      float d[C], next[C], sum = g.template begin<kY>();
#pragma unroll
      for (int c = 0; c < C; ++c) {
        next[c] = last ? below[c * T::kWidth + i * kLanes] : u[c][last ? r : r + 1][i];
        d[c] = next[c] - u[c][r][i];
        sum = g.add(sum, d[c]);
      }
      const float weight = g.template finish<kY>(sum);
#pragma unroll
      for (int c = 0; c < C; ++c) {
        u[c][r][i] = __fmaf_rn(d[c], weight, row[c][i]);
        row[c][i] = __fmaf_rn(-d[c], weight, next[c]);
      }
    }
  }
}

// What a block does after it has read its tile. It waits in shared memory, since reading and iterating need all
// registers.
template <class T, int kOption>
struct Kept {
  Conductance<kOption, (T::kChannels > 1)> g;
  int steps;
  View source, target;
  Place<T> place;
};

// Grid: images in their order, channels, tiles. What a launch changes of an image is exact inside the halo.
template <class T, int kOption>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) diffuse_tiles(const __grid_constant__ DiffusionLaunch a) {
  float* shared = dynamic_shared<float>();
  static_assert(sizeof(Kept<T, kOption>) <= kKept && T::kBuffers * sizeof(float) % alignof(Kept<T, kOption>) == 0);
  Kept<T, kOption>* kept = reinterpret_cast<Kept<T, kOption>*>(shared + T::kBuffers);
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  float* strip = shared + warp * T::kStrip;

  const unsigned tiles = a.tiles_x * a.tiles_y, plane = blockIdx.x / tiles, channels = a.channels;
  const int64_t rank = a.first_image + plane / channels, channel = plane % channels;
  const int64_t image = a.order != nullptr ? a.order[rank] : rank;
  const int left = iterations_left(a.niter, image, a.first_step);
  const Place<T> place(a, blockIdx.x % tiles);
  const View source = at(a.source, image, channel, place.y, place.x);
  const View target = at(left <= a.steps ? a.output : a.state, image, channel, place.y, place.x);
  if (left <= 0) return;

  const Conductance<kOption, (T::kChannels > 1)> conductance(value_of(a.kappa, image), value_of(a.gamma, image),
                                                             a.inverse_spacing);
  if (threadIdx.x == 0) *kept = {conductance, min(left, a.steps), source, target, place};
  typename T::State u;
  read_strip(source, place, strip, conductance.scale, u);
  __syncthreads();

  const Conductance<kOption, (T::kChannels > 1)> g = kept->g;
  const int height = kept->place.height;
  const bool first = warp == 0, last = (warp + 1) * T::kRows >= height, active = warp * T::kRows < height;
  const auto edge = [&](int warp, int side) { return (warp * 2 + side) * T::kEdge + lane; };
  float* outside = shared + 2 * T::kTurn + lane;
  for (int i = threadIdx.x; i < T::kEdge; i += T::kThreads) outside[i - lane] = kOutside;
  for (int to_do = kept->steps; to_do > 0; --to_do) {
    float* turn = shared + to_do % 2 * T::kTurn;
    if (active) {
#pragma unroll
      for (int c = 0; c < T::kChannels; ++c) {
#pragma unroll
        for (int i = 0; i < T::kColumns; ++i) {
          turn[edge(warp, 0) + c * T::kWidth + i * kLanes] = u[c][0][i];
          turn[edge(warp, 1) + c * T::kWidth + i * kLanes] = u[c][T::kRows - 1][i];
        }
      }
    }
    __syncthreads();
    if (active) {
      diffuse_strip<T>(u, first ? outside : turn + edge(warp - 1, 1), last ? outside : turn + edge(warp + 1, 0), g);
    }
  }

  __syncthreads();
  write_strip(kept->target, kept->source, kept->place, strip, 1 / kept->g.scale, u);
}

}  // namespace texfilters
