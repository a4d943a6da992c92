// The launches of the adaptive threshold's kernels.
#include "cuda/adaptive_threshold.h"

#include "cuda/adaptive_threshold.cuh"

namespace texfilters {

int run_threshold(ThresholdLaunch a, void* stream) {
  const int64_t planes = a.images * a.channels, parts = tiles(a, kThresholdTile, kThresholdTile);
  const auto launch = [&](auto kernel, int threads, int shared) {
    return launch_blocks(kernel, a, planes, parts, threads, shared, static_cast<cudaStream_t>(stream));
  };
  const bool sums_of_bytes = a.source.element == Element::uint8 && a.weights == nullptr;
  const int radius = a.block_size / 2;
  if (sums_of_bytes && radius <= kBoxRadius && BoxTile(radius).shared() <= 48 * 1024) {
    const auto kernel = radius <= BoxSums<true>::kRadius ? threshold_box<true> : threshold_box<false>;
    return launch(kernel, BoxTile::kThreads, BoxTile(radius).shared());
  }
  const auto windows = [&](auto kernel) {
    return launch(kernel, kWindowThreads, kWindowRows * kThresholdTile * static_cast<int>(sizeof(float)));
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
