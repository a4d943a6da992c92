// What a test sets before a launch and reads after it.
#pragma once

#include <cstdint>

namespace emulator {

// Faults of the emulated device, for tests of the tests: a kernel's test must fail under each that concerns the kernel.
enum class Defect {
  none,
  missing_barrier,  // __syncthreads() and its kin let threads pass
  wrong_neighbor,   // __shfl_up_sync and __shfl_down_sync read one lane too far
};

struct Settings {
  std::uint64_t seed = 0;  // of the schedule: every launch starts anew from it
  int multiprocessors = 4;
  int shared = 227 << 10;         // bytes of shared memory that a block may have
  int largest_grid = 2147483647;  // blocks
  bool capturing = false;         // a CUDA graph
  Defect defect = Defect::none;
};

inline Settings& settings() {
  static Settings settings;
  return settings;
}

struct Counts {
  std::uint64_t launches = 0;
  std::uint64_t barriers = 0;  // met by a block, whatever its number of threads
  std::uint64_t shuffles = 0;  // met by a warp, as a profiler counts instructions
  std::uint64_t blocks = 0;
  std::uint64_t threads = 0;
};

inline Counts& counts() {
  static Counts counts;
  return counts;
}

inline void reset_counts() {
  counts() = Counts();
}

// A small generator: schedules must be the same with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {  // splitmix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t limit) { return operator()() % limit; }

 private:
  std::uint64_t state_;
};

}  // namespace emulator
