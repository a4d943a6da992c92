// Patch negatives on an NVIDIA GPU, without torch.
#pragma once

#include "cuda/filter.h"

namespace texfilters {

// Whole numbers in device memory, int32 or int64.
struct Numbers {
  const void* data = nullptr;
  bool wide = false;  // int64
  int64_t strides[4] = {};
};

struct PatchLaunch : FilterLaunch {
  Numbers patch_size, places;  // [images, results], [images, results, cells, 2]
  int64_t results = 1, cells = 1;
  int64_t output_result = 0;  // stride
};

// Returns a cudaError_t.
int run_patches(PatchLaunch launch, void* stream);

}  // namespace texfilters
