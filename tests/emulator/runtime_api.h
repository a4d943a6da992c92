// The part of CUDA's host API that launchers call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <unordered_map>

#include "settings.h"
#include "shared_memory.h"

enum cudaError { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
using cudaError_t = cudaError;

using cudaStream_t = struct CUstream_st*;

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

struct cudaFuncAttributes {
  std::size_t sharedSizeBytes, constSizeBytes, localSizeBytes;
  int maxThreadsPerBlock, numRegs, ptxVersion, binaryVersion, cacheModeCA, maxDynamicSharedSizeBytes;
  int preferredShmemCarveout;
};

enum cudaDeviceAttr {
  cudaDevAttrMaxGridDimX = 5,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};

enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};

namespace emulator {

struct HostState {
  cudaError_t last_error = cudaSuccess;
  std::unordered_map<const void*, std::size_t> dynamic_shared_limits;
};

inline HostState& host_state() {
  static HostState state;
  return state;
}

inline cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) host_state().last_error = error;
  return error;
}

}  // namespace emulator

inline cudaError_t cudaPeekAtLastError() {
  return emulator::host_state().last_error;
}
inline cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  emulator::host_state().last_error = cudaSuccess;
  return error;
}
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid argument";
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<std::size_t>(value) > emulator::kSharedAtMost) {
    return emulator::report(cudaErrorInvalidValue);
  }
  emulator::host_state().dynamic_shared_limits[reinterpret_cast<const void*>(kernel)] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
  *attributes = cudaFuncAttributes();
  return cudaSuccess;
}

inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxGridDimX:
      *value = emulator::settings().largest_grid;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = emulator::settings().multiprocessors;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = emulator::settings().shared + 1024;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = emulator::settings().shared;
      return cudaSuccess;
  }
  return emulator::report(cudaErrorInvalidValue);
}
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int threads, std::size_t) {
  if (threads < 1) return emulator::report(cudaErrorInvalidValue);
  *blocks = std::max(1, 2048 / threads);
  return cudaSuccess;
}

inline cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = emulator::settings().capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
// Every call is done when it returns. CUDA would refuse to wait while a graph is captured.
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return emulator::report(emulator::settings().capturing ? cudaErrorInvalidValue : cudaSuccess);
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind,
                                   cudaStream_t = nullptr) {
  if (size != 0) std::memcpy(to, from, size);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t size, cudaStream_t = nullptr) {
  if (size != 0) std::memset(to, value, size);
  return cudaSuccess;
}
