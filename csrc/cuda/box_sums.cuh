// Sums over square windows of bytes, and what of them decides the adaptive threshold of whole numbers.
#pragma once

#include "cuda/elements.cuh"

namespace texfilters {

// Words around a word that hold the windows of its four pixels.
__host__ __device__ constexpr int words_around(int radius) {
  return (radius + 3) / 4;
}

// Sums along a row of bytes in shared memory over the windows of a word's four pixels, 16 bits each: x of the pixels 0
// and 1, y of 2 and 3. The window of the first, and what the others have more to the right and less to the left.
__device__ __forceinline__ uint2 sums_along_row(const uint32_t* word, int radius) {
  const int around = words_around(radius), last = radius / 4, behind = (radius + 1) / 4, skipped = 4 * around - radius;
  uint32_t sum = __dp4a(word[-around], 0x01010101u << 8 * skipped, 0u);
  for (int i = 1 - around; i < last; ++i) sum = __dp4a(word[i], 0x01010101u, sum);
  sum = __dp4a(word[last], 0x01010101u >> 8 * (3 - radius % 4), sum);
  const uint32_t left = __byte_perm(word[-around], word[1 - around], 0x3210 + 0x1111 * skipped);
  const uint32_t right = __byte_perm(word[behind], word[min(behind + 1, around)], 0x3210 + 0x1111 * ((radius + 1) % 4));
  const uint32_t second = sum + (right & 0xff) - (left & 0xff);
  const uint32_t third = __dp4a(right, 0x0101u, sum) - __dp4a(left, 0x0101u, 0u);
  const uint32_t fourth = __dp4a(right, 0x010101u, sum) - __dp4a(left, 0x010101u, 0u);
  return make_uint2(second << 16 | sum, fourth << 16 | third);
}

// The sums of four pixels over the rows of their windows. Narrow: in 16 bits, which holds up to kRadius.
template <bool kNarrow>
class BoxSums;

template <>
class BoxSums<true> {
 public:
  static constexpr int kRadius = 7;

  __device__ __forceinline__ void add(uint2 row) {
    sums_.x += row.x;
    sums_.y += row.y;
  }
  __device__ __forceinline__ void subtract(uint2 row) {
    sums_.x -= row.x;
    sums_.y -= row.y;
  }
  __device__ __forceinline__ int operator[](int pixel) const {
    const uint32_t two = pixel < 2 ? sums_.x : sums_.y;
    return static_cast<int>(pixel % 2 ? two >> 16 : two & 0xffff);
  }

 private:
  uint2 sums_ = make_uint2(0, 0);
};

template <>
class BoxSums<false> {
 public:
  __device__ __forceinline__ void add(uint2 row) { change(row, 1); }
  __device__ __forceinline__ void subtract(uint2 row) { change(row, -1); }
  __device__ __forceinline__ int operator[](int pixel) const { return sums_[pixel]; }

 private:
  __device__ __forceinline__ void change(uint2 row, int sign) {
    sums_[0] += sign * static_cast<int>(row.x & 0xffff);
    sums_[1] += sign * static_cast<int>(row.x >> 16);
    sums_[2] += sign * static_cast<int>(row.y & 0xffff);
    sums_[3] += sign * static_cast<int>(row.y >> 16);
  }

  int sums_[4] = {};
};

// Whether a value of 8 bits lies above the rounded mean of its window less c: then this is not negative. The window has
// an odd number n of pixels, so that no mean lies halfway, and
//   value > round(sum / n) - c  <=>  sum / n < value + c - 1/2  <=>  sum <= value n + ((2 c - 1) n - 1) / 2.
__device__ __forceinline__ int mean_offset(int c, int n) {
  return ((2 * c - 1) * n - 1) / 2;
}
__device__ __forceinline__ int above_mean(int sum, int value, int n, int offset) {
  return value * n + offset - sum;
}

// 0xff for each of four numbers that is negative, else 0.
__device__ __forceinline__ uint32_t negative(const int (&numbers)[4]) {
#if defined(__CUDACC__)
  uint32_t low, high, all;  // with 8 in its digit, prmt takes a byte's sign
  asm("prmt.b32 %0, %1, %2, 0x00fb;" : "=r"(low) : "r"(numbers[0]), "r"(numbers[1]));
  asm("prmt.b32 %0, %1, %2, 0x00fb;" : "=r"(high) : "r"(numbers[2]), "r"(numbers[3]));
  asm("prmt.b32 %0, %1, %2, 0x5410;" : "=r"(all) : "r"(low), "r"(high));
  return all;
#else
  uint32_t all = 0;
  for (int i = 0; i < 4; ++i) all |= numbers[i] < 0 ? 0xffu << 8 * i : 0;
  return all;
#endif
}

// c as a whole number; more than 300 are as good as 300, and by NaN nothing passes.
__device__ inline int whole_c(double c, bool invert) {
  constexpr double kMost = 300;
  if (c != c) c = invert ? kMost : -kMost;
  return static_cast<int>(fmin(fmax(invert ? floor(c) : ceil(c), -kMost), kMost));
}

}  // namespace texfilters
