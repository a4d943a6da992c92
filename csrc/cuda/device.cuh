// What nvcc and the emulation of the tests say differently; the kernels are written on top of it.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "cuda_emulator.h"
#endif

namespace texfilters {

constexpr int kLanes = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

#if defined(__CUDACC__)

template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char shared[];
  return reinterpret_cast<T*>(shared);
}

// Tells the compiler that a pointer out of a struct does not point to shared memory.
template <class T>
__device__ __forceinline__ T* global(T* pointer) {
  __builtin_assume(__isGlobal(pointer));
  return pointer;
}

// The special-function unit as it is, relative error 2^-22; the accurate functions around it cost up to 8 instructions.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// sum + |a0 - b0| + |a1 - b1| + |a2 - b2| + |a3 - b3| of the bytes.
__device__ __forceinline__ unsigned sum_of_differences(unsigned a, unsigned b, unsigned sum) {
  unsigned result;
  asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
}

__device__ __forceinline__ float half_to_float(uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
__device__ __forceinline__ uint16_t float_to_half(float x) {
  return __half_as_ushort(__float2half_rn(x));
}
__device__ __forceinline__ float bfloat16_to_float(uint16_t bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}
__device__ __forceinline__ uint16_t float_to_bfloat16(float x) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, cudaStream_t stream,
            const A&... arguments) {
  kernel<<<grid, block, shared, stream>>>(arguments...);
}

#else

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulator::dynamic_shared());
}

template <class T>
T* global(T* pointer) {
  return pointer;
}

inline float flush(float x) {
  return std::fabs(x) < 1.17549435e-38f ? 0 : x;
}
inline float exp2_approx(float x) {
  return flush(std::exp2(flush(x)));
}
inline float reciprocal_approx(float x) {
  return flush(1 / flush(x));
}

inline unsigned sum_of_differences(unsigned a, unsigned b, unsigned sum) {
  for (int shift = 0; shift < 32; shift += 8) {
    const unsigned x = a >> shift & 0xffu, y = b >> shift & 0xffu;
    sum += x < y ? y - x : x - y;
  }
  return sum;
}

using emulator::bfloat16_to_float;
using emulator::float_to_bfloat16;
using emulator::float_to_half;
using emulator::half_to_float;

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, cudaStream_t, const A&... arguments) {
  emulator::launch(kernel, grid, block, shared, arguments...);
}

#endif

}  // namespace texfilters
