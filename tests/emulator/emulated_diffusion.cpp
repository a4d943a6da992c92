// The CUDA diffusion, launches and plan included, for ctypes. tests/emulator/emulated.py holds the same struct.
#include <algorithm>
#include <cstring>
#include <exception>
#include <vector>

#include "cuda/anisotropic_diffusion.h"
#include "cuda/upload.h"
#include "cuda_emulator.h"

using namespace texfilters;

struct Call {
  void *image, *output;
  int32_t element;
  int64_t images, channels, coupled_channels, depth, height, width;
  int64_t image_strides[5], output_strides[5];  // image, channel, z, y, x
  const int32_t* niter;                         // one for each image, as all parameters
  const float *kappa, *gamma;
  const int32_t* order;  // may be null
  int32_t option;
  double spacing[3];  // z, y, x
  const char* tile;   // null: as planned
  int32_t steps;
  int64_t largest_grid;
  uint64_t seed;
  int32_t defect;
};

namespace {

View view(void* data, int32_t element, const int64_t (&s)[5]) {
  return {data, static_cast<Element>(element), s[0], s[1], s[2], s[3], s[4]};
}

int64_t most_iterations(const Call& call) {
  return std::max<int64_t>(0, *std::max_element(call.niter, call.niter + call.images));
}

DiffusionPlan plan(const Call& call, int multiprocessors, int shared = 227 * 1024) {
  DiffusionShape shape;
  shape.planes = call.images * call.channels;
  shape.coupled_channels = call.coupled_channels;
  shape.depth = call.depth;
  shape.height = call.height;
  shape.width = call.width;
  shape.stride_y = call.image_strides[3];
  shape.stride_x = call.image_strides[4];
  shape.pixel_bytes = bytes(static_cast<Element>(call.element));
  shape.iterations = most_iterations(call);
  shape.multiprocessors = multiprocessors;
  shape.shared = shared;
  shape.shared_together = shared + 1024;
  return call.tile == nullptr ? plan_diffusion(shape) : plan_diffusion(shape, call.tile, call.steps);
}

void run(const Call& call) {
  emulator::reset_counts();
  emulator::settings().seed = call.seed;
  emulator::settings().defect = static_cast<emulator::Defect>(call.defect);
  DiffusionLaunch launch;
  launch.source = view(call.image, call.element, call.image_strides);
  launch.output = view(call.output, call.element, call.output_strides);
  // As torch's side does: parameters of the host go through a table on the device.
  std::vector<int32_t> table(3 * call.images), device(3 * call.images);
  std::memcpy(table.data(), call.niter, 4 * call.images);
  std::memcpy(table.data() + call.images, call.kappa, 4 * call.images);
  std::memcpy(table.data() + 2 * call.images, call.gamma, 4 * call.images);
  upload(table.data(), 3 * call.images, device.data(), nullptr);
  launch.niter = {device.data(), Number::int32, 1, 0};
  launch.kappa = {device.data() + call.images, Number::float32, 1, 0};
  launch.gamma = {device.data() + 2 * call.images, Number::float32, 1, 0};
  launch.order = call.order;
  for (int i = 0; i < 3; ++i) launch.inverse_spacing[i] = static_cast<float>(1 / call.spacing[2 - i]);
  launch.images = call.images;
  launch.channels = call.channels;
  launch.coupled_channels = call.coupled_channels;
  launch.depth = call.depth;
  launch.height = call.height;
  launch.width = call.width;
  launch.option = call.option;

  DiffusionPlan chosen = plan(call, emulator::settings().multiprocessors);
  if (chosen.cost < 0) throw std::runtime_error("the tile does not suit the image");
  chosen.largest_grid = call.largest_grid;
  const int64_t iterations = most_iterations(call);
  const int64_t pixels = call.images * call.channels * call.coupled_channels * call.depth * call.height * call.width;
  // On the heap by themselves, so that a sanitizer sees what goes beyond; never read before they are written.
  std::vector<std::vector<float>> states(chosen.states(iterations));
  void* data[2] = {};
  for (std::size_t i = 0; i < states.size(); ++i) {
    states[i].assign(pixels, std::nanf(""));
    data[i] = states[i].data();
  }
  if (run_diffusion(launch, chosen, iterations, data, nullptr) != cudaSuccess) throw std::runtime_error("refused");
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int diffuse(const Call* call, char* error, std::size_t size) {
  try {
    run(*call);
    return 0;
  } catch (const std::exception& caught) {
    std::strncpy(error, caught.what(), size - 1);
    return 1;
  }
}

// Of all blocks of the last call.
uint64_t barriers() {
  return emulator::counts().barriers;
}

// The name of the tile, the iterations of a launch and the tiles of a plane.
const char* planned(const Call* call, int32_t multiprocessors, int32_t shared, int64_t* numbers) {
  const DiffusionPlan chosen = plan(*call, multiprocessors, shared);
  numbers[0] = chosen.steps;
  numbers[1] = chosen.tiles_x;
  numbers[2] = chosen.tiles_y;
  numbers[3] = chosen.swapped;
  numbers[4] = chosen.slices;
  return chosen.tile == DiffusionPlan::kStep ? "step" : tile_shapes()[chosen.tile].name;
}

int tile(int index, const char** name, int32_t* numbers) {
  if (index >= static_cast<int>(tile_shapes().size())) return 0;
  const TileShape& shape = tile_shapes()[index];
  *name = shape.name;
  numbers[0] = shape.channels;
  numbers[1] = shape.height();
  numbers[2] = shape.width();
  numbers[3] = shape.shared;
  return 1;
}
}
#pragma GCC visibility pop
