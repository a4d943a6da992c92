// Includes TEXFILTERS_ISA_FILE once for each instruction set that the machine's family knows, each in a namespace of
// its own, compiled for that set; `isa.h` picks one at run time. Templates that a kernel shares with code outside would
// be merged by the linker and could carry AVX-512 into the plain path, so a kernel file brings all its templates along.

#include "cpu/isa_prelude.h"

#if defined(__clang__)
#define TEXFILTERS_BEGIN_TARGET(SET) \
  _Pragma(TEXFILTERS_STRING(clang attribute push(__attribute__((target(SET))), apply_to = function)))
#define TEXFILTERS_END_TARGET _Pragma("clang attribute pop")
#else
#define TEXFILTERS_BEGIN_TARGET(SET) _Pragma("GCC push_options") _Pragma(TEXFILTERS_STRING(GCC target(SET)))
#define TEXFILTERS_END_TARGET _Pragma("GCC pop_options")
#endif
#define TEXFILTERS_STRING(...) #__VA_ARGS__

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own AVX-512 header starts from undefined vectors on purpose.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__x86_64__)
TEXFILTERS_BEGIN_TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")
#define TEXFILTERS_AVX512
#define TEXFILTERS_VECTOR_BYTES 64
namespace texfilters::avx512 {
namespace {
#include "cpu/simd.h"
#include TEXFILTERS_ISA_FILE
}  // namespace
}  // namespace texfilters::avx512
#undef TEXFILTERS_VECTOR_BYTES
#undef TEXFILTERS_AVX512
TEXFILTERS_END_TARGET

TEXFILTERS_BEGIN_TARGET("avx2,fma,f16c")
#define TEXFILTERS_AVX2
#define TEXFILTERS_VECTOR_BYTES 32
namespace texfilters::avx2 {
namespace {
#include "cpu/simd.h"
#include TEXFILTERS_ISA_FILE
}  // namespace
}  // namespace texfilters::avx2
#undef TEXFILTERS_VECTOR_BYTES
#undef TEXFILTERS_AVX2
TEXFILTERS_END_TARGET
#endif

#define TEXFILTERS_VECTOR_BYTES 16
namespace texfilters::baseline {
namespace {
#include "cpu/simd.h"
#include TEXFILTERS_ISA_FILE
}  // namespace
}  // namespace texfilters::baseline
#undef TEXFILTERS_VECTOR_BYTES

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

// An expression, as the namespace of an instruction set has it.
#if defined(__x86_64__)
#define TEXFILTERS_FOR_ISA(isa, ...) \
  ((isa) == Isa::avx512 ? avx512::__VA_ARGS__ : (isa) == Isa::avx2 ? avx2::__VA_ARGS__ : baseline::__VA_ARGS__)
#else
#define TEXFILTERS_FOR_ISA(isa, ...) (static_cast<void>(isa), baseline::__VA_ARGS__)
#endif
