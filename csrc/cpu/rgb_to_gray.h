// Luma of a run of pixels. The arithmetic is in rgb_to_gray.simd.h.
#pragma once

#include <array>
#include <cstdint>

#include "cpu/isa.h"

namespace texfilters {

// From three channels, whose pixels lie `step` elements apart.
template <class S>
using GrayRow = void (*)(const std::array<const S*, 3>& rgb, int64_t step, S* gray, int64_t gray_step, int64_t width);

template <class S>
GrayRow<S> gray_kernel(Isa isa);

}  // namespace texfilters
