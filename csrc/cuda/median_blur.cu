// The launches of the median filter's kernels.
#include "cuda/median_blur.h"

#include "cuda/median_blur.cuh"

namespace texfilters {
namespace {

template <int K>
int run_tiles(const MedianLaunch& a, cudaStream_t stream) {
  const auto launch = [&](auto kernel, auto tile) {
    const int64_t parts = tiles(a, tile.kHeight, kMedianTile);
    return launch_blocks(kernel, a, a.images * a.channels, parts, tile.kThreads, tile.kShared, stream);
  };
  if (a.source.element == Element::uint8) return launch(median_of_bytes<K>, BytesTile<K>());
  return launch(median_of_numbers<K>, NumbersTile<K>());
}

}  // namespace

int run_median(MedianLaunch a, void* stream) {
  const cudaStream_t where = static_cast<cudaStream_t>(stream);
  if (a.ksize == 3) return run_tiles<3>(a, where);
  if (a.ksize == 5) return run_tiles<5>(a, where);
  if (a.ksize == 7) return run_tiles<7>(a, where);
  const int64_t parts = tiles(a, kMedianAnyTile, kMedianAnyTile);
  return launch_blocks(median_of_any, a, a.images * a.channels, parts, kMedianAnyTile * kMedianAnyTile, 0, where);
}

}  // namespace texfilters
