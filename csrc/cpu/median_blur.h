// Medians of a plane's windows, row by row. The arithmetic is in median_blur.simd.h.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "cpu/isa.h"
#include "cpu/row_ring.h"

namespace texfilters {

// A median needs no more than the order of its values: floating-point numbers are taken as integers of their size in
// the same order.
template <class S>
using MedianKey = std::conditional_t<
    sizeof(S) == 1, uint8_t,
    std::conditional_t<sizeof(S) == 2, int16_t, std::conditional_t<sizeof(S) == 4, int32_t, int64_t>>>;

// Beyond it, on either side, are the NaNs.
template <class T, class S>
constexpr T infinity_key() {
  if constexpr (std::is_same_v<T, uint8_t>) return std::numeric_limits<T>::max();
  constexpr int kMantissa = std::numeric_limits<S>::digits - 1;
  return static_cast<T>(std::numeric_limits<T>::max() >> kMantissa << kMantissa);
}

constexpr int64_t kLargestNetwork = 9;
constexpr int64_t kLargestPitch = 4;
constexpr int64_t kMedianRows = 12;  // that are best computed at once
template <class T>
constexpr int64_t kMedianAhead = 512 / sizeof(T);  // is fetched early: so many rows the hardware does not follow

// A piece of a row, such that the sorted columns, their pairs and fours stay in the cache; and their lists' stride,
// with the margins.
template <class T>
constexpr int64_t kMedianChunk = 1024 / sizeof(T);
template <class T>
constexpr int64_t kMedianStride = kMedianChunk<T> + 3 * kRowStep;
static_assert(kLargestNetwork / 2 * 2 * kLargestPitch <= kRowStep);
template <class T>
constexpr int64_t median_memory(int64_t ksize) {
  return (ksize <= 7 ? 3 : 7) * ksize * kMedianStride<T>;
}

template <class C>
struct HistogramKernels {
  void (*count_row)(C* coarse, C* fine, const uint8_t* row, int64_t width, int64_t times);
  void (*exchange_rows)(C* coarse, C* fine, const uint8_t* enters, const uint8_t* leaves, int64_t width);
  void (*select)(const C* coarse, const C* fine, uint8_t* out, int64_t width, int64_t pitch, int64_t ksize);
};

// What is compiled for every instruction set.
template <class T>
struct MedianKernels {
  void (*median_rows_of_3)(const T* const* rows, T* const* out, int64_t count, int64_t width, int64_t pitch,
                           T infinity);
  std::array<void (*)(const T* const* rows, T* out, int64_t width, int64_t pitch, T* memory), 3> network;  // 5, 7, 9
  void (*select)(const T* const* rows, const int64_t* times, int64_t count, T* out, int64_t width, int64_t pitch,
                 int64_t ksize);
  HistogramKernels<uint8_t> histogram;        // windows of up to 255
  HistogramKernels<uint16_t> wide_histogram;  // of up to 65535
  bool (*turn_row)(T* row, int64_t width, T infinity);
};

template <class T>
MedianKernels<T> median_kernels(Isa isa);

// Histograms of the columns of a window that moves down.
template <class C>
class ColumnHistograms {
 public:
  ColumnHistograms(int64_t width, const HistogramKernels<C>& kernels)
      : width_(width), kernels_(kernels), coarse_(allocate<C>(16 * width)), fine_(allocate<C>(256 * width)) {}

  // Around row y; the ring holds the window's rows.
  void start(const RowRing<uint8_t>& rows, int64_t y, int64_t radius, int64_t height) {
    std::fill_n(coarse_.get(), 16 * width_, C{});
    std::fill_n(fine_.get(), 256 * width_, C{});
    for_each_in_window(y, radius, height, [&](int64_t row, int64_t times) {
      kernels_.count_row(coarse_.get(), fine_.get(), rows.row(row), width_, times);
    });
  }
  // From row y - 1 to row y; the ring still holds the row that leaves.
  void move(const RowRing<uint8_t>& rows, int64_t y, int64_t radius) {
    kernels_.exchange_rows(coarse_.get(), fine_.get(), rows.row(y + radius), rows.row(y - radius - 1), width_);
  }
  void select(uint8_t* out, int64_t pitch, int64_t ksize) const {
    kernels_.select(coarse_.get(), fine_.get(), out, width_, pitch, ksize);
  }

