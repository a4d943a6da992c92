// Numbers from the host into device memory, as parameters of launches: nothing to wait for or to keep, also in a graph.
#pragma once

#include <cstdint>

namespace texfilters {

// `count` words of 4 bytes. Returns a cudaError_t.
int upload(const int32_t* words, int64_t count, int32_t* device, void* stream);

}  // namespace texfilters
