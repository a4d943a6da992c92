// The Gaussian blur on the CPU: bands of rows for all threads. The arithmetic is in gaussian_blur.simd.h.
#include "cpu/gaussian_blur.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cpu/bands.h"
#include "cpu/dispatch.h"
#include "cpu/planes.h"
#include "cpu/row_window.h"
#include "cpu/rows.h"
#include "per_image.h"
#include "windows.h"

#define TEXFILTERS_ISA_FILE "cpu/gaussian_blur.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

template <class T>
SumSymmetric<T> sum_kernel(Isa isa) {
  return TEXFILTERS_FOR_ISA(isa, sum_symmetric<T>);
}

struct GaussianParameters {
  double sigma;
  int64_t radius;
};

// Blurs rows of one plane after another on the thread that calls: down over a ring of rows into one row, which then
// gets its border, and along over that.
template <class T>
class GaussianRows {
 public:
  GaussianRows(int64_t height, int64_t width, const GaussianParameters& parameters, Border border, Isa isa)
      : parameters_(parameters),
        width_(width),
        kernel_(sum_kernel<T>(isa)),
        window_(1, height, width, parameters.radius, border, 0),
        ends_(width, parameters.radius, border),
        taps_(2 * parameters.radius + 1),
        row_(allocate<T>(row_elements<T>(width + 2 * parameters.radius))),
        output_(allocate<T>(row_elements<T>(width))) {
    const std::vector<double> weights = gaussian_weights(parameters.sigma, parameters.radius);
    for (int64_t i = 0; i <= parameters.radius; ++i) weights_.push_back(static_cast<T>(weights[parameters.radius + i]));
  }

  const GaussianParameters& parameters() const { return parameters_; }

  // read(y, row) reads a row of the plane, write(y, row) takes a blurred one; of rows [begin, end).
  template <class Read, class Write>
  void run(int64_t begin, int64_t end, const Read& read, const Write& write) {
    const int64_t radius = parameters_.radius;
    const auto load = [&](int64_t y) { window_.load(y, [&](int64_t source, int64_t, T* row) { read(source, row); }); };
    for (int64_t y = begin - radius; y < begin + radius; ++y) load(y);
    for (int64_t y = begin; y < end; ++y) {
      load(y + radius);
      for (int64_t i = -radius; i <= radius; ++i) taps_[radius + i] = window_.row(y + i);
      kernel_({taps_.data(), weights_.data(), radius, width_, row_.get() + radius});
      ends_.extend(row_.get() + radius);
      for (int64_t i = 0; i <= 2 * radius; ++i) taps_[i] = row_.get() + i;
      kernel_({taps_.data(), weights_.data(), radius, width_, output_.get()});
      write(y, output_.get());
    }
  }

 private:
  GaussianParameters parameters_;
  int64_t width_;
  SumSymmetric<T> kernel_;
  RowWindow<T> window_;
  RowBorder ends_;
  std::vector<const T*> taps_;
  std::vector<T> weights_;
  Buffer<T> row_, output_;
};

template <class S>
void run(const Tensor& image, const Tensor& output, const PerImage& sigma, int64_t kernel_size, Border border) {
  using T = Compute<S>;
  const SpatialAxes axes(image, 2);
  const Units planes(image, 2, axes, false);
  if (planes.empty()) return;
  const Planes<const S> in(image, static_cast<const S*>(image.const_data_ptr()), 2, axes, false);
  const Planes<S> out(output, static_cast<S*>(output.mutable_data_ptr()), 2, axes, false);
  const Isa isa = current_isa();
  const auto move = row_kernels<S, T>(isa);

  const int64_t images = image.dim() == 4 ? image.size(0) : 1, planes_per_image = planes.count / images;
  const auto parameters = [&](int64_t plane) {
    const double of_image = sigma[plane / planes_per_image];
    return GaussianParameters{of_image, gaussian_radius(kernel_size, of_image)};
  };
  int64_t largest = 0;
  double taps = 0;
  for (int64_t plane = 0; plane < planes.count; ++plane) {
    const int64_t radius = parameters(plane).radius;
    largest = std::max(largest, radius);
    taps += static_cast<double>(2 * radius + 8);
  }
  // A tap takes about 0.04 ns.
  const double pixels = static_cast<double>(planes.height * planes.width);
  const Bands bands(planes.count, planes.height, largest, 0.04 * taps * pixels);
  std::vector<std::unique_ptr<GaussianRows<T>>> rows(bands.threads());
  bands.run([&](int64_t thread, int64_t plane, int64_t begin, int64_t end) {
    const GaussianParameters p = parameters(plane);
    if (p.sigma == 0) return copy_rows(planes, plane, begin, end, in, out);
    std::unique_ptr<GaussianRows<T>>& blur = rows[thread];
    if (blur == nullptr || blur->parameters().sigma != p.sigma || blur->parameters().radius != p.radius) {
      blur.reset();
      blur = std::make_unique<GaussianRows<T>>(planes.height, planes.width, p, border, isa);
    }
    const S* source = in.unit(planes, plane);
    S* target = out.unit(planes, plane);
    const auto read = [&](int64_t y, T* row) { move.read(source + y * in.y, in.x, row, planes.width); };
    const auto write = [&](int64_t y, const T* row) { move.write(row, target + y * out.y, out.x, planes.width); };
    blur->run(begin, end, read, write);
  });
}

Tensor gaussian_blur(const Tensor& image, const Tensor& sigma, int64_t kernel_size, std::string border) {
  STD_TORCH_CHECK(image.dim() >= 2, "image must have at least 2 dimensions, got ", image.dim());
  if (kernel_size != 0) check_window("kernel_size", kernel_size, 1);
  const PerImage of_image("sigma", sigma, image, 2);
  const Border beyond = parse_border(border);
  const Tensor output = torch::stable::empty_like(image);
  with_element_type(image, [&](auto element) { run<decltype(element)>(image, output, of_image, kernel_size, beyond); });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("gaussian_blur", TORCH_BOX(&gaussian_blur));
}

}  // namespace texfilters
