// Adaptive thresholds of a plane, row by row. The arithmetic is in adaptive_threshold.simd.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/isa.h"
#include "cpu/row_ring.h"
#include "windows.h"

namespace texfilters {

struct ThresholdParameters {
  int64_t block_size;
  bool gaussian;
  double max_value;
  bool invert;
};

// What a pixel is compared with, beside the mean, for one image.
template <class T>
struct Decision {
  T c;      // for uint8 a whole number in -256..256
  T value;  // where a pixel is above, or inverted where it is not
  bool invert;
};

// For uint8 OpenCV's: c is rounded up, inverted down, and a c beyond the range of pixels decides for all of them.
template <class S>
Decision<std::conditional_t<std::is_same_v<S, uint8_t>, int16_t, S>> decision(const ThresholdParameters& p, double c) {
  if constexpr (std::is_same_v<S, uint8_t>) {
    const double whole = std::clamp(p.invert ? std::floor(c) : std::ceil(c), -256.0, 256.0);
    const double value = std::isnan(c) || std::isnan(p.max_value) ? 0 : std::clamp(p.max_value, 0.0, 255.0);
    return {static_cast<int16_t>(std::isnan(c) ? 0 : whole), static_cast<int16_t>(std::nearbyint(value)), p.invert};
  } else {
    return {static_cast<S>(c), static_cast<S>(p.max_value), p.invert};
  }
}
template <class S>
using DecisionOf = decltype(decision<S>(ThresholdParameters{}, 0));

// Exact sums of uint8 windows: types of a column's sum and of a window's.
template <class C, class W>
struct BoxKernels {
  void (*add_row)(C* sums, const uint8_t* row, int64_t times, int64_t width);
  void (*exchange_rows)(C* sums, const uint8_t* enters, const uint8_t* leaves, int64_t width);
  void (*decide)(C* sums, const uint8_t* row, uint8_t* out, int64_t width, int64_t pitch, int64_t block_size,
                 const DecisionOf<uint8_t>& decision, W* memory);
};

// What is compiled for every instruction set, for pixels of type S whose mean is computed in T.
template <class S, class T>
struct ThresholdKernels {
  BoxKernels<uint16_t, uint16_t> small_boxes;   // up to 15
  BoxKernels<uint16_t, uint32_t> medium_boxes;  // up to 257
  BoxKernels<uint32_t, uint64_t> large_boxes;
  void (*convert_row)(const S* row, T* converted, int64_t width);
  void (*sum_rows)(const T* const* rows, const T* times, int64_t count, T* sums, int64_t width);
  void (*decide_by_sums)(T* sums, const S* row, S* out, int64_t width, int64_t pitch, int64_t block_size,
                         const DecisionOf<S>& decision, T* memory);
  void (*filter_row)(T* padded, const T* weights, T* filtered, int64_t width, int64_t pitch, int64_t block_size);
  void (*decide_by_columns)(const T* const* rows, const T* weights, const S* row, S* out, int64_t width,
                            int64_t block_size, const DecisionOf<S>& decision, T* memory);
};

template <class S, class T>
ThresholdKernels<S, T> threshold_kernels(Isa isa);

// Of uint8: sums of the window's columns, kept up to date from row to row.
template <class C, class W>
class BoxRows {
 public:
  BoxRows(int64_t height, int64_t width, int64_t pitch, int64_t block_size, const BoxKernels<C, W>& kernels)
      : height_(height),
        width_(width),
        pitch_(pitch),
        block_size_(block_size),
        radius_(block_size / 2),
        kernels_(kernels),
        sums_(allocate_zeros<C>(row_room(width + 2 * radius_ * pitch))),
        memory_(allocate_zeros<W>(3 * row_room(width + 2 * radius_ * pitch))) {}

  void start(const RowRing<uint8_t>& rows, int64_t y) {
    C* sums = sums_.get() + radius_ * pitch_;
    std::fill_n(sums, width_, C{});
    for_each_in_window(y, radius_, height_,
                       [&](int64_t row, int64_t times) { kernels_.add_row(sums, rows.row(row), times, width_); });
  }
  void move(const RowRing<uint8_t>& rows, int64_t y) {
    kernels_.exchange_rows(sums_.get() + radius_ * pitch_, rows.row(y + radius_), rows.row(y - radius_ - 1), width_);
  }
  void decide(const uint8_t* row, uint8_t* out, const DecisionOf<uint8_t>& decision) {
    kernels_.decide(sums_.get(), row, out, width_, pitch_, block_size_, decision, memory_.get());
  }

 private:
  int64_t height_, width_, pitch_, block_size_, radius_;
  BoxKernels<C, W> kernels_;
  Buffer<C> sums_;  // with the columns beyond the border
  Buffer<W> memory_;
};

// The thresholds of one plane, or of planes interleaved (`pitch` elements apart), row after row:
//
//   ThresholdRows<uint8_t> threshold(height, width, pitch, parameters, isa);
//   threshold.start(y, decision<uint8_t>(parameters, c));
//   threshold.next(read, out);  // row y, then y + 1, ...
//
// `width` counts elements. read(y, row) reads a row of the image; no row is asked for twice, unless `start` goes back.
template <class S>
class ThresholdRows {
  using T = std::conditional_t<std::is_same_v<S, double>, double, float>;

