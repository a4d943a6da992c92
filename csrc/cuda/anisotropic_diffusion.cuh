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

#include <type_traits>

#include "cuda/anisotropic_diffusion.h"
#include "cuda/conductance.cuh"
#include "cuda/elements.cuh"

namespace texfilters {

constexpr float kOutside = 1e38f, kWall = 1e30f, kLargest = 3.40282347e38f;
constexpr int kPlan = 192;  // bytes

template <int Channels, int Columns, int Rows, int Warps, int Blocks, int Loads>
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
  // Before and after: [kWarps][kStagedRows][kStagedWidth]. An even number of columns would meet in the same banks
  // without padding.
  static constexpr int kPadding = Columns % 2 ? 0 : 1;
  static constexpr int kStagedWidth = kWidth + kPadding * Columns;
  static constexpr int kStagedRows = Channels > 1 ? Rows : (Rows + 1) / 2;
  static constexpr int kStrip = kStagedRows * kStagedWidth;
  static constexpr int kRowsInFlight = Loads / Columns;  // as many as registers allow
  // And behind both, a Plan.
  static constexpr int kBuffers = kEdges > Warps* kStrip ? kEdges : Warps * kStrip;
  static constexpr int kShared = kBuffers * static_cast<int>(sizeof(float)) + kPlan;  // bytes
  static __device__ __forceinline__ int staged(int column) { return column + kPadding * (column / kLanes); }

  using State = float[Channels][Rows][Columns];
};

// Where a block's tile lies in the image, and which part of it the block writes.
template <class T>
struct Place {
  int64_t x, y;        // of its first pixel
  int width, height;   // inside the image
  int x0, x1, y0, y1;  // written

  __device__ Place(const DiffusionLaunch& a, unsigned tile) {
    const unsigned i = tile % a.tiles_x, j = tile / a.tiles_x;
    x = int64_t{i} * (T::kWidth - 2 * a.halo);
    y = int64_t{j} * (T::kHeight - 2 * a.halo);
    width = static_cast<int>(min(a.width - x, int64_t{T::kWidth}));
    height = static_cast<int>(min(a.height - y, int64_t{T::kHeight}));
    x0 = i > 0 ? a.halo : 0;
    y0 = j > 0 ? a.halo : 0;
    x1 = i + 1 < a.tiles_x ? T::kWidth - a.halo : width;
    y1 = j + 1 < a.tiles_y ? T::kHeight - a.halo : height;
  }
};

// A pixel in the units of the state. One that is too large for them, as images have where nothing was measured, becomes
// a wall: nothing flows through kOutside.
template <class S>
__device__ __forceinline__ float scaled(S pixel, float scale) {
  const float u = to_float(pixel), state = u * scale;
  constexpr bool kLarge = std::is_same_v<S, float> || std::is_same_v<S, BFloat16>;
  return kLarge && fabsf(state) > kWall && fabsf(u) <= kLargest ? copysignf(kOutside, u) : state;
}

// Some rows of a warp's strip between memory, where lanes take neighboring pixels, and shared memory, where each finds
// its own columns.
template <class T, class S>
__device__ __forceinline__ void stage_in(const S* pixels, const View& view, const Place<T>& place, int first, int rows,
                                         float scale, float* staging) {
  const int lane = threadIdx.x % kLanes;
  pixels += first * view.y + lane * view.x;
#pragma unroll(T::kRowsInFlight)
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int i = 0; i < T::kColumns; ++i) {
      const bool inside = first + r < place.height && lane + i * kLanes < place.width;
      const float pixel = inside ? scaled(pixels[i * kLanes * view.x], scale) : kOutside;
      staging[r * T::kStagedWidth + T::staged(i * kLanes) + lane] = pixel;
    }
    pixels += view.y;
  }
}

template <class T, class S>
__device__ __forceinline__ void stage_out(S* pixels, const View& view, const Place<T>& place, int first, int rows,
                                          float unscale, const View& source, const float* staging) {
  const int lane = threadIdx.x % kLanes;
  pixels += first * view.y + lane * view.x;
  float largest = 0;
#pragma unroll 1
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int i = 0; i < T::kColumns; ++i) {
      const float pixel = staging[r * T::kStagedWidth + T::staged(i * kLanes) + lane];
      const S value = from_float<S>(pixel * unscale);
      const int x = lane + i * kLanes;
      if (first + r >= place.y0 && first + r < place.y1 && x >= place.x0 && x < place.x1) {
        pixels[i * kLanes * view.x] = value;
        largest = fmaxf(largest, fabsf(pixel));
      }
    }
    pixels += view.y;
  }
  if (largest < kOutside) return;
  // Walls stay as they were.
  pixels -= rows * view.y;
