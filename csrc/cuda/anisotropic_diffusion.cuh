// Perona-Malik diffusion with the image in registers: one launch runs all iterations.
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

namespace texfilters {

constexpr float kOutside = 1e38f;

template <int Channels, int Columns, int Rows, int Warps, int Blocks>
struct Tile {
  static constexpr int kChannels = Channels;  // that share one conductance
  static constexpr int kColumns = Columns;
  static constexpr int kRows = Rows;
  static constexpr int kWarps = Warps;
  static constexpr int kBlocks = Blocks;  // on a multiprocessor at once: what the registers allow
  static constexpr int kThreads = kLanes * Warps;
  static constexpr int kWidth = kLanes * Columns;
  static constexpr int kHeight = Rows * Warps;

  // Shared memory, while iterating: [2][kWarps][top, bottom][kChannels][kColumns][kLanes].
  static constexpr int kEdge = Channels * kWidth;
  static constexpr int kTurn = Warps * 2 * kEdge;
  static constexpr int kEdges = Warps > 1 ? 2 * kTurn + kEdge : 0;  // the last one lies outside the image
  // Before and after: [kWarps][kChannels][kRows][kStagedWidth], where lanes change from neighboring pixels to their own
  // columns; an even number of columns would meet in the same banks without padding.
  static constexpr int kPadding = Columns % 2 ? 0 : 1;
  static constexpr int kStagedWidth = kWidth + kPadding * Columns;
  static constexpr int kStrip = Channels * Rows * kStagedWidth;
  static constexpr int kShared = kEdges > Warps* kStrip ? kEdges : Warps * kStrip;
  static __device__ __forceinline__ int staged(int column) { return column + kPadding * (column / kLanes); }

  static constexpr int kRowsInFlight = Columns * Rows <= 49 ? Rows : (49 + Columns - 1) / Columns;

  using State = float[Channels][Rows][Columns];
};

// Where a block's tile lies in the image, and which part of it the block writes.
template <class T>
struct Place {
  int64_t x, y;        // of its first pixel
  int width, height;   // inside the image
  int x0, x1, y0, y1;  // written

  __device__ Place(const DiffusionLaunch& a, int64_t tile) {
    const int64_t i = tile % a.tiles_x, j = tile / a.tiles_x;
    x = i * (T::kWidth - 2 * a.halo);
    y = j * (T::kHeight - 2 * a.halo);
    width = static_cast<int>(min(a.width - x, int64_t{T::kWidth}));
    height = static_cast<int>(min(a.height - y, int64_t{T::kHeight}));
    x0 = i > 0 ? a.halo : 0;
    y0 = j > 0 ? a.halo : 0;
    x1 = i + 1 < a.tiles_x ? T::kWidth - a.halo : width;
    y1 = j + 1 < a.tiles_y ? T::kHeight - a.halo : height;
  }
};

// A warp's strip from memory into shared memory: lanes take neighboring pixels of a row.
template <class T, class S>
__device__ __forceinline__ void read_strip(const S* pixels, const View& view, const Place<T>& place, float* staging,
                                           float scale) {
  const int lane = threadIdx.x % kLanes, strip = threadIdx.x / kLanes * T::kRows;
  for (int c = 0; c < T::kChannels; ++c) {
    const S* first = pixels + c * view.channel + strip * view.y + lane * view.x;
#pragma unroll(T::kRowsInFlight)
    for (int r = 0; r < T::kRows; ++r) {
#pragma unroll
      for (int i = 0; i < T::kColumns; ++i) {
        const bool inside = strip + r < place.height && lane + i * kLanes < place.width;
        const float pixel = inside ? to_float(first[r * view.y + i * kLanes * view.x]) * scale : kOutside;
        staging[(c * T::kRows + r) * T::kStagedWidth + T::staged(i * kLanes) + lane] = pixel;
      }
    }
  }
}

template <class T, class S>
__device__ __forceinline__ void write_strip(S* pixels, const View& view, const Place<T>& place, const float* staging,
                                            float unscale) {
  const int lane = threadIdx.x % kLanes, strip = threadIdx.x / kLanes * T::kRows;
  for (int c = 0; c < T::kChannels; ++c) {
    S* first = pixels + c * view.channel + strip * view.y + lane * view.x;
#pragma unroll 2
    for (int r = max(place.y0 - strip, 0); r < min(T::kRows, place.y1 - strip); ++r) {
#pragma unroll
      for (int i = 0; i < T::kColumns; ++i) {
        const float pixel = staging[(c * T::kRows + r) * T::kStagedWidth + T::staged(i * kLanes) + lane];
        const S value = from_float<S>(pixel * unscale);
        if (lane + i * kLanes >= place.x0 && lane + i * kLanes < place.x1)
          first[r * view.y + i * kLanes * view.x] = value;
      }
    }
  }
}

// f on each of a lane's pixels and on its place in the strip that lies in shared memory.
template <class T, class F>
__device__ __forceinline__ void for_staged(typename T::State& u, float* staging, const F& f) {
  const int lane = threadIdx.x % kLanes;
#pragma unroll
  for (int c = 0; c < T::kChannels; ++c) {
#pragma unroll
    for (int r = 0; r < T::kRows; ++r) {
#pragma unroll
      for (int i = 0; i < T::kColumns; ++i)
        f(u[c][r][i], staging[(c * T::kRows + r) * T::kStagedWidth + T::staged(lane * T::kColumns + i)]);
    }
  }
}

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
      d[c] = T::kWarps > 1 ? u[c][0][i] - above[c * T::kWidth + i * kLanes] : 0;
      sum = g.add(sum, d[c]);
    }
    const float weight = g.template finish<kY>(sum);
