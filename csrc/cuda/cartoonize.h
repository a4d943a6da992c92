// The cartoon on an NVIDIA GPU, without torch.
#pragma once

#include "cuda/bilateral_filter.h"

namespace texfilters {

// RGB images. `source` is where the colors come from; after the first pass this is no longer the original.
struct CartoonLaunch : BilateralLaunch {
  View original;
  Parameter c;
  int64_t passes = 1;
  int32_t ksize = 7, block_size = 9;  // odd, below 2^16
};

// Planes in memory that an image takes beside the output, in the image's dtype.
int64_t cartoon_planes(const CartoonLaunch& launch);

// All launches of a call, as many images together as `scratch` has cartoon_planes for. `launch` says everything but
// original and largest_radius. Returns a cudaError_t.
int run_cartoon(CartoonLaunch launch, void* scratch, int64_t together, void* stream);

}  // namespace texfilters
