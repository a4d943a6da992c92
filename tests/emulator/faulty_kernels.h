// Kernels that CUDA leaves undefined: the emulator must say what is wrong, and neither hang nor leak.
#pragma once

#include <stdexcept>

#include "cuda_emulator.h"

// Counts the objects that live on the stacks of kernel threads.
struct Guard {
  static inline int alive = 0;
  Guard() { ++alive; }
  ~Guard() { --alive; }
};

__global__ void barrier_in_one_branch() {
  Guard guard;
  if (threadIdx.x == 5) {
    __syncwarp(0b1100000u);  // with lane 6
  } else {
    __syncthreads();
  }
}

__global__ void lane_never_arrives() {
  Guard guard;
  if (threadIdx.x == 3) __syncwarp(1u << 3 | 1u << 4);
  if (threadIdx.x != 3) __shfl_sync(0xffffffffu, 1.0f, 0);
}

__global__ void different_operations() {
  Guard guard;
  if (threadIdx.x % 2 == 0) {
    __shfl_up_sync(0xffffffffu, 1.0f, 1);
  } else {
    __shfl_down_sync(0xffffffffu, 1.0f, 1);
  }
}

__global__ void different_sizes() {
  Guard guard;
  if (threadIdx.x < 4) {
    __shfl_sync(0xffffffffu, 1.0f, 1);
  } else {
    __shfl_sync(0xffffffffu, 1.0, 1);
  }
}

__global__ void different_barriers() {
  Guard guard;
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads_or(1);
  }
}

__global__ void mask_without_itself() {
  Guard guard;
  __syncwarp(1);
}

__global__ void odd_width() {
  Guard guard;
  __shfl_sync(0xffffffffu, 1, 0, 12);
}

__global__ void thrower() {
  Guard guard;
  __syncthreads();
  if (threadIdx.x == 40) throw std::out_of_range("thrown by a kernel");
  __syncthreads();
}
