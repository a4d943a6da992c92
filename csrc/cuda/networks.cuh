// Sorting networks on lists whose lengths the compiler knows. What a result does not need, the compiler leaves out.
#pragma once

#include "cuda/device.cuh"

namespace texfilters {

// In one piece on the GPU, where lists are registers; the emulation would take minutes to compile that.
#if defined(__CUDACC__)
#define TEXFILTERS_NETWORK __device__ __forceinline__
#else
#define TEXFILTERS_NETWORK inline
#endif

// Two whole numbers from 0 to 255, in 16 bits each.
struct Pair {
  uint32_t bits;
};

#if defined(__CUDACC__)
// One instruction each: from compute capability 9.0 on for integers, on 8.x for numbers of 16 bits with a point, whose
// subnormals these whole numbers are.
__device__ __forceinline__ Pair lower(Pair a, Pair b) {
#if __CUDA_ARCH__ >= 800 && __CUDA_ARCH__ < 900
  uint32_t result;
  asm("min.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a.bits), "r"(b.bits));
  return {result};
#else
  return {__vminu2(a.bits, b.bits)};
#endif
}
__device__ __forceinline__ Pair higher(Pair a, Pair b) {
#if __CUDA_ARCH__ >= 800 && __CUDA_ARCH__ < 900
  uint32_t result;
  asm("max.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a.bits), "r"(b.bits));
  return {result};
#else
  return {__vmaxu2(a.bits, b.bits)};
#endif
}
__device__ __forceinline__ Pair lowest(Pair a, Pair b, Pair c) {
#if __CUDA_ARCH__ >= 900
  return {__vimin3_u16x2(a.bits, b.bits, c.bits)};
#else
  return lower(lower(a, b), c);
#endif
}
#else
inline Pair lower(Pair a, Pair b) {
  return {min(a.bits >> 16, b.bits >> 16) << 16 | min(a.bits & 0xffff, b.bits & 0xffff)};
}
inline Pair higher(Pair a, Pair b) {
  return {max(a.bits >> 16, b.bits >> 16) << 16 | max(a.bits & 0xffff, b.bits & 0xffff)};
}
inline Pair lowest(Pair a, Pair b, Pair c) {
  return lower(lower(a, b), c);
}
#endif

__device__ __forceinline__ float lower(float a, float b) {
  return fminf(a, b);
}
__device__ __forceinline__ float higher(float a, float b) {
  return fmaxf(a, b);
}
__device__ __forceinline__ float lowest(float a, float b, float c) {
  return fminf(fminf(a, b), c);
}

template <class V, int N>
struct Sorted {
  static constexpr int kLength = N;
  V at[N > 0 ? N : 1];
};

// Length elements of a list from First on, every Step-th.
template <int First, int Length, int Step = 1, class V, int N>
TEXFILTERS_NETWORK Sorted<V, Length> part(const Sorted<V, N>& a) {
  static_assert(Length <= 0 || First + (Length - 1) * Step < N);
  Sorted<V, Length> result{};  // which may be empty
#pragma unroll
  for (int i = 0; i < Length; ++i) result.at[i] = a.at[First + i * Step];
  return result;
}

// Batcher's odd-even merge, for lists of any two lengths.
template <class V, int N, int M>
TEXFILTERS_NETWORK Sorted<V, N + M> merge(const Sorted<V, N>& a, const Sorted<V, M>& b) {
  if constexpr (N == 0) {
    return b;
  } else if constexpr (M == 0) {
    return a;
  } else if constexpr (N == 1 && M == 1) {
    return {{lower(a.at[0], b.at[0]), higher(a.at[0], b.at[0])}};
  } else {
    const auto even = merge(part<0, (N + 1) / 2, 2>(a), part<0, (M + 1) / 2, 2>(b));
    const auto odd = merge(part<1, N / 2, 2>(a), part<1, M / 2, 2>(b));
    constexpr int kEven = even.kLength - 1, kOdd = odd.kLength, kPairs = kEven < kOdd ? kEven : kOdd;
    Sorted<V, N + M> result;
    result.at[0] = even.at[0];
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      result.at[2 * i + 1] = lower(odd.at[i], even.at[i + 1]);
      result.at[2 * i + 2] = higher(odd.at[i], even.at[i + 1]);
    }
    if constexpr (kEven > kOdd) result.at[N + M - 1] = even.at[kEven];
    if constexpr (kOdd > kEven) result.at[N + M - 1] = odd.at[kOdd - 1];
    return result;
  }
}

// The elements that come out of a merge at the places First..Last, from 0 on. Those of a list that cannot get there are
// not merged at all.
template <int First, int Last, class V, int N, int M>
TEXFILTERS_NETWORK Sorted<V, Last - First + 1> merge_ranks(const Sorted<V, N>& a, const Sorted<V, M>& b) {
  constexpr int kFromA = First > M ? First - M : 0, kFromB = First > N ? First - N : 0;
  constexpr int kToA = Last < N - 1 ? Last : N - 1, kToB = Last < M - 1 ? Last : M - 1;
  const auto merged = merge(part<kFromA, kToA - kFromA + 1>(a), part<kFromB, kToB - kFromB + 1>(b));
  return part<First - kFromA - kFromB, Last - First + 1>(merged);
}

// The median of both lists: the least of what may be the largest element of the lower half.
template <class V, int N>
TEXFILTERS_NETWORK V median(const Sorted<V, N + 1>& a, const Sorted<V, N>& b) {
  V result = a.at[N];
#pragma unroll
  for (int i = 0; i + 1 < N; i += 2)
    result = lowest(result, higher(a.at[i], b.at[N - 1 - i]), higher(a.at[i + 1], b.at[N - 2 - i]));
  if constexpr (N % 2 == 1) result = lower(result, higher(a.at[N - 1], b.at[0]));
  return result;
}

template <int N, class V>
TEXFILTERS_NETWORK Sorted<V, N> sort(const V* elements) {
  if constexpr (N == 1) {
    return {{elements[0]}};
  } else {
    return merge(sort<N / 2>(elements), sort<N - N / 2>(elements + N / 2));
  }
}

}  // namespace texfilters
