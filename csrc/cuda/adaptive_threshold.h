// Adaptive threshold on an NVIDIA GPU, without torch.
#pragma once

#include "cuda/filter.h"

namespace texfilters {

struct ThresholdLaunch : FilterLaunch {
  Parameter c;
  const void* weights = nullptr;  // float32 on the device, block_size of them; null: the mean of the window
  int32_t block_size = 3;         // odd, below 2^16
  float max_value = 1;
  bool invert = false;
};

// Returns a cudaError_t.
int run_threshold(ThresholdLaunch launch, void* stream);

}  // namespace texfilters
