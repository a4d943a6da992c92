// The launches of the diffusion kernels.
#include "cuda/anisotropic_diffusion.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "cuda/anisotropic_diffusion.cuh"
#include "cuda/anisotropic_diffusion_step.cuh"
#include "cuda/copy.cuh"

namespace texfilters {
namespace {

// Coupled channels, columns and rows of a lane, warps, blocks that a multiprocessor holds, loads in flight; widths of
// images that people use, and what is good for cutting up larger ones. A lane has up to 100 pixels, for which 128
// registers are enough.
#define TEXFILTERS_TILES(TILE)         \
  TILE("32x32", 1, 1, 16, 2, 10, 16)   \
  TILE("64x64", 1, 2, 16, 4, 6, 16)    \
  TILE("96x96", 1, 3, 16, 6, 3, 18)    \
  TILE("128x128", 1, 4, 16, 8, 2, 28)  \
  TILE("160x160", 1, 5, 20, 8, 2, 25)  \
  TILE("192x192", 1, 6, 12, 16, 1, 24) \
  TILE("224x112", 1, 7, 14, 8, 2, 28)  \
  TILE("224x224", 1, 7, 14, 16, 1, 28) \
  TILE("256x192", 1, 8, 12, 16, 1, 24) \
  TILE("320x144", 1, 10, 9, 16, 1, 10) \
  TILE("3x32x32", 3, 1, 8, 4, 4, 8)    \
  TILE("3x64x64", 3, 2, 8, 8, 2, 16)   \
  TILE("3x96x128", 3, 3, 8, 16, 1, 24)

using Kernel = void (*)(DiffusionLaunch);
using Options = std::array<Kernel, 3>;

const std::vector<Options>& tile_kernels() {
#define TEXFILTERS_TILE(name, channels, columns, rows, warps, blocks, loads) \
  {diffuse_tiles<Tile<channels, columns, rows, warps, blocks, loads>, 1>,    \
   diffuse_tiles<Tile<channels, columns, rows, warps, blocks, loads>, 2>,    \
   diffuse_tiles<Tile<channels, columns, rows, warps, blocks, loads>, 3>},
  static const std::vector<Options> kernels = {TEXFILTERS_TILES(TEXFILTERS_TILE)};
#undef TEXFILTERS_TILE
  return kernels;
}

View contiguous(void* data, const DiffusionLaunch& a) {
  const int64_t slice = a.height * a.width, plane = a.depth * slice;
  const int64_t channels = a.channels * a.coupled_channels;
  return {data, Element::float32, channels * plane, plane, slice, a.width, 1};
}

void flip_z(View& view, int64_t depth) {
  view.data = static_cast<char*>(view.data) + (depth - 1) * view.z * bytes(view.element);
  view.z = -view.z;
}

// Part of the channels, as an image of its own.
DiffusionLaunch channels_from(DiffusionLaunch a, int64_t first, int64_t count) {
  for (View* view : {&a.source, &a.state, &a.output})
    view->data = static_cast<char*>(view->data) + first * view->channel * bytes(view->element);
  a.channels = count;
  return a;
}

// `blocks` for every plane, in as many launches as the largest grid asks for.
cudaError_t launch_planes(Kernel kernel, const DiffusionLaunch& all, int64_t blocks, int64_t largest_grid, int threads,
                          int shared, cudaStream_t stream) {
  if (shared > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess) return static_cast<void>(cudaGetLastError()), error;  // not left for somebody else
  }
  if (blocks > largest_grid) return cudaErrorInvalidValue;
  const int64_t planes = largest_grid / blocks;
  for (int64_t channel = 0; channel < all.channels; channel += planes) {
    DiffusionLaunch a = channels_from(all, channel, std::min<int64_t>(planes, all.channels - channel));
    const int64_t images = planes / a.channels;
    for (a.first_image = 0; a.first_image < a.images; a.first_image += images) {
      const int64_t grid = std::min(images, a.images - a.first_image) * a.channels * blocks;
      launch(kernel, dim3(static_cast<unsigned>(grid)), dim3(threads), shared, stream, a);
      const cudaError_t error = cudaGetLastError();
      if (error != cudaSuccess) return error;
    }
  }
  return cudaSuccess;
}

cudaError_t launch_step(DiffusionLaunch a, const DiffusionPlan& plan, cudaStream_t stream) {
  static const Kernel single[] = {diffuse_step<1>, diffuse_step<2>, diffuse_step<3>};
  static const Kernel any[] = {diffuse_coupled_step<1>, diffuse_coupled_step<2>, diffuse_coupled_step<3>};
  const bool simple = a.coupled_channels == 1 && a.source.element == Element::float32 && a.source.x == 1;
  a.slices = plan.slices;
  // There and back through the slices, so that an iteration begins with what the last one has left in the cache.
  if (a.first_step % 2) {
    for (View* view : {&a.source, &a.state, &a.output}) flip_z(*view, a.depth);
  }
  const int64_t blocks =
      ((a.depth - 1) / a.slices + 1) * ((a.height - 1) / kStepHeight + 1) * ((a.width - 1) / kStepWidth + 1);
  return launch_planes((simple ? single : any)[a.option - 1], a, blocks, plan.largest_grid, kStepThreads, 0, stream);
}

cudaError_t launch_tiles(DiffusionLaunch a, const DiffusionPlan& plan, cudaStream_t stream) {
  const TileShape& tile = tile_shapes()[plan.tile];
  a.tiles_x = static_cast<uint32_t>(plan.tiles_x);
  a.tiles_y = static_cast<uint32_t>(plan.tiles_y);
  a.halo = plan.halo;
  const int64_t blocks = plan.tiles_x * plan.tiles_y;
  const Kernel kernel = tile_kernels()[plan.tile][a.option - 1];
  return launch_planes(kernel, a, blocks, plan.largest_grid, kLanes * tile.warps, tile.shared, stream);
}

// The channels of an image and what lies in them as one piece, or as few as its strides allow.
cudaError_t launch_copy(DiffusionLaunch a, const DiffusionPlan& plan, cudaStream_t stream) {
  struct Extent {
    int64_t size, in, out;
  };
  std::array<Extent, 4> axes{{{a.width, a.source.x, a.output.x},
                              {a.height, a.source.y, a.output.y},
                              {a.depth, a.source.z, a.output.z},
                              {a.channels * a.coupled_channels, a.source.channel, a.output.channel}}};
  std::stable_sort(axes.begin(), axes.end(), [](const Extent& p, const Extent& q) {
    return p.size > 1 && (q.size == 1 || p.out < q.out);  // those of size 1 last
  });
  std::size_t last = 0;
  for (std::size_t i = 1; i < axes.size(); ++i) {
    const Extent next = std::exchange(axes[i], {1, 0, 0});
    if (next.size == 1) continue;
    if (next.in == axes[last].in * axes[last].size && next.out == axes[last].out * axes[last].size) {
      axes[last].size *= next.size;
    } else {
      axes[++last] = next;
    }
  }
  std::tie(a.width, a.source.x, a.output.x) = std::tie(axes[0].size, axes[0].in, axes[0].out);
  std::tie(a.height, a.source.y, a.output.y) = std::tie(axes[1].size, axes[1].in, axes[1].out);
  std::tie(a.depth, a.source.z, a.output.z) = std::tie(axes[2].size, axes[2].in, axes[2].out);
  std::tie(a.channels, a.source.channel, a.output.channel) = std::tie(axes[3].size, axes[3].in, axes[3].out);
  const int64_t blocks = (a.depth * a.height * a.width - 1) / kCopyPixels + 1;
  return launch_planes(copy_unchanged, a, blocks, plan.largest_grid, kCopyThreads, 0, stream);
}

}  // namespace

