// The cartoon on the CPU: bands of rows for all threads, each by the rows of the filters that it is made of.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "cpu/adaptive_threshold.h"
#include "cpu/bands.h"
#include "cpu/bilateral_filter.h"
#include "cpu/dispatch.h"
#include "cpu/median_blur.h"
#include "cpu/planes.h"
#include "cpu/rgb_to_gray.h"
#include "cpu/rows.h"
#include "per_image.h"
#include "windows.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

struct Lines {
  int64_t ksize;
  ThresholdParameters threshold;
};

// Gray, its median and the threshold of that for one image, row after row: each asks the one before for the rows that
// its window still lacks.
template <class S>
class LineRows {
  using Key = MedianKey<S>;
  using Pixel = std::conditional_t<std::is_same_v<S, uint8_t>, S, Compute<S>>;  // that the threshold compares

 public:
  LineRows(int64_t height, int64_t width, const Lines& lines, Isa isa)
      : lines_(lines),
        width_(width),
        median_(height, width, 1, lines.ksize, infinity_key<Key, S>(), isa),
        threshold_(height, width, 1, lines.threshold, isa),
        medians_(allocate<S>(row_room(width))),
        mask_(allocate<Pixel>(row_room(width))) {}

  void start(int64_t y, double c) {
    median_.start(std::max<int64_t>(0, y - lines_.threshold.block_size / 2));
    threshold_.start(y, decision<Pixel>(lines_.threshold, c));
  }

  // 0 on the lines of the next row. gray(y, row) makes a row of the gray image.
  template <class Gray>
  const Pixel* next(const Gray& gray) {
    const auto median_row = [&](int64_t, Pixel* row) {
      Key* const medians = reinterpret_cast<Key*>(medians_.get());
      median_.next([&](int64_t y, Key* to) { gray(y, reinterpret_cast<S*>(to)); }, &medians, 1);
      std::copy_n(medians_.get(), width_, row);
    };
    threshold_.next(median_row, mask_.get());
    return mask_.get();
  }

 private:
  Lines lines_;
  int64_t width_;
  MedianRows<Key> median_;
  ThresholdRows<Pixel> threshold_;
  Buffer<S> medians_;
  Buffer<Pixel> mask_;
};

// What a call says of every image.
struct Drawing {
  BilateralArguments colors;
  bool flatten;  // whether the colors are filtered while they are drawn
  Lines lines;
  PerImage c;
};

// The lines of `image` over the colors of `color`.
template <class S>
void draw(const Tensor& image, const Tensor& color, const Tensor& output, const Drawing& drawing) {
  using T = Compute<S>;
  const SpatialAxes axes(image, 2);
  const Units units(image, 2, axes, true);
  if (units.empty()) return;
  const auto planes = [&](const Tensor& tensor) {
    return Planes<const S>(tensor, static_cast<const S*>(tensor.const_data_ptr()), 2, axes, true);
  };
  const Planes<const S> in = planes(image), in_color = planes(color);
  const Planes<S> out(output, static_cast<S*>(output.mutable_data_ptr()), 2, axes, true);
  const Isa isa = current_isa();
  const RowKernels<S, T> move = row_kernels<S, T>(isa);
  const GrayRow<S> luma = gray_kernel<S>(isa);
  struct Worker {
    std::unique_ptr<BilateralRows<T>> colors;
    LineRows<S> lines;
    Buffer<S> row;
  };
  const Bands bands = bilateral_bands(units, drawing.colors);
  std::vector<std::unique_ptr<Worker>> workers(bands.threads());
  bands.run([&](int64_t thread, int64_t unit, int64_t begin, int64_t end) {
    std::unique_ptr<Worker>& worker = workers[thread];
    if (worker == nullptr) {
      worker.reset(
          new Worker{nullptr, {units.height, units.width, drawing.lines, isa}, allocate<S>(row_room(units.width))});
    }
    const S* source = in.unit(units, unit);
    const S* colors = in_color.unit(units, unit);
    S* target = out.unit(units, unit);
    const auto gray = [&](int64_t y, S* row) {
      const S* red = source + y * in.y;
      luma({red, red + in.channel, red + 2 * in.channel}, in.x, row, 1, units.width);
    };
    const auto keep = [&](const auto* mask, const S* row, int64_t step, int64_t y, int64_t channel) {
      S* to = target + y * out.y + channel * out.channel;
      for (int64_t x = 0; x < units.width; ++x) to[x * out.x] = mask[x] != 0 ? row[x * step] : S{};
    };
    worker->lines.start(begin, drawing.c[drawing.colors.first + unit]);
    const BilateralParameters parameters = drawing.colors[unit];
    if (!drawing.flatten || parameters.identity()) {
      for (int64_t y = begin; y < end; ++y) {
        const auto* mask = worker->lines.next(gray);
        for (int64_t channel = 0; channel < 3; ++channel)
          keep(mask, colors + y * in_color.y + channel * in_color.channel, in_color.x, y, channel);
      }
      return;
    }
    const auto read = [&](int64_t y, int64_t channel, T* row) {
      move.read(colors + y * in_color.y + channel * in_color.channel, in_color.x, row, units.width);
    };
    decltype(worker->lines.next(gray)) mask = nullptr;
    const auto write = [&](int64_t y, int64_t channel, const T* row) {
      if (channel == 0) mask = worker->lines.next(gray);
      move.write(row, worker->row.get(), 1, units.width);
      keep(mask, worker->row.get(), 1, y, channel);
    };
    bilateral_rows(worker->colors, units, parameters, isa).run(begin, end, read, write);
  });
}

// All passes over the colors but the last are filters of their own. They take one image at a time, so that no batch of
// them has to be kept.
template <class S>
void draw_one_by_one(const Tensor& image, const Tensor& output, int64_t passes, Drawing& drawing) {
  if (image.dim() > 3) {
    for (int64_t i = 0; i < image.size(0); ++i)
      draw_one_by_one<S>(torch::stable::select(image, 0, i), torch::stable::select(output, 0, i), passes, drawing);
    return;
  }
  Tensor color = image;
  for (int64_t pass = 1; pass < passes; ++pass) {
    const Tensor filtered = torch::stable::empty_like(image);
    filter_bilateral(color, filtered, drawing.colors);
    color = filtered;
  }
  draw<S>(image, color, output, drawing);
  ++drawing.colors.first;
}

Tensor cartoonize(const Tensor& image, int64_t d, const Tensor& sigma_color, const Tensor& sigma_space, int64_t passes,
                  int64_t ksize, int64_t block_size, const Tensor& c) {
  STD_TORCH_CHECK(image.dim() >= 3 && image.size(image.dim() - 3) == 3, "image must have 3 channels at dimension -3");
  STD_TORCH_CHECK(passes >= 0, "passes must be at least 0, got ", passes);
  check_window("ksize", ksize, 1);
  check_window("block_size", block_size, 3);
  Drawing drawing{BilateralArguments(image, d, sigma_color, sigma_space, Border::reflect101),
                  passes > 0,
                  {ksize, {block_size, false, 255, false}},
                  PerImage("c", c, image, 2)};
  const Tensor output = torch::stable::empty_like(image);
  if (image.numel() == 0) return output;
  with_element_type(image, [&](auto element) {
    using S = decltype(element);
    if (passes <= 1) return draw<S>(image, image, output, drawing);
    draw_one_by_one<S>(image, output, passes, drawing);
  });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("cartoonize", TORCH_BOX(&cartoonize));
}

}  // namespace texfilters
