// The bilateral filter on the CPU: bands of rows for all threads. The arithmetic is in bilateral_filter.simd.h.
#include "cpu/bilateral_filter.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cpu/bands.h"
#include "cpu/dispatch.h"
#include "cpu/planes.h"
#include "cpu/rows.h"
#include "per_image.h"

#define TEXFILTERS_ISA_FILE "cpu/bilateral_filter.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {

template <class T>
FilterBilateralRow<T> bilateral_kernel([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return avx512::filter_bilateral_row<T>;
  if (isa == Isa::avx2) return avx2::filter_bilateral_row<T>;
#endif
  return baseline::filter_bilateral_row<T>;
}
template FilterBilateralRow<float> bilateral_kernel(Isa);
template FilterBilateralRow<double> bilateral_kernel(Isa);

namespace {

using torch::stable::Tensor;

template <class S>
void run(const Tensor& image, const Tensor& output, int64_t d, const PerImage& sigma_color, const PerImage& sigma_space,
         Border border) {
  using T = Compute<S>;
  const SpatialAxes axes(image, 2);
  const Units units(image, 2, axes, true);
  if (units.empty()) return;
  const Planes<const S> in(image, static_cast<const S*>(image.const_data_ptr()), 2, axes, true);
  const Planes<S> out(output, static_cast<S*>(output.mutable_data_ptr()), 2, axes, true);
  const Isa isa = current_isa();
  const auto move = row_kernels<S, T>(isa);

  const auto parameters = [&](int64_t unit) {
    const double space = sigma_space[unit];
    return BilateralParameters{bilateral_radius(d, space), sigma_color[unit], space, border};
  };
  int64_t largest = 0;
  double taps = 0;
  for (int64_t unit = 0; unit < units.count; ++unit) {
    const BilateralParameters p = parameters(unit);
    if (p.identity()) continue;
    largest = std::max(largest, p.radius);
    taps += 3.0 * static_cast<double>(p.radius) * static_cast<double>(p.radius);
  }
  // A tap takes about 0.1 ns for each channel.
  const double pixels = static_cast<double>(units.channels) * static_cast<double>(units.height * units.width);
  const Bands bands(units.count, units.height, largest, 0.1 * taps * pixels);
  std::vector<std::unique_ptr<BilateralRows<T>>> rows(bands.threads());
  bands.run([&](int64_t thread, int64_t unit, int64_t begin, int64_t end) {
    const BilateralParameters p = parameters(unit);
    if (p.identity()) return copy_rows(units, unit, begin, end, in, out);
    std::unique_ptr<BilateralRows<T>>& filter = rows[thread];
    if (filter == nullptr || !(filter->parameters() == p)) {
      filter.reset();
      filter = std::make_unique<BilateralRows<T>>(units.channels, units.height, units.width, p, isa);
    }
    const S* source = in.unit(units, unit);
    S* target = out.unit(units, unit);
    const auto read = [&](int64_t y, int64_t c, T* row) {
      move.read(source + c * in.channel + y * in.y, in.x, row, units.width);
    };
    const auto write = [&](int64_t y, int64_t c, const T* row) {
      move.write(row, target + c * out.channel + y * out.y, out.x, units.width);
    };
    filter->run(begin, end, read, write);
  });
}

Tensor bilateral_filter(const Tensor& image, int64_t d, const Tensor& sigma_color, const Tensor& sigma_space,
                        std::string border) {
  STD_TORCH_CHECK(image.dim() >= 2, "image must have at least 2 dimensions, got ", image.dim());
  const PerImage color("sigma_color", sigma_color, image, 2), space("sigma_space", sigma_space, image, 2);
  const Border beyond = parse_border(border);
  const Tensor output = torch::stable::empty_like(image);
  with_element_type(image, [&](auto element) { run<decltype(element)>(image, output, d, color, space, beyond); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("bilateral_filter", TORCH_BOX(&bilateral_filter));
}

}  // namespace texfilters
