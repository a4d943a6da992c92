#include "cpu/rows.h"

#define TEXFILTERS_ISA_FILE "cpu/rows.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {

template <class S, class T>
RowKernels<S, T> row_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return {avx512::read_row<S, T>, avx512::write_row<S, T>};
  if (isa == Isa::avx2) return {avx2::read_row<S, T>, avx2::write_row<S, T>};
#endif
  return {baseline::read_row<S, T>, baseline::write_row<S, T>};
}
template RowKernels<uint8_t, uint8_t> row_kernels(Isa);
template RowKernels<uint8_t, float> row_kernels(Isa);
template RowKernels<c10::Half, float> row_kernels(Isa);
template RowKernels<c10::BFloat16, float> row_kernels(Isa);
template RowKernels<float, float> row_kernels(Isa);
template RowKernels<double, double> row_kernels(Isa);

}  // namespace texfilters
