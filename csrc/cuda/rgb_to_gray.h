// Luma on an NVIDIA GPU, without torch.
#pragma once

#include "cuda/filter.h"

namespace texfilters {

// Images of 3 channels to images of one; `channels` counts nothing here. Returns a cudaError_t.
int run_gray(FilterLaunch launch, void* stream);

}  // namespace texfilters
