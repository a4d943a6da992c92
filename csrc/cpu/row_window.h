// The rows that a window sees, with what lies beyond the border, in a ring: each row of the image is read once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "border.h"
#include "cpu/planes.h"

namespace texfilters {

// What a row holds beyond its ends, `margin` pixels on each side.
class RowBorder {
 public:
  RowBorder(int64_t width, int64_t margin, Border border) : width_(width), margin_(margin) {
    for (int64_t i = 0; i < margin; ++i) {
      left_.push_back(border_index(i - margin, width, border));
      right_.push_back(border_index(width + i, width, border));
    }
  }

  // row[0] is the first pixel; row[-margin] is the first that is written.
  template <class T>
  void extend(T* row) const {
    for (int64_t i = 0; i < margin_; ++i) {
      row[i - margin_] = left_[i] < 0 ? T{} : row[left_[i]];
      row[width_ + i] = right_[i] < 0 ? T{} : row[right_[i]];
    }
  }

 private:
  int64_t width_, margin_;
  std::vector<int64_t> left_, right_;  // where the pixels beyond the border come from
};

// Elements of a row of whole cache lines, so that at least 64 bytes beyond its width may be read.
template <class T>
int64_t row_elements(int64_t width) {
  constexpr int64_t kLine = 64 / sizeof(T);
  return (width / kLine + 2) * kLine;
}

// Rows of `channels` planes, `width + 2 * margin` of T each, and 64 bytes beyond that may be read and are no pixels.
//
//        margin     width     margin
//      |  border |   row    |  border |   64 bytes or more   |
//      ^ row(y, c): pixel x of the image stands at [margin + x]
//
// An image with fewer rows than the window is kept whole, so that no window takes more memory than its image.
template <class T>
class RowWindow {
 public:
  RowWindow(int64_t channels, int64_t height, int64_t width, int64_t radius, Border border, int64_t margin)
      : channels_(channels),
        height_(height),
        width_(width),
        radius_(radius),
        count_(std::min(2 * radius + 1, height)),
        margin_(margin),
        border_(border),
        ends_(width, margin, border),
        stride_(row_elements<T>(width + 2 * margin)),
        memory_(allocate<T>((channels * count_ + 1) * stride_)) {
    std::fill_n(memory_.get(), (channels * count_ + 1) * stride_, T{});
    for (int64_t y = -radius; y < height + radius; ++y) {
      const int64_t source = border_index(y, height, border);
      slots_.push_back(source < 0 ? -1 : count_ == height ? source : (y + radius) % count_);
    }
  }
  RowWindow(int64_t channels, int64_t height, int64_t width, int64_t radius, Border border)
      : RowWindow(channels, height, width, radius, border, radius) {}

  // Row y, of -radius .. height - 1 + radius, takes the place of row y - 2 * radius - 1. read(y, c, row) reads a row of
  // the image.
  template <class Read>
  void load(int64_t y, const Read& read) {
    const int64_t source = border_index(y, height_, border_);
    if (source < 0) return;
    for (int64_t c = 0; c < channels_; ++c) {
      T* row = slot(y, c);
      read(source, c, row + margin_);
      ends_.extend(row + margin_);
    }
  }

  const T* row(int64_t y, int64_t c = 0) const { return slot(y, c); }

 private:
  T* slot(int64_t y, int64_t c) const {
    const int64_t at = slots_[y + radius_], zeros = channels_ * count_;  // the row that constant borders see
    return memory_.get() + (at < 0 ? zeros : c * count_ + at) * stride_;
  }

  int64_t channels_, height_, width_, radius_, count_, margin_;
  Border border_;
  RowBorder ends_;
  int64_t stride_;
  Buffer<T> memory_;
  std::vector<int64_t> slots_;  // of rows -radius .. height - 1 + radius
};

}  // namespace texfilters
