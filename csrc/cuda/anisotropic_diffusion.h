// Perona-Malik diffusion on an NVIDIA GPU, without torch: what a launch takes, and what the launches of a call need.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/image.h"

namespace texfilters {

// Iterations first_step .. first_step + steps - 1 of every image, in one launch. Those that an image finishes with are
// written to `output`, all others to `state`. Images that have no iterations at all are copied by a launch of its own.
struct DiffusionLaunch {
  View source, state, output;
  Parameter niter, kappa, gamma;
  const int32_t* order = nullptr;        // which image comes first, and so on; null: as they are numbered
  float inverse_spacing[3] = {1, 1, 1};  // x, y, z
  int64_t images = 0, first_image = 0;   // first_image: in the order, where a grid may not hold all
  int64_t channels = 0;                  // 1 where they are coupled; in a launch less than 2^32
  int64_t coupled_channels = 1;
  int64_t depth = 1, height = 0, width = 0;
  int32_t option = 1;
  bool copies = true;  // whether there may be images without iterations
  int32_t first_step = 0, steps = 0;
  uint32_t tiles_x = 1, tiles_y = 1;  // of the tile kernel,
  int32_t halo = 0;                   // whose tiles overlap by two of these
  int32_t slices = 1;                 // that a block of the step kernel walks through
};

// A tile of the tile kernel. Its name is its width and height, after the number of coupled channels.
struct TileShape {
  const char* name;
  int channels, columns, rows, warps, blocks;  // blocks: on a multiprocessor at once
  int shared;                                  // bytes of shared memory of a block

  int width() const { return 32 * columns; }
  int height() const { return rows * warps; }
};
const std::vector<TileShape>& tile_shapes();

// How a call is cut into launches and blocks.
struct DiffusionPlan {
  static constexpr int kStep = -1;
  int tile = kStep;      // of tile_shapes(), or one launch an iteration
  bool swapped = false;  // rows are taken for columns
  int64_t tiles_x = 1, tiles_y = 1;
  int32_t steps = 1;  // of a launch
  int32_t halo = 0;
  int32_t slices = 1;
  double cost = 0;  // in cycles, as estimated
  int64_t largest_grid = (int64_t{1} << 31) - 1;

  // Float32 copies of the image that its launches pass on from one to the next.
  int states(int64_t iterations) const {
    const int64_t launches = (iterations + steps - 1) / steps;
    return launches > 2 ? 2 : launches > 1 ? 1 : 0;
  }
};

// What a plan may depend on.
struct DiffusionShape {
  int64_t planes = 1;  // images, times channels if those are not coupled
  int64_t coupled_channels = 1;
  int64_t depth = 1, height = 1, width = 1;
  int64_t stride_y = 1, stride_x = 1;  // of the image
  int64_t pixel_bytes = 4;
  int64_t iterations = 1;  // the most that an image takes
  int multiprocessors = 1;
  int shared = 99 * 1024, shared_together = 100 * 1024;  // bytes of shared memory of a block and a multiprocessor
};

DiffusionPlan plan_diffusion(const DiffusionShape& shape);
// By a tile's name or "step", and the number of iterations of a launch, 0 for what the plan finds. cost < 0:
// impossible.
DiffusionPlan plan_diffusion(const DiffusionShape& shape, const char* tile, int32_t steps);

// All launches of a call: `launch` says everything but what the plan does. The states are contiguous.
// Returns a cudaError_t.
int run_diffusion(DiffusionLaunch launch, const DiffusionPlan& plan, int64_t iterations, void* const (&states)[2],
                  void* stream);

// Whether this device and driver can run the kernels: null, or what CUDA says.
const char* cuda_problem();

}  // namespace texfilters
