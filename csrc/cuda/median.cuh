// Medians of windows out of shared memory: networks for small windows, and for all others a search bit by bit.
#pragma once

#include "cuda/elements.cuh"
#include "cuda/networks.cuh"

namespace texfilters {

constexpr int kMedianColumns = 4;  // of the pixels that a thread finds the medians of

// Of 2 x 4 windows that lie side by side, in p. What windows share is sorted once: first the columns of the rows that
// both rows of windows have, then these columns together for every two windows; what a window has alone comes last, a
// column and a row. Of the elements sorted so far only those are kept which may still become the median.
//
//        x  x+K          K = 3: every two windows, x and x + 1, share the columns ==,
//     0  a ----- b  row  each has one of its own, c or d, and both are finished twice:
//        c ===== d       with the row above, of a or b, and with the one below.
//        c ===== d
//     K  a ----- b  row
template <int K, class V>
TEXFILTERS_NETWORK void find_medians(const V (&p)[K + 1][K + 3], V (&medians)[2][kMedianColumns]) {
  constexpr int kMiddle = K * K / 2, kCore = (K - 1) * (K - 1);
  constexpr int kFirst = kMiddle > 2 * K - 1 ? kMiddle - (2 * K - 1) : 0;  // with a column and a row to come
  constexpr int kLast = kMiddle < kCore - 1 ? kMiddle : kCore - 1;
  static_assert(K == 3 || K == 5 || K == 7);

  Sorted<V, K - 1> columns[K + 3];
#pragma unroll
  for (int x = 0; x < K + 3; ++x) {
    V column[K - 1];
#pragma unroll
    for (int y = 0; y < K - 1; ++y) column[y] = p[y + 1][x];
    columns[x] = sort<K - 1>(column);
  }
  Sorted<V, 2 * (K - 1)> pairs[(K + 1) / 2];
#pragma unroll
  for (int i = 0; i < (K + 1) / 2; ++i) pairs[i] = merge(columns[2 * i + 1], columns[2 * i + 2]);

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Sorted<V, kLast - kFirst + 1> core;
    if constexpr (K == 3) core = pairs[half];
    if constexpr (K == 5) core = merge_ranks<kFirst, kLast>(pairs[half], pairs[half + 1]);
    if constexpr (K == 7) core = merge_ranks<kFirst, kLast>(merge(pairs[1], pairs[2]), pairs[3 * half]);
    const int x = 2 * half;
    const auto left = merge_ranks<kMiddle - K - kFirst, kMiddle - kFirst>(core, columns[x]);
    const auto right = merge_ranks<kMiddle - K - kFirst, kMiddle - kFirst>(core, columns[x + K]);
#pragma unroll
    for (int y = 0; y < 2; ++y) {
      const auto row = sort<K - 1>(p[y * K] + x + 1);
      medians[y][x] = median(left, merge(row, Sorted<V, 1>{{p[y * K][x]}}));
      medians[y][x + 1] = median(right, merge(row, Sorted<V, 1>{{p[y * K][x + K]}}));
    }
  }
}

// Byte `column` of two words as a pair. The second copy of each, above it, keeps their order.
__device__ __forceinline__ Pair pair_of(uint32_t a, uint32_t b, int column) {
  const uint32_t twice = __byte_perm(a, b, 0x4400 + 0x1111 * column);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  return {twice};
#else
  return {twice & 0x00ff00ff};
#endif
}

// The medians of 4 x 4 pixels of bytes in shared memory. `words` points to the first four; around them the memory must
// hold K / 2 more rows above and below and a word left and right; rows lie `pitch` words apart.
template <int K>
__device__ __forceinline__ void medians_of_block(const uint32_t* words, int pitch, uint32_t (&rows)[4]) {
  constexpr int kRadius = K / 2;
  uint32_t raw[K + 3][3];
#pragma unroll
  for (int y = 0; y < K + 3; ++y) {
#pragma unroll
    for (int i = 0; i < 3; ++i) raw[y][i] = words[(y - kRadius) * pitch + i - 1];
  }
  // Rows 0 and 2 are computed together, and so are 1 and 3.
  Pair p[K + 1][K + 3], m[2][kMedianColumns];
#pragma unroll
  for (int y = 0; y < K + 1; ++y) {
#pragma unroll
    for (int i = 0; i < K + 3; ++i) {
      const int x = 4 - kRadius + i;
      p[y][i] = pair_of(raw[y][x / 4], raw[y + 2][x / 4], x % 4);
    }
  }
  find_medians<K>(p, m);
#pragma unroll
  for (int y = 0; y < 2; ++y) {
    const uint32_t left = __byte_perm(m[y][0].bits, m[y][1].bits, 0x6240);  // both of row y, both of row y + 2
    const uint32_t right = __byte_perm(m[y][2].bits, m[y][3].bits, 0x6240);
    rows[y] = __byte_perm(left, right, 0x5410);
    rows[y + 2] = __byte_perm(left, right, 0x7632);
  }
}