#pragma unroll 1
  for (int i = 0; i < rows * T::kColumns; ++i) {
    const int r = i / T::kColumns, column = i % T::kColumns * kLanes, x = lane + column, y = first + r;
    const float pixel = staging[r * T::kStagedWidth + T::staged(column) + lane];
    if (fabsf(pixel) == kOutside && y >= place.y0 && y < place.y1 && x >= place.x0 && x < place.x1)
      pixels[r * view.y + column * view.x] = from_float<S>(read_pixel(source, y * source.y + x * source.x));
  }
}

// f(channel, first row, number of rows) for a warp's strip, in turns that the staging has room for. They are few, and
// each is a piece of code, since registers have no index.
template <class T, class F>
__device__ __forceinline__ void for_stagings(const F& f) {
#pragma unroll
  for (int c = 0; c < T::kChannels; ++c) {
#pragma unroll
    for (int r = 0; r < T::kRows; r += T::kStagedRows) f(c, r, min(T::kStagedRows, T::kRows - r));
  }
}

template <class T>
__device__ __forceinline__ void read_strip(const View& view, const Place<T>& place, float* staging, float scale,
                                           typename T::State& u) {
  const int lane = threadIdx.x % kLanes, strip = threadIdx.x / kLanes * T::kRows;
  for_stagings<T>([&](int c, int first, int rows) {
    with_element(view.element, view.data, [&](auto* pixels) {
      stage_in<T>(pixels + c * view.channel, view, place, strip + first, rows, scale, staging);
    });
    __syncwarp();
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int i = 0; i < T::kColumns; ++i)
        u[c][first + r][i] = staging[r * T::kStagedWidth + T::staged(lane * T::kColumns + i)];
    }
    __syncwarp();
  });
}

template <class T>
__device__ __forceinline__ void write_strip(const View& view, const View& source, const Place<T>& place, float* staging,
                                            float unscale, const typename T::State& u) {
  const int lane = threadIdx.x % kLanes, strip = threadIdx.x / kLanes * T::kRows;
  for_stagings<T>([&](int c, int first, int rows) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int i = 0; i < T::kColumns; ++i)
        staging[r * T::kStagedWidth + T::staged(lane * T::kColumns + i)] = u[c][first + r][i];
    }
    __syncwarp();
    with_element(view.element, view.data, [&](auto* pixels) {
      stage_out<T>(pixels + c * view.channel, view, place, strip + first, rows, unscale, at(source, 0, c), staging);
    });
    __syncwarp();
  });
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

// What a block does after it has read its tile. It waits in shared memory, since reading and iterating need all
// registers.
template <class T, int kOption>
struct Plan {
  Conductance<kOption, (T::kChannels > 1)> g;
  int steps;
  View source, target;
  Place<T> place;
};

// Grid: images in their order, channels, tiles. What a launch changes of an image is exact inside the halo.
template <class T, int kOption>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) diffuse_tiles(const __grid_constant__ DiffusionLaunch a) {
  float* shared = dynamic_shared<float>();
  static_assert(sizeof(Plan<T, kOption>) <= kPlan && T::kBuffers * sizeof(float) % alignof(Plan<T, kOption>) == 0);
  Plan<T, kOption>* plan = reinterpret_cast<Plan<T, kOption>*>(shared + T::kBuffers);
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
  if (threadIdx.x == 0) *plan = {conductance, min(left, a.steps), source, target, place};
  typename T::State u;
  read_strip(source, place, strip, conductance.scale, u);
  if (T::kWarps > 1) __syncthreads();

  const Conductance<kOption, (T::kChannels > 1)> g = plan->g;
  const int height = plan->place.height;
  const bool first = warp == 0, last = (warp + 1) * T::kRows >= height, active = warp * T::kRows < height;
  const auto edge = [&](int warp, int side) { return (warp * 2 + side) * T::kEdge + lane; };
  float* outside = shared + 2 * T::kTurn + lane;
  for (int i = threadIdx.x; i < (T::kWarps > 1 ? T::kEdge : 0); i += T::kThreads) outside[i - lane] = kOutside;
  for (int to_do = plan->steps; to_do > 0; --to_do) {
    float* turn = shared + to_do % 2 * T::kTurn;
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
  write_strip(plan->target, plan->source, plan->place, strip, 1 / plan->g.scale, u);
}

}  // namespace texfilters