const std::vector<TileShape>& tile_shapes() {
#define TEXFILTERS_TILE(name, channels, columns, rows, warps, blocks, loads) \
  {name, channels, columns, rows, warps, blocks, Tile<channels, columns, rows, warps, blocks, loads>::kShared},
  static const std::vector<TileShape> shapes = {TEXFILTERS_TILES(TEXFILTERS_TILE)};
#undef TEXFILTERS_TILE
  return shapes;
}

int run_diffusion(DiffusionLaunch a, const DiffusionPlan& plan, int64_t iterations, void* const (&states)[2],
                  void* stream) {
  const cudaStream_t where = static_cast<cudaStream_t>(stream);
  if (a.copies) {
    const cudaError_t error = launch_copy(a, plan, where);
    if (error != cudaSuccess) return error;
  }
  if (plan.swapped) {
    std::swap(a.height, a.width);
    for (View* view : {&a.source, &a.output}) std::swap(view->y, view->x);
    std::swap(a.inverse_spacing[0], a.inverse_spacing[1]);
  }
  const View state[2] = {contiguous(states[0], a), contiguous(states[1], a)};
  int turn = 0;
  for (int64_t first = 0; first < iterations; first += plan.steps) {
    a.state = state[turn++ % 2];
    a.first_step = static_cast<int32_t>(first);
    a.steps = plan.steps;
    const bool step = plan.tile == DiffusionPlan::kStep;
    const cudaError_t error = step ? launch_step(a, plan, where) : launch_tiles(a, plan, where);
    if (error != cudaSuccess) return error;
    a.source = a.state;
  }
  return cudaSuccess;
}

const char* cuda_problem() {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, copy_unchanged);
  if (error == cudaSuccess) return nullptr;
  cudaGetLastError();  // so that it is not taken for somebody else's
  return cudaGetErrorString(error);
}

}  // namespace texfilters
