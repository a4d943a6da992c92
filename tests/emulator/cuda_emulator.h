// CUDA on the CPU, for tests: kernel sources compile under g++ unchanged, with this header in place of CUDA's, and
// `emulator::launch` runs them block by block.
//
// Each CUDA thread is a fiber. Which one runs next is drawn from `emulator::settings().seed`, so that a result which
// needs a barrier that is not there comes out wrong for most seeds. Shared memory starts as NaN and has its exact size
// on the heap. Deadlocks, warp operations that do not match and launches that CUDA would refuse throw.
//
// Not seen: races in which both orders give the same bits, relaxed memory, real rounding of approximate instructions,
// occupancy, and threads that spin without a barrier, which hang. One host thread at a time may launch.
#pragma once

#include "cuda_vectors.h"      // dim3, threadIdx, float4
#include "device_functions.h"  // __global__, barriers, shuffles, shared memory
#include "device_math.h"       // intrinsics, min, max
#include "launch.h"            // emulator::launch
#include "runtime_api.h"       // cudaGetLastError and the like
#include "settings.h"          // emulator::settings, emulator::counts
#include "small_floats.h"      // float16 and bfloat16
