// The bilateral filter on the CPU: bands of rows for all threads. The arithmetic is in bilateral_filter.simd.h.
#include "cpu/bilateral_filter.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <memory>
#include <string>
#include <vector>

#include "cpu/bands.h"
#include "cpu/dispatch.h"
#include "cpu/planes.h"
#include "cpu/rows.h"

#define TEXFILTERS_ISA_FILE "cpu/bilateral_filter.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {

template <class T>
FilterBilateralRow<T> bilateral_kernel(Isa isa) {
  return TEXFILTERS_FOR_ISA(isa, filter_bilateral_row<T>);
}
template FilterBilateralRow<float> bilateral_kernel(Isa);
template FilterBilateralRow<double> bilateral_kernel(Isa);

namespace {

using torch::stable::Tensor;

template <class S>
void run(const Tensor& image, const Tensor& output, const BilateralArguments& arguments) {
  using T = Compute<S>;
  const SpatialAxes axes(image, 2);
  const Units units(image, 2, axes, true);
  if (units.empty()) return;
  const Planes<const S> in(image, static_cast<const S*>(image.const_data_ptr()), 2, axes, true);
  const Planes<S> out(output, static_cast<S*>(output.mutable_data_ptr()), 2, axes, true);
  const Isa isa = current_isa();
  const auto move = row_kernels<S, T>(isa);
  const Bands bands = bilateral_bands(units, arguments);
  std::vector<std::unique_ptr<BilateralRows<T>>> rows(bands.threads());
  bands.run([&](int64_t thread, int64_t unit, int64_t begin, int64_t end) {
    const BilateralParameters parameters = arguments[unit];
    if (parameters.identity()) return copy_rows(units, unit, begin, end, in, out);
    const S* source = in.unit(units, unit);
    S* target = out.unit(units, unit);
    const auto read = [&](int64_t y, int64_t c, T* row) {
      move.read(source + c * in.channel + y * in.y, in.x, row, units.width);
    };
    const auto write = [&](int64_t y, int64_t c, const T* row) {
      move.write(row, target + c * out.channel + y * out.y, out.x, units.width);
    };
    bilateral_rows(rows[thread], units, parameters, isa).run(begin, end, read, write);
  });
}

Tensor bilateral_filter(const Tensor& image, int64_t d, const Tensor& sigma_color, const Tensor& sigma_space,
                        std::string border) {
  STD_TORCH_CHECK(image.dim() >= 2, "image must have at least 2 dimensions, got ", image.dim());
  const BilateralArguments arguments(image, d, sigma_color, sigma_space, parse_border(border));
  const Tensor output = torch::stable::empty_like(image);
  filter_bilateral(image, output, arguments);
  return output;
}

}  // namespace

void filter_bilateral(const Tensor& image, const Tensor& output, const BilateralArguments& arguments) {
  with_element_type(image, [&](auto element) { run<decltype(element)>(image, output, arguments); });
}

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("bilateral_filter", TORCH_BOX(&bilateral_filter));
}

}  // namespace texfilters
