// The rows that a window sees, with what lies beyond the border, in a ring: each row of the image is read once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "border.h"
#include "cpu/planes.h"

namespace texfilters {

// Rows of `channels` planes, `width + 2 * radius` of T each, and 64 bytes beyond that may be read and are no pixels.
//
//        radius     width     radius
//      |  border |   row    |  border |   64 bytes or more   |
//      ^ row(y, c): pixel x of the image stands at [radius + x]
template <class T>
class RowWindow {
 public:
  RowWindow(int64_t channels, int64_t height, int64_t width, int64_t radius, Border border)
      : channels_(channels),
        height_(height),
        width_(width),
        radius_(radius),
        count_(2 * radius + 1),
        border_(border),
        stride_(elements(width + 2 * radius)),
        memory_(allocate<T>(channels * count_ * stride_)) {
    for (int64_t i = 0; i < radius; ++i) {
      left_.push_back(border_index(i - radius, width, border));
      right_.push_back(border_index(width + i, width, border));
    }
    std::fill_n(memory_.get(), channels * count_ * stride_, T{});
  }

  // Row y, of -radius .. height - 1 + radius, takes the place of row y - 2 * radius - 1. read(y, c, row) reads a row of
  // the image.
  template <class Read>
  void load(int64_t y, const Read& read) {
    const int64_t source = border_index(y, height_, border_);
    for (int64_t c = 0; c < channels_; ++c) {
      T* row = slot(y, c);
      if (source < 0) {
        std::fill_n(row, width_ + 2 * radius_, T{});
        continue;
      }
      read(source, c, row + radius_);
      for (int64_t i = 0; i < radius_; ++i) {
        row[i] = left_[i] < 0 ? T{} : row[radius_ + left_[i]];
        row[radius_ + width_ + i] = right_[i] < 0 ? T{} : row[radius_ + right_[i]];
      }
    }
  }

  const T* row(int64_t y, int64_t c = 0) const { return const_cast<RowWindow*>(this)->slot(y, c); }

 private:
  static int64_t elements(int64_t width) {
    constexpr int64_t kLine = 64 / sizeof(T);
    return (width / kLine + 2) * kLine;
  }
  T* slot(int64_t y, int64_t c) { return memory_.get() + (c * count_ + (y + radius_) % count_) * stride_; }

  int64_t channels_, height_, width_, radius_, count_;
  Border border_;
  int64_t stride_;
  Buffer<T> memory_;
  std::vector<int64_t> left_, right_;  // where the pixels beyond the border come from
};

}  // namespace texfilters
