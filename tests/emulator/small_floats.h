// float16 and bfloat16 as bits: rounded half to even, NaN kept.
#pragma once

#include <cstdint>
#include <cstring>

namespace emulator {

inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ffu;
  std::uint32_t bits = 0;
  if (exponent == 31) {
    bits = 0x7f800000u | fraction << 13;
  } else if (exponent != 0) {
    bits = (exponent + 112) << 23 | fraction << 13;
  } else {
    const float subnormal = static_cast<float>(fraction) * 0x1p-24f;  // exact
    std::memcpy(&bits, &subnormal, 4);
  }
  bits |= sign;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline std::uint16_t float_to_half(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const std::uint32_t sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return 0x7fff;  // the NaN that the device gives
  std::uint32_t half = 0;
  if (bits >= 0x477ff000u) {  // 65520 and more round to infinity
    half = 0x7c00;
  } else if (bits >= 0x38800000u) {  // normal
    half = (bits - 0x38000000u + 0xfffu + (bits >> 13 & 1)) >> 13;
  } else {
    // Added to 0.5, a subnormal's last bit falls on the last bit of the sum, and the addition rounds half to even.
    float magnitude;
    std::memcpy(&magnitude, &bits, 4);
    magnitude += 0.5f;
    std::memcpy(&half, &magnitude, 4);
    half -= 0x3f000000u;
  }
  return static_cast<std::uint16_t>(sign | half);
}

inline float bfloat16_to_float(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline std::uint16_t float_to_bfloat16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

}  // namespace emulator
