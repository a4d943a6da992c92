// Rows of an image in its own type, read and written by the instruction set that runs.
#pragma once

#include <cstdint>

#include "cpu/isa.h"

namespace texfilters {

// For images of type S computed in T; pixels of the image lie `step` apart.
template <class S, class T>
struct RowKernels {
  void (*read)(const S* source, int64_t step, T* row, int64_t width);
  void (*write)(const T* row, S* target, int64_t step, int64_t width);
};

template <class S, class T>
RowKernels<S, T> row_kernels(Isa isa);

}  // namespace texfilters