// The medians of 2 x 4 numbers in shared memory, which must be aligned to four of them. None may be NaN.
template <int K>
__device__ __forceinline__ void medians_of_block(const float* pixels, int pitch, float (&medians)[2][kMedianColumns]) {
  constexpr int kRadius = K / 2;
  float p[K + 1][K + 3];
#pragma unroll
  for (int y = 0; y < K + 1; ++y) {
    float row[12];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const float4 four = *reinterpret_cast<const float4*>(pixels + (y - kRadius) * pitch + 4 * (i - 1));
      row[4 * i] = four.x;
      row[4 * i + 1] = four.y;
      row[4 * i + 2] = four.z;
      row[4 * i + 3] = four.w;
    }
#pragma unroll
    for (int i = 0; i < K + 3; ++i) p[y][i] = row[4 - kRadius + i];
  }
  find_medians<K>(p, medians);
}

// Numbers as unsigned integers in the same order; NaN comes last.
constexpr uint32_t kNanKey = 0xffffffff;
__device__ __forceinline__ uint32_t key_of(uint8_t x) {
  return x;
}
__device__ __forceinline__ uint32_t key_of(float x) {
  const uint32_t bits = __float_as_uint(x);
  return x != x ? kNanKey : bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ uint8_t from_key(uint8_t, uint32_t key) {
  return static_cast<uint8_t>(key);
}
__device__ __forceinline__ float from_key(float, uint32_t key) {
  return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}

// The pixels first..last of an axis, the outermost ones several times more: a window that may go beyond the border.
template <class I>
struct Reach {
  I first, last;
  uint32_t more_first, more_last;

  // What lies within a radius of `at`, beyond the border the nearest pixel.
  static __device__ __forceinline__ Reach around(I at, I radius, I size) {
    const I first = max(at - radius, I{0}), last = min(at + radius, size - 1);
    return {first, last, static_cast<uint32_t>(first - (at - radius)), static_cast<uint32_t>(at + radius - last)};
  }
};

// The median of `count` values, an odd number below 2^32: value(y, x) over a window. Bit by bit, the largest key that
// no more than half of the others lie below. NaN if there is one.
template <class T, class I, class F>
__device__ __forceinline__ T find_median(const Reach<I>& rows, const Reach<I>& columns, uint32_t count,
                                         const F& value) {
  const auto below = [&](uint32_t key) {
    uint32_t found = 0;
    for (I y = rows.first; y <= rows.last; ++y) {
      uint32_t in_row = 0;
      for (I x = columns.first; x <= columns.last; ++x) in_row += key_of(value(y, x)) < key;
      if (columns.more_first != 0) in_row += columns.more_first * (key_of(value(y, columns.first)) < key);
      if (columns.more_last != 0) in_row += columns.more_last * (key_of(value(y, columns.last)) < key);
      const uint32_t times = 1 + (y == rows.first ? rows.more_first : 0) + (y == rows.last ? rows.more_last : 0);
      found += times * in_row;
    }
    return found;
  };
  uint32_t median = 0;
  if (sizeof(T) == sizeof(float) && below(kNanKey) < count) return from_key(T{}, kNanKey);
#pragma unroll 1
  for (uint32_t bit = sizeof(T) == 1 ? 1u << 7 : 1u << 31; bit != 0; bit >>= 1) {
    if (below(median | bit) <= count / 2) median |= bit;
  }
  return from_key(T{}, median);
}

// The median of the ksize x ksize window whose first pixel `window` is, in shared memory, with `pitch` pixels from row
// to row.
template <class T>
__device__ __forceinline__ T median_of_window(const T* window, int pitch, int ksize) {
  const Reach<int> all{0, ksize - 1, 0, 0};
  return find_median<T>(all, all, static_cast<uint32_t>(ksize) * ksize,
                        [&](int y, int x) { return window[y * pitch + x]; });
}

// Whether that window holds NaN.
__device__ __forceinline__ bool has_nan(const float* window, int pitch, int ksize) {
  bool found = false;
  for (int y = 0; y < ksize; ++y) {
    for (int x = 0; x < ksize; ++x) found |= window[y * pitch + x] != window[y * pitch + x];
  }
  return found;
}

}  // namespace texfilters
