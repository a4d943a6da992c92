// The adaptive threshold on the CPU: bands of rows for all threads. The arithmetic is in adaptive_threshold.simd.h.
#include "cpu/adaptive_threshold.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <memory>
#include <string>

#include "cpu/bands.h"
#include "cpu/dispatch.h"
#include "cpu/interleaved.h"
#include "cpu/rows.h"
#include "per_image.h"

#define TEXFILTERS_ISA_FILE "cpu/adaptive_threshold.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {

template <class S, class T>
ThresholdKernels<S, T> threshold_kernels(Isa isa) {
  return TEXFILTERS_FOR_ISA(isa, threshold_kernels<S, T>());
}
template ThresholdKernels<uint8_t, float> threshold_kernels(Isa);
template ThresholdKernels<float, float> threshold_kernels(Isa);
template ThresholdKernels<double, double> threshold_kernels(Isa);

namespace {

using torch::stable::Tensor;

template <class S>
void run(const Tensor& image, const Tensor& output, const ThresholdParameters& parameters, const PerImage& c) {
  using T = std::conditional_t<std::is_same_v<S, uint8_t>, uint8_t, Compute<S>>;
  SpatialAxes axes(image, 2);
  if (parameters.gaussian) {  // not the same along x as along y
    axes.y = image.dim() - 2;
    axes.x = image.dim() - 1;
  }
  const InterleavedPlanes<S> planes(image, output, axes, image.dim() >= 3 ? image.size(image.dim() - 3) : 1);
  if (planes.empty()) return;
  const int64_t planes_per_image = image.dim() == 4 ? planes.count() / image.size(0) : planes.count();
  const Isa isa = current_isa();
  const auto move = row_kernels<S, T>(isa);
  const double pixels = static_cast<double>(planes.count()) * static_cast<double>(planes.height * planes.width);
  const bool box = std::is_same_v<S, uint8_t> && !parameters.gaussian;
  const double nanoseconds = box ? 0.3 : 0.3 + 0.008 * sizeof(Compute<S>) * static_cast<double>(parameters.block_size);
  const Bands bands(planes.count(), planes.height, parameters.block_size / 2, nanoseconds * pixels);
  struct Worker {
    ThresholdRows<T> threshold;
    Buffer<T> row;
  };
  std::vector<std::unique_ptr<Worker>> workers(bands.threads());
  bands.run([&](int64_t thread, int64_t plane, int64_t begin, int64_t end) {
    std::unique_ptr<Worker>& worker = workers[thread];
    if (worker == nullptr) {
      worker.reset(new Worker{{planes.height, planes.width, planes.pitch, parameters, isa},
                              allocate<T>(row_room(planes.width))});
    }
    const S* source = planes.source(plane);
    S* target = planes.target(plane);
    const auto read = [&](int64_t y, T* row) {
      move.read(source + y * planes.source_y, planes.source_x, row, planes.width);
    };
    worker->threshold.start(begin, decision<T>(parameters, c[plane / planes_per_image]));
    for (int64_t y = begin; y < end; ++y) {
      S* out = target + y * planes.target_y;
      if constexpr (std::is_same_v<S, T>) {
        if (planes.target_x == 1) {
          worker->threshold.next(read, out);
          continue;
        }
      }
      worker->threshold.next(read, worker->row.get());
      move.write(worker->row.get(), out, planes.target_x, planes.width);
    }
  });
}

Tensor adaptive_threshold(const Tensor& image, int64_t block_size, const Tensor& c, std::string method,
                          double max_value, bool invert) {
  STD_TORCH_CHECK(image.dim() >= 2, "image must have at least 2 dimensions, got ", image.dim());
  STD_TORCH_CHECK(method == "mean" || method == "gaussian", "method must be mean or gaussian, got ", method);
  check_window("block_size", block_size, 3);
  const ThresholdParameters parameters{block_size, method == "gaussian", max_value, invert};
  const PerImage c_values("c", c, image, 2);
  const Tensor output = torch::stable::empty_like(image);
  with_element_type(image, [&](auto element) { run<decltype(element)>(image, output, parameters, c_values); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("adaptive_threshold", TORCH_BOX(&adaptive_threshold));
}

}  // namespace texfilters
