// The bilateral filter's kernels, and what runs them over the rows of an image.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "cpu/bands.h"
#include "cpu/isa.h"
#include "cpu/planes.h"
#include "cpu/row_window.h"
#include "per_image.h"
#include "pixel_math.h"
#include "windows.h"

namespace texfilters {

struct BilateralParameters {
  int64_t radius;
  double sigma_color, sigma_space;
  Border border;

  bool identity() const { return sigma_color == 0 || sigma_space == 0; }
  bool operator==(const BilateralParameters& other) const {
    return radius == other.radius && sigma_color == other.sigma_color && sigma_space == other.sigma_space &&
           border == other.border;
  }
};

// One row of pixels and the rows of its window. A neighbor (dy, dx) at the color distance L weighs
// factor[dy] * 2^(exponent[dy][dx] - (L * color)^2); those with |dx| <= reach[dy] count.
template <class T>
struct BilateralRow {
  int64_t channels, width, radius;
  const T* const* rows;  // [2 * radius + 1][channels], from the window's first row on; where pixel 0 stands
  const int64_t* reach;  // [2 * radius + 1], from -radius on
  const T* exponent;     // [2 * radius + 1][2 * radius + 1], or for large windows one row for all dy
  const T* factor;       // [2 * radius + 1]; null where all are 1
  T color;
  T* output;              // [channels], padded to whole vectors
  int64_t output_stride;  // between channels
};

// What is compiled for every instruction set.
template <class T>
using FilterBilateralRow = void (*)(const BilateralRow<T>&);
template <class T>
FilterBilateralRow<T> bilateral_kernel(Isa isa);

// Filters rows of one image after another on the thread that calls.
template <class T>
class BilateralRows {
 public:
  BilateralRows(int64_t channels, int64_t height, int64_t width, const BilateralParameters& parameters, Isa isa)
      : parameters_(parameters),
        kernel_(bilateral_kernel<T>(isa)),
        window_(channels, height, width, parameters.radius, parameters.border),
        rows_(channels * (2 * parameters.radius + 1)),
        output_(allocate<T>(channels * row_elements<T>(width))) {
    constexpr int64_t kLarge = 8;  // beyond, exponents for every tap would take too much memory
    const int64_t radius = parameters.radius;
    const double halved = kLog2e / 2, sigma = parameters.sigma_space >= 0 ? parameters.sigma_space : std::nan("");
    const auto square = [&](int64_t i) { return static_cast<double>(i) / sigma * (static_cast<double>(i) / sigma); };
    for (int64_t dy = -radius; dy <= radius; ++dy) {
      reach_.push_back(static_cast<int64_t>(std::sqrt(static_cast<double>(radius * radius - dy * dy))));
      if (radius > kLarge) factor_.push_back(static_cast<T>(std::exp(-0.5 * square(dy))));
    }
    for (int64_t dy = radius > kLarge ? radius : -radius; dy <= radius; ++dy) {
      const double in_y = radius > kLarge ? 0 : square(dy);
      for (int64_t dx = -radius; dx <= radius; ++dx) exponent_.push_back(static_cast<T>(-halved * (in_y + square(dx))));
    }
    row_.channels = channels;
    row_.width = width;
    row_.radius = radius;
    row_.rows = rows_.data();
    row_.reach = reach_.data();
    row_.exponent = exponent_.data();
    row_.factor = factor_.empty() ? nullptr : factor_.data();
    // Finite, since 0 * inf would turn flat regions into NaN.
    row_.color = parameters.sigma_color >= 0
                     ? static_cast<T>(std::min(std::sqrt(halved) / parameters.sigma_color,
                                               static_cast<double>(std::numeric_limits<T>::max()) / 2))
                     : std::numeric_limits<T>::quiet_NaN();
    row_.output = output_.get();
    row_.output_stride = row_elements<T>(width);
  }
  BilateralRows(const BilateralRows&) = delete;
  BilateralRows& operator=(const BilateralRows&) = delete;

  const BilateralParameters& parameters() const { return parameters_; }

  // read(y, c, row) reads a row of the image, write(y, c, row) takes a filtered one; of rows [begin, end).
  template <class Read, class Write>
  void run(int64_t begin, int64_t end, const Read& read, const Write& write) {
    const int64_t radius = row_.radius, channels = row_.channels;
    for (int64_t y = begin - radius; y < begin + radius; ++y) window_.load(y, read);
    for (int64_t y = begin; y < end; ++y) {
      window_.load(y + radius, read);
      auto row = rows_.begin();
      for (int64_t dy = -radius; dy <= radius; ++dy) {
        for (int64_t c = 0; c < channels; ++c) *row++ = window_.row(y + dy, c) + radius;
      }
      kernel_(row_);
      for (int64_t c = 0; c < channels; ++c) write(y, c, row_.output + c * row_.output_stride);
    }
  }

 private:
  BilateralParameters parameters_;
  FilterBilateralRow<T> kernel_;
  RowWindow<T> window_;
  std::vector<const T*> rows_;
  std::vector<int64_t> reach_;
  std::vector<T> exponent_, factor_;
  Buffer<T> output_;
  BilateralRow<T> row_{};
};

// A thread's own, made anew where an image has other parameters than the one before.
template <class T>
BilateralRows<T>& bilateral_rows(std::unique_ptr<BilateralRows<T>>& rows, const Units& images,
                                 const BilateralParameters& parameters, Isa isa) {
  if (rows == nullptr || !(rows->parameters() == parameters)) {
    rows.reset();  // its memory is free before the next is taken
    rows = std::make_unique<BilateralRows<T>>(images.channels, images.height, images.width, parameters, isa);
  }
  return *rows;
}

// What a call says of every image, from the image `first` on.
struct BilateralArguments {
  int64_t d;
  PerImage sigma_color, sigma_space;
  Border border;
  int64_t first = 0;

  BilateralArguments(const torch::stable::Tensor& image, int64_t d, const torch::stable::Tensor& sigma_color,
                     const torch::stable::Tensor& sigma_space, Border border)
      : d(d),
        sigma_color("sigma_color", sigma_color, image, 2),
        sigma_space("sigma_space", sigma_space, image, 2),
        border(border) {}

  BilateralParameters operator[](int64_t image) const {
    const double space = sigma_space[first + image];
    return {bilateral_radius(d, space), sigma_color[first + image], space, border};
  }
};

inline Bands bilateral_bands(const Units& images, const BilateralArguments& arguments) {
  int64_t largest = 0;
  double taps = 0;
  for (int64_t image = 0; image < images.count; ++image) {
    const BilateralParameters p = arguments[image];
    if (p.identity()) continue;
    largest = std::max(largest, p.radius);
    taps += 3.0 * static_cast<double>(p.radius) * static_cast<double>(p.radius);
  }
  // A tap takes about 0.1 ns for each channel.
  const double pixels = static_cast<double>(images.channels) * static_cast<double>(images.height * images.width);
  return Bands(images.count, images.height, largest, 0.1 * taps * pixels);
}

void filter_bilateral(const torch::stable::Tensor& image, const torch::stable::Tensor& output,
                      const BilateralArguments& arguments);

}  // namespace texfilters
