// Median filter on an NVIDIA GPU, without torch.
#pragma once

#include "cuda/filter.h"

namespace texfilters {

struct MedianLaunch : FilterLaunch {
  int64_t ksize = 1;  // odd, below 2^16
};

// Returns a cudaError_t.
int run_median(MedianLaunch launch, void* stream);

}  // namespace texfilters
