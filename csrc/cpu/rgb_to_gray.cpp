// Luma on the CPU: bands of rows for all threads. The arithmetic is in rgb_to_gray.simd.h.
#include "cpu/rgb_to_gray.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "cpu/bands.h"
#include "cpu/dispatch.h"
#include "cpu/planes.h"

#define TEXFILTERS_ISA_FILE "cpu/rgb_to_gray.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {

template <class S>
GrayRow<S> gray_kernel(Isa isa) {
  return TEXFILTERS_FOR_ISA(isa, gray_kernel<S>());
}
template GrayRow<uint8_t> gray_kernel(Isa);
template GrayRow<c10::Half> gray_kernel(Isa);
template GrayRow<c10::BFloat16> gray_kernel(Isa);
template GrayRow<float> gray_kernel(Isa);
template GrayRow<double> gray_kernel(Isa);

namespace {

using torch::stable::Tensor;

template <class S>
void run(const Tensor& image, const Tensor& output) {
  const SpatialAxes axes(image, 2);
  const Units units(image, 2, axes, true);
  if (units.empty()) return;
  const Planes<const S> in(image, static_cast<const S*>(image.const_data_ptr()), 2, axes, true);
  const Planes<S> out(output, static_cast<S*>(output.mutable_data_ptr()), 2, axes, true);
  const GrayRow<S> gray = gray_kernel<S>(current_isa());
  // Rows without gaps between them are one.
  const bool joined = in.y == units.width * in.x && out.y == units.width * out.x;
  const double pixels = static_cast<double>(units.count) * static_cast<double>(units.height * units.width);
  const Bands bands(units.count, units.height, 0, 0.1 * sizeof(S) * pixels);
  bands.run([&](int64_t, int64_t unit, int64_t begin, int64_t end) {
    const S* source = in.unit(units, unit);
    S* target = out.unit(units, unit);
    const int64_t rows = joined ? end - begin : 1;
    for (int64_t y = begin; y < end; y += rows) {
      const S* red = source + y * in.y;
      gray({red, red + in.channel, red + 2 * in.channel}, in.x, target + y * out.y, out.x, rows * units.width);
    }
  });
}

Tensor rgb_to_gray(const Tensor& image) {
  const int64_t channel = image.dim() - 3;
  STD_TORCH_CHECK(channel >= 0 && image.size(channel) == 3, "image must have 3 channels at dimension -3");
  Tensor rgb = image;
  const Tensor output = torch::stable::empty_like(torch::stable::narrow(rgb, channel, 0, 1));
  with_element_type(image, [&](auto element) { run<decltype(element)>(image, output); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("rgb_to_gray", TORCH_BOX(&rgb_to_gray));
}

}  // namespace texfilters