 private:
  int64_t width_;
  HistogramKernels<C> kernels_;
  Buffer<C> coarse_, fine_;
};

// The medians of one plane, or of planes interleaved (`pitch` elements apart), row after row:
//
//   MedianRows<uint8_t> median(height, width, pitch, ksize, 255, isa);
//   median.start(y);
//   median.next(read, &out, 1);  // row y, then y + 1, ...
//
// `width` counts elements. read(y, row) copies a row of the image; no row is asked for twice, unless `start` goes back.
// What it copies and what comes out are the bits of the image; keys are used within.
template <class T>
class MedianRows {
 public:
  MedianRows(int64_t height, int64_t width, int64_t pitch, int64_t ksize, T infinity, Isa isa)
      : height_(height),
        width_(width),
        pitch_(pitch),
        ksize_(ksize),
        radius_(ksize / 2),
        infinity_(infinity),
        kernels_(median_kernels<T>(isa)),
        margin_(method() == Method::select || method() == Method::threes ? radius_ * pitch : 0),
        ring_(height, width + 2 * margin_, reach()),
        has_nan_(ring_.count()),
        memory_(allocate<T>(method() == Method::network ? median_memory<T>(ksize) : 0)) {
    if (method() == Method::histogram) {
      if (ksize <= 255)
        narrow_.emplace_back(width, kernels_.histogram);
      else
        wide_.emplace_back(width, kernels_.wide_histogram);
    }
  }

  // `plane`: rows that need not be copied, `stride` elements apart.
  void start(int64_t y, const T* plane = nullptr, int64_t stride = 0) {
    y_ = y;
    fresh_ = true;
    ring_.start(y - radius_);
    // Vectors pass a row's ends, into the rows around it. The first and the last row have none on one side.
    plane_ = method() == Method::threes && width_ >= kRowStep && stride >= width_ ? plane : nullptr;
    stride_ = stride;
  }

  // `count` rows at once, at most kMedianRows.
  template <class Read>
  void next(const Read& read, T* const* out, int64_t count) {
    if (method() == Method::threes) {
      read_to(y_ + count, read);
      threes(out, count);
      y_ += count;
    } else {
      for (int64_t i = 0; i < count; ++i, ++y_) {
        read_to(y_ + radius_, read);
        one_row(out[i]);
        spread_nan(out[i]);
        kernels_.turn_row(out[i], width_, infinity_);
        fresh_ = false;
      }
    }
  }

 private:
  enum class Method { copy, threes, network, select, histogram };
  Method method() const {
    if (ksize_ == 1) return Method::copy;
    if (ksize_ == 3) return Method::threes;
    if (ksize_ <= kLargestNetwork && pitch_ <= kLargestPitch) return Method::network;
    return std::is_same_v<T, uint8_t> ? Method::histogram : Method::select;
  }

  // Rows of the ring. Above all the histograms still have to see the row that leaves them.
  int64_t reach() const {
    return method() == Method::threes ? kMedianRows + 2 : method() == Method::histogram ? ksize_ + 1 : ksize_;
  }

  bool in_place(int64_t y) const { return plane_ != nullptr && y > 0 && y < height_ - 1; }

  template <class Read>
  void read_to(int64_t last, const Read& read) {
    ring_.read_to(last, [&](int64_t y, T* row) {
      if (in_place(y)) return;
      T* first = row + margin_;
      read(y, first);
      if (method() == Method::threes) return;
      has_nan_[y % ring_.count()] = kernels_.turn_row(first, width_, infinity_);
      for (int64_t i = 0; i < margin_; ++i) first[-1 - i] = first[pitch_ - 1 - i % pitch_];
      for (int64_t i = 0; i < margin_; ++i) first[width_ + i] = first[width_ - pitch_ + i % pitch_];
    });
  }

