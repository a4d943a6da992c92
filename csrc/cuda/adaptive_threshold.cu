// The launches of the adaptive threshold's kernels.
#include "cuda/adaptive_threshold.h"

#include <iterator>

#include "cuda/adaptive_threshold.cuh"

namespace texfilters {

int run_threshold(ThresholdLaunch a, void* stream) {
  const auto launch = [&](auto kernel, int rows, int threads, int64_t shared) {
    const int64_t parts = tiles(a, rows, kThresholdTile);
    return launch_blocks(kernel, a, a.images * a.channels, parts, threads, shared, static_cast<cudaStream_t>(stream));
  };
  const bool sums_of_bytes = a.source.element == Element::uint8 && a.weights == nullptr;
  const int radius = a.block_size / 2;
  const int64_t shared = BoxTile(radius).shared(radius);
  if (sums_of_bytes && radius > 0 && radius <= BoxTile::kLargestRadius && shared <= 48 * 1024) {
    static constexpr void (*kKernels[])(ThresholdLaunch) = {
        threshold_box<0>, threshold_box<1>, threshold_box<2>, threshold_box<3>,
        threshold_box<4>, threshold_box<5>, threshold_box<6>, threshold_box<7>,
    };
    static_assert(std::size(kKernels) == BoxSums<true>::kRadius + 1);
    const auto kernel = kKernels[radius <= BoxSums<true>::kRadius ? radius : 0];
    return launch(kernel, BoxTile::kRows, BoxTile::kThreads, shared);
  }
  const auto windows = [&](auto kernel) {
    const int memory = kWindowRows * kThresholdTile * static_cast<int>(sizeof(float));
    return launch(kernel, kThresholdTile, kWindowThreads, memory);
  };
  switch (a.source.element) {
    case Element::uint8:
      return sums_of_bytes ? windows(threshold_windows<uint8_t, double>) : windows(threshold_windows<uint8_t, float>);
    case Element::float16:
      return windows(threshold_windows<Half, float>);
    case Element::bfloat16:
      return windows(threshold_windows<BFloat16, float>);
    case Element::float32:
      break;
  }
  return windows(threshold_windows<float, float>);
}

}  // namespace texfilters
