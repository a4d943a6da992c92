#include "cuda/upload.h"

#include <algorithm>

#include "cuda/device.cuh"

namespace texfilters {
namespace {

// What fits into the parameters of a launch.
struct Words {
  int32_t values[1000];
};

__global__ void write_words(const __grid_constant__ Words words, int32_t* device, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) device[i] = words.values[i];
}

}  // namespace

int upload(const int32_t* words, int64_t count, int32_t* device, void* stream) {
  constexpr int64_t kMost = sizeof(Words::values) / sizeof(int32_t);
  for (int64_t first = 0; first < count; first += kMost) {
    Words chunk;
    const int n = static_cast<int>(std::min(count - first, kMost));
    std::copy_n(words + first, n, chunk.values);
    launch(write_words, dim3(1), dim3(256), 0, static_cast<cudaStream_t>(stream), chunk, device + first, n);
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace texfilters
