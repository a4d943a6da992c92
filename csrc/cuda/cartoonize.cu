// The launches of the cartoon: kernels of its own for bytes, windows of usual sizes and a radius that the host knows;
// else the filters that it is made of.
#include "cuda/cartoonize.h"

#include "cuda/adaptive_threshold.h"
#include "cuda/cartoonize.cuh"
#include "cuda/median_blur.h"
#include "cuda/rgb_to_gray.h"

namespace texfilters {
namespace {

constexpr int64_t kColors = 3;

bool without_memory(const CartoonLaunch& a) {
  int64_t room = 0;
  if (shared_memory(true, room) != cudaSuccess) return false;
  return a.source.element == Element::uint8 && (a.ksize == 3 || a.ksize == 5 || a.ksize == 7) && a.block_size > 1 &&
         a.block_size / 2 <= BoxSums<true>::kRadius && a.radius >= 0 &&
         bilateral_bytes(a.radius, sizeof(BytesPixel)) <= room;
}

// Images from `first` on, and what belongs to them.
CartoonLaunch images_from(CartoonLaunch a, int64_t first, int64_t count) {
  for (View* view : {&a.source, &a.output})
    view->data = static_cast<char*>(view->data) + first * view->image * bytes(view->element);
  for (Parameter* parameter : {&a.sigma_color, &a.sigma_space, &a.c}) {
    if (parameter->values != nullptr)
      parameter->values =
          static_cast<const char*>(parameter->values) + first * parameter->stride * bytes(parameter->number);
  }
  a.images = count;
  return a;
}

// Contiguous images of so many planes.
View in_memory(void*& memory, const CartoonLaunch& a, int64_t planes) {
  const int64_t plane = a.height * a.width;
  const View view{memory, a.source.element, planes * plane, plane, 0, a.width, 1};
  memory = static_cast<char*>(memory) + a.images * planes * plane * bytes(view.element);
  return view;
}

template <class Launch>
Launch like(const CartoonLaunch& a, const View& source, const View& output, int64_t channels) {
  Launch launch;
  static_cast<FilterLaunch&>(launch) = {source, output, a.images, channels, a.height, a.width};
  return launch;
}

int launch_last_pass(const CartoonLaunch& a, cudaStream_t stream) {
  using Kernel = void (*)(CartoonLaunch);
  static const Kernel find[] = {find_kept<3>, find_kept<5>, find_kept<7>};
  const int64_t memory = KeptMemory(a.ksize, a.block_size, kKeptHeight).bytes();
  const cudaError_t error = launch_blocks(find[(a.ksize - 3) / 2], a, a.images, tiles(a, kKeptHeight, kKeptWidth),
                                          kKeptThreads, memory, stream);
  if (error != cudaSuccess) return error;
  const Kernel smooth = a.radius == kUsualRadius ? smooth_kept<kUsualRadius> : smooth_kept<0>;
  return launch_blocks(smooth, a, a.images, tiles(a, kBilateralHeight, kBilateralWidth), kBilateralThreads,
                       bilateral_bytes(a.radius, sizeof(BytesPixel)), stream);
}

// Where the color stays, into a.original.
int launch_mask(CartoonLaunch& a, void* memory, cudaStream_t stream) {
  const View gray = in_memory(memory, a, 1), median = in_memory(memory, a, 1);
  int error = run_gray(like<FilterLaunch>(a, a.original, gray, 3), stream);
  auto blur = like<MedianLaunch>(a, gray, median, 1);
  blur.ksize = a.ksize;
  if (error == cudaSuccess) error = run_median(blur, stream);
  auto threshold = like<ThresholdLaunch>(a, median, gray, 1);
  threshold.c = a.c;
  threshold.block_size = a.block_size;
  if (error == cudaSuccess) error = run_threshold(threshold, stream);
  a.original = gray;
  return error;
}

int run_images(CartoonLaunch a, void* memory, cudaStream_t stream) {
  const bool alone = without_memory(a);
  const int64_t apart = alone && a.passes > 0 ? a.passes - 1 : a.passes;  // smoothed by launches of their own
  const View scratch = a.passes > 1 ? in_memory(memory, a, kColors) : View(), output = a.output;
  a.original = a.source;
  for (int64_t pass = 0; pass < apart; ++pass) {
    a.output = (a.passes - pass) % 2 ? output : scratch;  // the last of all passes writes the output
    const int error = run_bilateral(a, stream);
    if (error != cudaSuccess) return error;
    a.source = a.output;
  }
  a.output = output;
  if (alone) return launch_last_pass(a, stream);
  const int error = launch_mask(a, memory, stream);
  if (error != cudaSuccess) return error;
  return launch_blocks(keep_colors, a, a.images, tiles(a, kBilateralHeight, kBilateralWidth), kBilateralThreads, 0,
                       stream);
}

}  // namespace

int64_t cartoon_planes(const CartoonLaunch& a) {
  return (a.passes > 1 ? kColors : 0) + (without_memory(a) ? 0 : 2);
}

int run_cartoon(CartoonLaunch a, void* scratch, int64_t together, void* stream) {
  for (int64_t first = 0; first < a.images; first += together) {
    const CartoonLaunch part = images_from(a, first, std::min(together, a.images - first));
    const int error = run_images(part, scratch, static_cast<cudaStream_t>(stream));
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace texfilters
