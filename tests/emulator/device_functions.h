// What CUDA offers to the code of a kernel, under CUDA's names.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "barriers.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))

// An array of the block; with nvcc, `__shared__ type name[count]`.
#define TEXFILTERS_SHARED(type, name, count)      \
  static const char texfilters_key_of_##name = 0; \
  type(&name)[count] = emulator::static_shared<type[count]>(&texfilters_key_of_##name)

namespace emulator {

inline unsigned char* dynamic_shared() {
  return scheduler().memory().dynamic();
}

template <class Array>
Array& static_shared(const void* key) {
  static_assert(alignof(Array) <= kSharedAlignment);
  return *static_cast<Array*>(scheduler().memory().array(key, sizeof(Array)));
}

template <class To, class From>
To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

enum class Direction { index, up, down, exclusive_or };

// Apart, like other errors, to keep their strings out of the frames of code that runs often.
[[noreturn]] inline __attribute__((noinline)) void refuse_width(int width) {
  throw std::runtime_error("the width of a shuffle must be a power of two from 1 to 32, got " + std::to_string(width));
}

// The source lane as PTX's shfl computes it; a lane whose source lies beyond its group reads itself.
inline unsigned source_lane(Direction direction, unsigned lane, unsigned argument, int width) {
  if (width < 1 || width > warpSize || (width & (width - 1)) != 0) refuse_width(width);
  const unsigned inside = static_cast<unsigned>(width) - 1, first = lane & ~inside, last = first + inside;
  const unsigned too_far = settings().defect == Defect::wrong_neighbor ? 1 : 0;
  argument %= warpSize;
  unsigned source = 0;
  switch (direction) {
    case Direction::index:
      return first | (argument & inside);
    case Direction::exclusive_or:
      source = lane ^ argument;
      break;
    case Direction::down:
      source = lane + argument + too_far;
      break;
    case Direction::up:
      return lane < first + argument + too_far ? lane : lane - argument - too_far;
  }
  return source <= last ? source : lane;
}

template <class T>
T shuffle(Direction direction, unsigned mask, T value, unsigned argument, int width) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles move 4 or 8 bytes");
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Operation kOperations[4][2] = {{Operation::shuffle4, Operation::shuffle8},
                                           {Operation::up4, Operation::up8},
                                           {Operation::down4, Operation::down8},
                                           {Operation::xor4, Operation::xor8}};
  const Operation operation = kOperations[static_cast<int>(direction)][sizeof(T) == 8];
  const unsigned source = source_lane(direction, scheduler().self().lane, argument, width);
  return bits_as<T>(static_cast<Bits>(scheduler().meet(operation, mask, bits_as<Bits>(value), source)));
}

}  // namespace emulator

inline void __syncthreads() {
  emulator::scheduler().barrier(emulator::Barrier::plain, false);
}
inline int __syncthreads_or(int predicate) {
  return emulator::scheduler().barrier(emulator::Barrier::any, predicate != 0);
}
inline int __syncthreads_and(int predicate) {
  return emulator::scheduler().barrier(emulator::Barrier::all, predicate != 0);
}
inline int __syncthreads_count(int predicate) {
  return emulator::scheduler().barrier(emulator::Barrier::count, predicate != 0);
}
inline void __syncwarp(unsigned mask = ~0u) {
  emulator::scheduler().meet(emulator::Operation::syncwarp, mask, 0, 0);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return static_cast<unsigned>(emulator::scheduler().meet(emulator::Operation::ballot, mask, predicate != 0, 0));
}
inline int __any_sync(unsigned mask, int predicate) {
  return static_cast<int>(emulator::scheduler().meet(emulator::Operation::any, mask, predicate != 0, 0));
}
inline int __all_sync(unsigned mask, int predicate) {
  return static_cast<int>(emulator::scheduler().meet(emulator::Operation::all, mask, predicate != 0, 0));
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize) {
  return emulator::shuffle(emulator::Direction::index, mask, value, static_cast<unsigned>(lane), width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
  return emulator::shuffle(emulator::Direction::up, mask, value, delta, width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
  return emulator::shuffle(emulator::Direction::down, mask, value, delta, width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize) {
  return emulator::shuffle(emulator::Direction::exclusive_or, mask, value, static_cast<unsigned>(lane_mask), width);
}

inline void __threadfence() {}
inline void __threadfence_block() {}
