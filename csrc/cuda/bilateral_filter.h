// The bilateral filter on an NVIDIA GPU, without torch.
#pragma once

#include "border.h"
#include "cuda/filter.h"

namespace texfilters {

struct BilateralLaunch : FilterLaunch {
  Parameter sigma_color, sigma_space;
  Border border = Border::reflect101;
  int32_t radius = -1;         // of every image, where the host knows it
  int32_t largest_radius = 0;  // whose tile shared memory holds; images with a larger one read from memory
};

// All launches of a call, of which `launch` says everything but largest_radius. Returns a cudaError_t.
int run_bilateral(BilateralLaunch launch, void* stream);

}  // namespace texfilters