 public:
  ThresholdRows(int64_t height, int64_t width, int64_t pitch, const ThresholdParameters& parameters, Isa isa)
      : height_(height),
        width_(width),
        pitch_(pitch),
        block_size_(parameters.block_size),
        radius_(block_size_ / 2),
        gaussian_(parameters.gaussian),
        kernels_(threshold_kernels<S, T>(isa)),
        ring_(height, width, gaussian_ ? radius_ + 1 : block_size_ + 1) {
    if (gaussian_) {
      for (const double weight : threshold_gaussian(block_size_)) weights_.push_back(static_cast<T>(weight));
      filtered_.emplace_back(height, width, block_size_);
    }
    if (boxes()) {
      if (block_size_ <= 15)
        small_.emplace_back(height, width, pitch, block_size_, kernels_.small_boxes);
      else if (block_size_ <= 257)
        medium_.emplace_back(height, width, pitch, block_size_, kernels_.medium_boxes);
      else
        large_.emplace_back(height, width, pitch, block_size_, kernels_.large_boxes);
    } else {
      padded_ = allocate_zeros<T>(row_room(width + 2 * margin()));
      memory_ = allocate_zeros<T>((gaussian_ ? 1 : 3) * row_room(width + 2 * margin()));
    }
  }

  void start(int64_t y, const DecisionOf<S>& decision) {
    y_ = y;
    fresh_ = true;
    decision_ = decision;
    ring_.start(y - radius_);
    if (gaussian_) filtered_.front().start(y - radius_);
  }

  template <class Read>
  void next(const Read& read, S* out) {
    if (gaussian_) {
      next_gaussian(read, out);
    } else {
      ring_.read_to(y_ + radius_, read);
      if constexpr (std::is_same_v<S, uint8_t>) {
        if (!small_.empty())
          next_box(small_.front(), out);
        else if (!medium_.empty())
          next_box(medium_.front(), out);
        else
          next_box(large_.front(), out);
      } else {
        next_mean(out);
      }
    }
    fresh_ = false;
    ++y_;
  }

 private:
  bool boxes() const { return std::is_same_v<S, uint8_t> && !gaussian_; }
  int64_t margin() const { return radius_ * pitch_; }

  template <class C, class W>
  void next_box(BoxRows<C, W>& box, uint8_t* out) {
    if (fresh_)
      box.start(ring_, y_);
    else
      box.move(ring_, y_);
    box.decide(ring_.row(y_), out, decision_);
  }

  // Every sum anew: what a running sum takes up, infinities above all, it would not get rid of.
  void next_mean(S* out) {
    rows_.clear();
    times_.clear();
    for_each_in_window(y_, radius_, height_, [&](int64_t y, int64_t times) {
      rows_.push_back(ring_.row(y));
      times_.push_back(static_cast<T>(times));
    });
    kernels_.sum_rows(rows_.data(), times_.data(), static_cast<int64_t>(rows_.size()), padded_.get() + margin(),
                      width_);
    kernels_.decide_by_sums(padded_.get(), ring_.row(y_), out, width_, pitch_, block_size_, decision_, memory_.get());
  }

  template <class Read>
  void next_gaussian(const Read& read, S* out) {
    RowRing<T>& filtered = filtered_.front();
    filtered.read_to(y_ + radius_, [&](int64_t y, T* row) {
      ring_.read_to(y, read);
      kernels_.convert_row(ring_.row(y), padded_.get() + margin(), width_);
      kernels_.filter_row(padded_.get(), weights_.data(), row, width_, pitch_, block_size_);
    });
    rows_.clear();
    for (int64_t i = -radius_; i <= radius_; ++i) rows_.push_back(filtered.row(y_ + i));
    kernels_.decide_by_columns(rows_.data(), weights_.data(), ring_.row(y_), out, width_, block_size_, decision_,
                               memory_.get());
  }

  int64_t height_, width_, pitch_, block_size_, radius_;
  bool gaussian_;
  ThresholdKernels<S, T> kernels_;
  RowRing<S> ring_;
  DecisionOf<S> decision_{};
  std::vector<T> weights_;
  std::vector<RowRing<T>> filtered_;  // rows filtered along x
  std::vector<BoxRows<uint16_t, uint16_t>> small_;
  std::vector<BoxRows<uint16_t, uint32_t>> medium_;
  std::vector<BoxRows<uint32_t, uint64_t>> large_;
  Buffer<T> padded_, memory_;
  std::vector<const T*> rows_;
  std::vector<T> times_;
  int64_t y_ = 0;
  bool fresh_ = true;
};

}  // namespace texfilters