  void one_row(T* out) {
    switch (method()) {
      case Method::copy:
        std::copy_n(ring_.row(y_), width_, out);
        break;
      case Method::network:
        network(out);
        break;
      case Method::select:
        select(out);
        break;
      default:
        if constexpr (std::is_same_v<T, uint8_t>) {
          if (ksize_ <= 255)
            histogram(narrow_.front(), out);
          else
            histogram(wide_.front(), out);
        }
    }
  }

  void threes(T* const* out, int64_t count) {
    std::array<const T*, kMedianRows + 2> rows;
    for (int64_t i = 0; i < count + 2; ++i) {
      const int64_t y = y_ - 1 + i;
      rows[i] = in_place(y) ? plane_ + y * stride_ : ring_.row(y) + margin_;
    }
    kernels_.median_rows_of_3(rows.data(), out, count, width_, pitch_, infinity_);
  }

  void network(T* out) {
    std::array<const T*, kLargestNetwork> rows;
    for (int64_t i = 0; i < ksize_; ++i) rows[i] = ring_.row(y_ - radius_ + i);
    kernels_.network[radius_ - 2](rows.data(), out, width_, pitch_, memory_.get());
  }

  void select(T* out) {
    rows_.clear();
    times_.clear();
    for_each_in_window(y_, radius_, height_, [&](int64_t y, int64_t times) {
      rows_.push_back(ring_.row(y));
      times_.push_back(times);
    });
    kernels_.select(rows_.data(), times_.data(), static_cast<int64_t>(rows_.size()), out, width_, pitch_, ksize_);
  }

  template <class C>
  void histogram(ColumnHistograms<C>& columns, uint8_t* out) {
    if (fresh_)
      columns.start(ring_, y_, radius_, height_);
    else
      columns.move(ring_, y_, radius_);
    columns.select(out, pitch_, ksize_);
  }

  // Wherever a window of row y_ holds one. The largest key is a NaN.
  void spread_nan(T* out) {
    if constexpr (std::is_same_v<T, uint8_t>) return;
    bool any = false;
    nan_columns_.resize(width_);
    for_each_in_window(y_, radius_, height_, [&](int64_t y, int64_t) {
      if (!has_nan_[y % ring_.count()]) return;
      if (!any) std::fill(nan_columns_.begin(), nan_columns_.end(), 0);
      any = true;
      const T* row = ring_.row(y) + margin_;
      for (int64_t x = 0; x < width_; ++x) nan_columns_[x] |= row[x] > infinity_ || row[x] < static_cast<T>(~infinity_);
    });
    if (!any) return;
    const int64_t reach = radius_ * pitch_;
    for (int64_t channel = 0; channel < pitch_; ++channel) {
      int64_t last = channel - reach - pitch_;  // the last NaN that the window has met
      for (int64_t x = channel - reach; x < width_; x += pitch_) {
        const int64_t enters = x + reach;
        if (enters < width_ && nan_columns_[enters]) last = enters;
        if (x >= 0 && last >= x - reach) out[x] = std::numeric_limits<T>::max();
      }
    }
  }

  int64_t height_, width_, pitch_, ksize_, radius_;
  T infinity_;
  MedianKernels<T> kernels_;
  int64_t margin_;  // beyond each end of the rows
  RowRing<T> ring_;
  std::vector<char> has_nan_;  // for each row of the ring
  Buffer<T> memory_;
  std::vector<const T*> rows_;
  std::vector<int64_t> times_;
  std::vector<ColumnHistograms<uint8_t>> narrow_;
  std::vector<ColumnHistograms<uint16_t>> wide_;
  std::vector<char> nan_columns_;
  const T* plane_ = nullptr;
  int64_t stride_ = 0;
  int64_t y_ = 0;
  bool fresh_ = true;
};

}  // namespace texfilters
