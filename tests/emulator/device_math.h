// The intrinsics of CUDA's arithmetic. Build with -ffp-contract=off: those that round each step must not be fused.
#pragma once

#include <climits>
#include <cmath>
#include <cstdint>

#include "device_functions.h"

inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}
inline float __fsqrt_rn(float a) {
  return std::sqrt(a);
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float __saturatef(float a) {
  return a > 0 ? (a < 1 ? a : 1) : 0;
}  // NaN gives 0

// glibc has it from 2.42 on.
#if !defined(__GLIBC__) || !__GLIBC_PREREQ(2, 42)
inline float rsqrtf(float a) {
  return 1 / std::sqrt(a);
}
#endif

inline unsigned __float_as_uint(float a) {
  return emulator::bits_as<unsigned>(a);
}
inline float __uint_as_float(unsigned a) {
  return emulator::bits_as<float>(a);
}
inline int __float_as_int(float a) {
  return emulator::bits_as<int>(a);
}
inline float __int_as_float(int a) {
  return emulator::bits_as<float>(a);
}
inline float __int2float_rn(int a) {
  return static_cast<float>(a);
}
inline float __uint2float_rn(unsigned a) {
  return static_cast<float>(a);
}

// Half to even, saturated; NaN gives 0.
inline int __float2int_rn(float a) {
  if (a >= 2147483648.0f) return INT_MAX;
  if (a <= -2147483648.0f) return INT_MIN;
  return a == a ? static_cast<int>(std::nearbyint(a)) : 0;
}
inline unsigned __float2uint_rn(float a) {
  if (a >= 4294967296.0f) return UINT_MAX;
  return a > 0 ? static_cast<unsigned>(std::nearbyint(a)) : 0;
}

inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const std::uint64_t both = std::uint64_t{b} << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(both >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
  for (int i = 0; i < 32; i += 8) c += (a >> i & 0xff) * (b >> i & 0xff);
  return c;
}

template <class T>
T __ldg(const T* address) {
  return *address;
}

inline int __popc(unsigned a) {
  return __builtin_popcount(a);
}
inline int __popcll(unsigned long long a) {
  return __builtin_popcountll(a);
}
inline int __clz(int a) {
  return a == 0 ? 32 : __builtin_clz(static_cast<unsigned>(a));
}
inline int __clzll(long long a) {
  return a == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(a));
}
inline int __ffs(int a) {
  return __builtin_ffs(a);
}
inline int __ffsll(long long a) {
  return __builtin_ffsll(a);
}

// As in CUDA's device code: a mixture of signed and unsigned is compared unsigned, and NaN loses against a number.
#define TEXFILTERS_EMULATOR_MIN_MAX(type, left, right)                                                \
  inline type min(left a, right b) {                                                                  \
    return static_cast<type>(b) < static_cast<type>(a) ? static_cast<type>(b) : static_cast<type>(a); \
  }                                                                                                   \
  inline type max(left a, right b) {                                                                  \
    return static_cast<type>(a) < static_cast<type>(b) ? static_cast<type>(b) : static_cast<type>(a); \
  }
TEXFILTERS_EMULATOR_MIN_MAX(int, int, int)
TEXFILTERS_EMULATOR_MIN_MAX(unsigned, unsigned, unsigned)
TEXFILTERS_EMULATOR_MIN_MAX(unsigned, int, unsigned)
TEXFILTERS_EMULATOR_MIN_MAX(unsigned, unsigned, int)
TEXFILTERS_EMULATOR_MIN_MAX(long, long, long)
TEXFILTERS_EMULATOR_MIN_MAX(unsigned long, unsigned long, unsigned long)
TEXFILTERS_EMULATOR_MIN_MAX(unsigned long, long, unsigned long)
TEXFILTERS_EMULATOR_MIN_MAX(unsigned long, unsigned long, long)
TEXFILTERS_EMULATOR_MIN_MAX(long long, long long, long long)
TEXFILTERS_EMULATOR_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
#undef TEXFILTERS_EMULATOR_MIN_MAX
inline float min(float a, float b) {
  return __builtin_fminf(a, b);
}
inline float max(float a, float b) {
  return __builtin_fmaxf(a, b);
}
inline double min(double a, double b) {
  return __builtin_fmin(a, b);
}
inline double max(double a, double b) {
  return __builtin_fmax(a, b);
}
inline double min(float a, double b) {
  return __builtin_fmin(a, b);
}
inline double max(float a, double b) {
  return __builtin_fmax(a, b);
}
inline double min(double a, float b) {
  return __builtin_fmin(a, b);
}
inline double max(double a, float b) {
  return __builtin_fmax(a, b);
}
