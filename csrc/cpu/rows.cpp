#include "cpu/rows.h"

#define TEXFILTERS_ISA_FILE "cpu/rows.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {

template <class S, class T>
RowKernels<S, T> row_kernels(Isa isa) {
  return {TEXFILTERS_FOR_ISA(isa, read_row<S, T>), TEXFILTERS_FOR_ISA(isa, write_row<S, T>)};
}
template RowKernels<uint8_t, uint8_t> row_kernels(Isa);
template RowKernels<uint8_t, float> row_kernels(Isa);
template RowKernels<c10::Half, float> row_kernels(Isa);
template RowKernels<c10::BFloat16, float> row_kernels(Isa);
template RowKernels<float, float> row_kernels(Isa);
template RowKernels<double, double> row_kernels(Isa);

}  // namespace texfilters
