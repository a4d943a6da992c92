// Median blur on the CPU: bands of rows for all threads. The arithmetic is in median_blur.simd.h.
#include "cpu/median_blur.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <memory>

#include "cpu/bands.h"
#include "cpu/dispatch.h"
#include "cpu/interleaved.h"
#include "cpu/median_network.h"
#include "cpu/planes.h"
#include "windows.h"

namespace texfilters {
namespace {

template <int N>
constexpr Network kSorting = sorting_network(N);
template <int M, int N, int FIRST, int COUNT>
constexpr Network kMerging = merging_network(M, N, FIRST, COUNT);

}  // namespace
}  // namespace texfilters

#define TEXFILTERS_ISA_FILE "cpu/median_blur.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {

template <class T>
MedianKernels<T> median_kernels(Isa isa) {
  return TEXFILTERS_FOR_ISA(isa, median_kernels<T>());
}
template MedianKernels<uint8_t> median_kernels(Isa);
template MedianKernels<int16_t> median_kernels(Isa);
template MedianKernels<int32_t> median_kernels(Isa);
template MedianKernels<int64_t> median_kernels(Isa);

namespace {

using torch::stable::Tensor;

// About how long a pixel takes.
template <class T>
double nanoseconds(int64_t ksize) {
  const double area = static_cast<double>(ksize) * static_cast<double>(ksize);
  if (ksize <= kLargestNetwork) return 0.005 * area * sizeof(T);
  return sizeof(T) == 1 ? 8 : 0.1 * area * sizeof(T) * sizeof(T);
}

template <class S>
void run(const Tensor& image, const Tensor& output, int64_t ksize) {
  using T = MedianKey<S>;
  constexpr T kInfinity = infinity_key<T, S>();
  const SpatialAxes axes(image, 2);
  const InterleavedPlanes<T> planes(image, output, axes, kLargestPitch);
  if (planes.empty()) return;
  const Isa isa = current_isa();
  const bool direct = planes.target_x == 1;
  const double pixels = static_cast<double>(planes.count()) * static_cast<double>(planes.height * planes.width);
  const Bands bands(planes.count(), planes.height, ksize / 2, nanoseconds<T>(ksize) * pixels);
  struct Worker {
    MedianRows<T> median;
    Buffer<T> rows;
  };
  std::vector<std::unique_ptr<Worker>> workers(bands.threads());
  bands.run([&](int64_t thread, int64_t plane, int64_t begin, int64_t end) {
    std::unique_ptr<Worker>& worker = workers[thread];
    if (worker == nullptr) {
      worker.reset(new Worker{{planes.height, planes.width, planes.pitch, ksize, kInfinity, isa},
                              allocate<T>(direct ? 0 : kMedianRows * row_room(planes.width))});
    }
    const T* source = planes.source(plane);
    T* target = planes.target(plane);
    const auto read = [&](int64_t y, T* row) {
      const T* from = source + y * planes.source_y;
      if (planes.source_x == 1) {
        std::copy_n(from, planes.width, row);
      } else {
        for (int64_t x = 0; x < planes.width; ++x) row[x] = from[x * planes.source_x];
      }
    };
    worker->median.start(begin, planes.source_x == 1 ? source : nullptr, planes.source_y);
    for (int64_t y = begin; y < end; y += kMedianRows) {
      const int64_t count = std::min(kMedianRows, end - y);
      std::array<T*, kMedianRows> out;
      for (int64_t i = 0; i < count; ++i) {
        out[i] = direct ? target + (y + i) * planes.target_y : worker->rows.get() + i * row_room(planes.width);
      }
      worker->median.next(read, out.data(), count);
      for (int64_t i = 0; i < count && !direct; ++i) {
        T* to = target + (y + i) * planes.target_y;
        for (int64_t x = 0; x < planes.width; ++x) to[x * planes.target_x] = out[i][x];
      }
    }
  });
}

Tensor median_blur(const Tensor& image, int64_t ksize) {
  STD_TORCH_CHECK(image.dim() >= 2, "image must have at least 2 dimensions, got ", image.dim());
  check_window("ksize", ksize, 1);
  const Tensor output = torch::stable::empty_like(image);
  with_element_type(image, [&](auto element) { run<decltype(element)>(image, output, ksize); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("median_blur", TORCH_BOX(&median_blur));
}

}  // namespace texfilters
