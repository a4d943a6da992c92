// Kernels small enough that what they must give is plain.
#pragma once

#include "cuda_emulator.h"

constexpr unsigned kAll = 0xffffffffu;

template <class T>
__global__ void shuffles(T* out, int argument, int width, unsigned scale) {
  const unsigned lane = threadIdx.x % warpSize, lanes = blockDim.x;
  const T value = static_cast<T>(threadIdx.x * scale + 1);
  T* mine = out + threadIdx.x;
  mine[0 * lanes] = __shfl_sync(kAll, value, argument + static_cast<int>(lane), width);
  mine[1 * lanes] = __shfl_up_sync(kAll, value, static_cast<unsigned>(argument), width);
  mine[2 * lanes] = __shfl_down_sync(kAll, value, static_cast<unsigned>(argument), width);
  mine[3 * lanes] = __shfl_xor_sync(kAll, value, argument, width);
}

// Six results a thread: ballot, any and all of its warp; or, and, count of the block.
__global__ void votes(int* out, unsigned yes, unsigned mask) {
  const unsigned lane = threadIdx.x % warpSize;
  const int vote = static_cast<int>(yes >> lane & 1);
  if ((mask >> lane & 1) != 0) {
    out[threadIdx.x * 6 + 0] = static_cast<int>(__ballot_sync(mask, vote));
    out[threadIdx.x * 6 + 1] = __any_sync(mask, vote);
    out[threadIdx.x * 6 + 2] = __all_sync(mask, vote);
  }
  out[threadIdx.x * 6 + 3] = __syncthreads_or(vote);
  out[threadIdx.x * 6 + 4] = __syncthreads_and(vote);
  out[threadIdx.x * 6 + 5] = __syncthreads_count(vote);
}

// Sums a block's numbers through dynamic shared memory, as every textbook does.
__global__ void __launch_bounds__(1024) reduce(const float* __restrict__ in, float* __restrict__ out, int rounds) {
  float* shared = reinterpret_cast<float*>(emulator::dynamic_shared());
  for (int round = 0; round < rounds; ++round) {
    __syncthreads();  // for the reads of the round before
    shared[threadIdx.x] = __ldg(in + blockIdx.x * blockDim.x + threadIdx.x);
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
      __syncthreads();
    }
    if (threadIdx.x == round % blockDim.x) out[blockIdx.x] = shared[0];
  }
}

// The same by shuffles, then one float a warp.
__global__ void reduce_warps(const float* in, float* out) {
  TEXFILTERS_SHARED(float, sums, 32);
  float sum = in[blockIdx.x * blockDim.x + threadIdx.x];
  for (unsigned delta = 16; delta > 0; delta /= 2) sum += __shfl_down_sync(kAll, sum, delta);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) total += sums[warp];
    out[blockIdx.x] = total;
  }
}

__global__ void read_unwritten(float* out, unsigned char* alignment) {
  TEXFILTERS_SHARED(float, numbers, 5);
  static_assert(sizeof(numbers) == 5 * sizeof(float));
  out[threadIdx.x] = numbers[threadIdx.x % 5] + 1;
  out[blockDim.x + threadIdx.x] = reinterpret_cast<float*>(emulator::dynamic_shared())[threadIdx.x] + 1;
  *alignment = reinterpret_cast<std::uintptr_t>(emulator::dynamic_shared()) % 128;
  // What a block leaves behind must not be what the next one finds.
  __syncthreads();
  numbers[threadIdx.x % 5] = 0;
  reinterpret_cast<float*>(emulator::dynamic_shared())[threadIdx.x] = 0;
}

__global__ void overrun(int floats) {
  reinterpret_cast<float*>(emulator::dynamic_shared())[floats] = 0;
}

__global__ void overrun_array(int at) {
  TEXFILTERS_SHARED(float, numbers, 5);
  float* first = numbers;  // UBSan would stop the subscript before AddressSanitizer can
  first[at] = 0;
}

__global__ void overflow_of_static() {
  TEXFILTERS_SHARED(float, numbers, 12289);
  numbers[0] = 0;
}

// Most threads end early, some while the others wait already.
__global__ void leave_early(int* out, unsigned stay) {
  if (threadIdx.x >= stay) return;
  const int votes = static_cast<int>(__ballot_sync(kAll, 1));
  out[threadIdx.x] = votes + 64 * __syncthreads_count(1) + 8192 * __syncthreads_and(1);
}

// Lane 1 first meets lane 0, then lane 2, who may have come earlier.
__global__ void overlapping_masks(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  if (lane < 2) out[lane] = __shfl_xor_sync(0b011u, lane, 1);
  if (lane == 1 || lane == 2) out[lane + 1] = __shfl_xor_sync(0b110u, lane, 3);
}

// Every thread appends its number at each of eight steps.
__global__ void log_order(int* log, int* size) {
  for (int step = 0; step < 8; ++step) {
    log[(*size)++] = static_cast<int>(threadIdx.x);
    __syncwarp();
  }
}

__global__ void log_blocks(int* log, int* size) {
  log[(*size)++] = static_cast<int>(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
}

struct Parameters {
  int numbers[4];
};

__global__ void change_parameters(const __grid_constant__ Parameters in, Parameters mine, int* out) {
  alignas(64) volatile int local = 0;
  mine.numbers[0] += 1;
  __syncthreads();
  out[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)] =
      in.numbers[0] + mine.numbers[0] + local + (reinterpret_cast<std::uintptr_t>(&local) % 64 != 0 ? 1000 : 0);
}

struct Large {
  unsigned char bytes[32768];
};
__global__ void large_parameter(Large) {}
__global__ void nothing() {}
