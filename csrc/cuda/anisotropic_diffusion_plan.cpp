// Which tile an image is cut into, and how many iterations a launch runs. The one place that decides.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/anisotropic_diffusion.h"

namespace texfilters {
namespace {

// Cycles, from counts of instructions and rates of the H200; only their ratios matter.
constexpr double kLaunch = 4000;      // a launch and the tail of the one before
constexpr double kBarrier = 120;      // an iteration's meeting of the warps, and the latency around it
constexpr double kSpecial = 2;        // a special function of a warp
constexpr double kLatency = 20;       // what an edge takes a warp that is alone, over the edges in flight
constexpr double kBytes = 17;         // a cycle and multiprocessor, from memory
constexpr double kStepCycles = 0.45;  // a pixel of the step kernel, where it is bound by instructions
constexpr int kStepBlock = 32 * 32, kStepBlocks = 3;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Tiles that cover `size` if neighbors overlap by two halos.
int64_t tiles(int64_t size, int64_t tile, int64_t halo) {
  return size <= tile ? 1 : ceil_div(size - 2 * halo, tile - 2 * halo);
}

// How much of a memory transaction a row of pixels uses.
double waste(int64_t stride, int64_t bytes) {
  return static_cast<double>(std::clamp<int64_t>(stride * bytes, bytes, 32)) / static_cast<double>(bytes);
}

DiffusionPlan plan_tile(const DiffusionShape& shape, int index, bool swapped, int32_t steps) {
  const TileShape& tile = tile_shapes()[index];
  const int64_t width = swapped ? shape.height : shape.width, height = swapped ? shape.width : shape.height;
  const bool whole = width <= tile.width() && height <= tile.height();
  DiffusionPlan plan;
  plan.tile = index;
  plan.swapped = swapped;
  plan.steps = steps;
  plan.halo = whole ? 0 : steps;
  plan.cost = -1;
  if (tile.channels != shape.coupled_channels || shape.depth > 1 || tile.shared > shape.shared) return plan;
  // A tile has to keep something between the halos.
  if (!whole && 2 * int64_t{plan.halo} >= std::min(tile.width(), tile.height())) return plan;
  plan.tiles_x = tiles(width, tile.width(), plan.halo);
  plan.tiles_y = tiles(height, tile.height(), plan.halo);

  const double blocks = static_cast<double>(shape.planes * plan.tiles_x * plan.tiles_y);
  const double rows = static_cast<double>(std::min<int64_t>(height, tile.height()));
  const double warps = std::ceil(rows / tile.rows), edges = tile.columns * (2.0 * tile.rows + (tile.warps > 1));
  const double together =
      std::ceil(blocks / shape.multiprocessors);  // on one multiprocessor, one after the other or not
  constexpr int kReserved = 1024;                 // of shared memory, for each block
  const double resident =
      std::min<double>(together, std::clamp(shape.shared_together / (tile.shared + kReserved), 1, tile.blocks));
  const double busy = resident * warps * edges * kSpecial, alone = edges * kLatency / 2;
  const double iteration = std::max(busy, alone) + kBarrier / resident;
  const double rounds = together / resident;
  const double pixels = resident * tile.width() * rows * tile.channels;
  const double stride = static_cast<double>(swapped ? shape.stride_y : shape.stride_x);
  const double moved = pixels * 2 * shape.pixel_bytes * waste(static_cast<int64_t>(stride), shape.pixel_bytes) / kBytes;
  const double launches = static_cast<double>(ceil_div(std::max<int64_t>(shape.iterations, 1), steps));
  plan.cost = launches * (rounds * moved + kLaunch) + static_cast<double>(shape.iterations) * rounds * iteration;
  return plan;
}

DiffusionPlan plan_step(const DiffusionShape& shape) {
  DiffusionPlan plan;
  plan.swapped = shape.depth == 1 && shape.stride_x > shape.stride_y && shape.width > 1 && shape.height > 1;
  const int64_t columns = shape.planes * ceil_div(shape.width, 32) * ceil_div(shape.height, 32);
  // Long walks read fewer slices twice; the number of blocks should fill the last round of the device.
  const double resident = static_cast<double>(shape.multiprocessors) * kStepBlocks;
  double best = 0;
  for (int64_t walks = 1; walks <= std::max<int64_t>(1, shape.depth / 4); ++walks) {
    const double slices = static_cast<double>(ceil_div(shape.depth, walks));
    const double rounds = std::ceil(static_cast<double>(columns * walks) / resident);
    if (const double cost = rounds * (slices + 2); best == 0 || cost < best) {
      best = cost;
      plan.slices = static_cast<int32_t>(slices);
    }
  }
  const double pixels = static_cast<double>(columns * shape.depth * kStepBlock * shape.coupled_channels);
  plan.cost = static_cast<double>(shape.iterations) * (pixels * kStepCycles / shape.multiprocessors + kLaunch);
  return plan;
}

DiffusionPlan best_tile(const DiffusionShape& shape, int index, int32_t steps) {
  const TileShape& tile = tile_shapes()[index];
  DiffusionPlan best;
  best.cost = -1;
  const auto consider = [&](bool swapped, int64_t n) {
    const DiffusionPlan plan = plan_tile(shape, index, swapped, static_cast<int32_t>(n));
    if (plan.cost >= 0 && (best.cost < 0 || plan.cost < best.cost)) best = plan;
  };
  const int64_t all = std::max<int64_t>(shape.iterations, 1), most = std::min(tile.width(), tile.height()) / 2 - 1;
  for (bool swapped : {false, true}) {
    if (steps > 0) {
      consider(swapped, std::min<int64_t>(steps, all));
      continue;
    }
    const int64_t width = swapped ? shape.height : shape.width, height = swapped ? shape.width : shape.height;
    if (width <= tile.width() && height <= tile.height()) {
      consider(swapped, all);
      continue;
    }
    // Wide halos are computed twice, narrow ones make many launches. All launches are of one length.
    for (int64_t n : {4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 50}) {
      if (n <= most) consider(swapped, ceil_div(all, ceil_div(all, n)));
    }
  }
  return best;
}

}  // namespace

DiffusionPlan plan_diffusion(const DiffusionShape& shape) {
  DiffusionPlan best = plan_step(shape);
  for (int i = 0; i < static_cast<int>(tile_shapes().size()); ++i) {
    const DiffusionPlan plan = best_tile(shape, i, 0);
    if (plan.cost >= 0 && plan.cost < best.cost) best = plan;
  }
  return best;
}

DiffusionPlan plan_diffusion(const DiffusionShape& shape, const char* tile, int32_t steps) {
  if (std::strcmp(tile, "step") == 0) return plan_step(shape);
  for (int i = 0; i < static_cast<int>(tile_shapes().size()); ++i) {
    if (std::strcmp(tile, tile_shapes()[i].name) == 0) return best_tile(shape, i, steps);
  }
  DiffusionPlan none;
  none.cost = -1;
  return none;
}

}  // namespace texfilters
