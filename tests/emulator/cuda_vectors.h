// CUDA's small vectors.
#pragma once

#include <string>

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

#define TEXFILTERS_EMULATOR_VECTORS(scalar, name)                         \
  struct __attribute__((aligned(2 * sizeof(scalar)))) name##2 {           \
    scalar x, y;                                                          \
  };                                                                      \
  struct __attribute__((aligned(4 * sizeof(scalar)))) name##4 {           \
    scalar x, y, z, w;                                                    \
  };                                                                      \
  inline name##2 make_##name##2(scalar x, scalar y) {                     \
    return {x, y};                                                        \
  }                                                                       \
  inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { \
    return {x, y, z, w};                                                  \
  }
TEXFILTERS_EMULATOR_VECTORS(float, float)
TEXFILTERS_EMULATOR_VECTORS(int, int)
TEXFILTERS_EMULATOR_VECTORS(unsigned, uint)
TEXFILTERS_EMULATOR_VECTORS(unsigned short, ushort)
TEXFILTERS_EMULATOR_VECTORS(unsigned char, uchar)
#undef TEXFILTERS_EMULATOR_VECTORS

// Of the thread that runs: set whenever the scheduler switches, so that reading them costs no more than a variable.
inline uint3 threadIdx{0, 0, 0};
inline uint3 blockIdx{0, 0, 0};
inline dim3 blockDim;
inline dim3 gridDim;
constexpr int warpSize = 32;

namespace emulator {

inline std::string to_text(uint3 v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

}  // namespace emulator