#pragma unroll
    for (int c = 0; c < C; ++c) row[c][i] = T::kWarps > 1 ? __fmaf_rn(-d[c], weight, u[c][0][i]) : u[c][0][i];
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
    constexpr bool kOneWarp = T::kWarps == 1;
    const bool last = r == T::kRows - 1;
#pragma unroll
    for (int i = 0; i < T::kColumns; ++i) {
      float d[C], next[C], sum = g.template begin<kY>();
#pragma unroll
      for (int c = 0; c < C; ++c) {
        next[c] = !last ? u[c][last ? r : r + 1][i] : kOneWarp ? u[c][r][i] : below[c * T::kWidth + i * kLanes];
        d[c] = next[c] - u[c][r][i];
        sum = g.add(sum, d[c]);
      }
      const float weight = g.template finish<kY>(sum);
#pragma unroll
      for (int c = 0; c < C; ++c) {
        u[c][r][i] = last && kOneWarp ? row[c][i] : __fmaf_rn(d[c], weight, row[c][i]);
        row[c][i] = __fmaf_rn(-d[c], weight, next[c]);
      }
    }
  }
}

// The bits as they are.
template <class T>
__device__ void copy_tile(const View& source, const View& target, const Place<T>& place) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  with_element(source.element, source.data, [&](auto* from) {
    auto* to = global(static_cast<decltype(from)>(target.data));
    for (int c = 0; c < T::kChannels; ++c) {
      for (int y = place.y0 + warp; y < place.y1; y += T::kWarps) {
        for (int x = place.x0 + lane; x < place.x1; x += kLanes)
          to[c * target.channel + y * target.y + x * target.x] = from[c * source.channel + y * source.y + x * source.x];
      }
    }
  });
}

// Grid: images in their order, channels, tiles. A block's tile fits in the launch's halo, or is the whole image.
template <class T, int kOption>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) diffuse_tiles(const __grid_constant__ DiffusionLaunch a) {
  const int64_t block = a.first_block + blockIdx.x, tiles = a.tiles_x * a.tiles_y, plane = block / tiles;
  const int64_t rank = plane / a.channels, channel = plane % a.channels;
  const int64_t image = a.order != nullptr ? a.order[rank] : rank;
  const int left = iterations_left(a.niter, image, a.first_step);
  const Place<T> place(a, block % tiles);
  const View source = at(a.source, image, channel, place.y, place.x);
  const View target = at(left <= a.steps ? a.output : a.state, image, channel, place.y, place.x);
  if (left <= 0) {
    if (a.first_step == 0) copy_tile(source, target, place);
    return;
  }
  const int steps = min(left, a.steps);
  const Conductance<kOption, (T::kChannels > 1)> g(value_of(a.kappa, image), value_of(a.gamma, image),
                                                   a.inverse_spacing);

  float* shared = dynamic_shared<float>();
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const auto edge = [&](int warp, int side) { return (warp * 2 + side) * T::kEdge + lane; };
  const bool first = warp == 0, last = (warp + 1) * T::kRows >= place.height, active = warp * T::kRows < place.height;

  float* strip = shared + warp * T::kStrip;
  with_element(source.element, source.data, [&](auto* pixels) { read_strip(pixels, source, place, strip, g.scale); });
  __syncwarp();
  typename T::State u;
  for_staged<T>(u, strip, [](float& pixel, float& staged) { pixel = staged; });
  if (T::kWarps > 1) __syncthreads();

  float* outside = shared + 2 * T::kTurn + lane;
  for (int i = threadIdx.x; i < (T::kWarps > 1 ? T::kEdge : 0); i += T::kThreads) outside[i - lane] = kOutside;
  for (int step = 0; step < steps; ++step) {
    float* turn = shared + step % 2 * T::kTurn;
    if constexpr (T::kWarps > 1) {
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
    }
    if (active) {
      diffuse_strip<T>(u, first ? outside : turn + edge(warp - 1, 1), last ? outside : turn + edge(warp + 1, 0), g);
    }
  }

  if (T::kWarps > 1) __syncthreads();
  for_staged<T>(u, strip, [](float& pixel, float& staged) { staged = pixel; });
  __syncwarp();
  with_element(target.element, target.data,
               [&](auto* pixels) { write_strip(pixels, target, place, strip, 1 / g.scale); });
}

}  // namespace texfilters
