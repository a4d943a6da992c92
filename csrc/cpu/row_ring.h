// The rows of an image that a window sees whose border is replicated: each row is read once and kept once, and a row
// beyond the border is the nearest one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/planes.h"

namespace texfilters {

// Kernels work in steps of 64 elements: a row has room for whole steps and for one step more, which may be read and is
// no pixels.
constexpr int64_t kRowStep = 64;
constexpr int64_t row_room(int64_t width) {
  return (width + kRowStep - 1) / kRowStep * kRowStep + kRowStep;
}

template <class T>
Buffer<T> allocate_zeros(int64_t count) {
  Buffer<T> memory = allocate<T>(count);
  std::fill_n(memory.get(), count, T{});
  return memory;
}

// The last `reach` rows that were read, or all of an image with fewer.
template <class T>
class RowRing {
 public:
  RowRing(int64_t height, int64_t width, int64_t reach)
      : height_(height),
        count_(std::min(reach, height)),
        stride_(row_room(width)),
        memory_(allocate_zeros<T>(count_ * stride_)) {}

  // Row y, or the first one, is the next to be read.
  void start(int64_t y) { next_ = std::clamp<int64_t>(y, 0, height_ - 1); }

  // Reads on up to row y, or the last one, with read(y, row).
  template <class Read>
  void read_to(int64_t y, const Read& read) {
    for (const int64_t last = std::min(y, height_ - 1); next_ <= last; ++next_) read(next_, slot(next_));
  }

  const T* row(int64_t y) const { return slot(std::clamp<int64_t>(y, 0, height_ - 1)); }
  int64_t count() const { return count_; }

 private:
  T* slot(int64_t y) const { return memory_.get() + y % count_ * stride_; }

  int64_t height_, count_, stride_, next_ = 0;
  Buffer<T> memory_;
};

// How often the rows (or columns) of a window count that is cut off at the border: f(row, times) for each row that is
// there, from the first to the last.
template <class F>
void for_each_in_window(int64_t center, int64_t radius, int64_t size, const F& f) {
  const int64_t first = std::max<int64_t>(center - radius, 0), last = std::min(center + radius, size - 1);
  for (int64_t i = first; i <= last; ++i) {
    int64_t times = 1;
    if (i == 0) times += std::max<int64_t>(radius - center, 0);
    if (i == size - 1) times += std::max<int64_t>(center + radius - (size - 1), 0);
    f(i, times);
  }
}

}  // namespace texfilters
