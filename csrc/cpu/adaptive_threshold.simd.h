// The adaptive threshold for one instruction set (see foreach_isa.h). Pixels that are neighbors lie `pitch` elements
// apart: 1, or the number of interleaved channels. Plain loops are left to the compiler's vectorizer; they run over
// whole steps of a row's room.

// The pixels beyond the border are the nearest ones.
template <class T>
void extend_row(T* padded, int64_t width, int64_t pitch, int64_t radius) {
  const int64_t margin = radius * pitch, end = margin + width;
  for (int64_t i = margin; i-- > 0;) padded[i] = padded[i + pitch];
  for (int64_t i = end; i < end + margin; ++i) padded[i] = padded[i - pitch];
}

template <class A, class B, class W>
void add_to(const A* __restrict a, const B* __restrict b, W* __restrict sum, int64_t width) {
  const int64_t steps = (width + kRowStep - 1) / kRowStep;
  for (int64_t x = 0; x < steps * kRowStep; ++x) sum[x] = static_cast<W>(a[x]) + static_cast<W>(b[x]);
}

// Sums of `size` neighbors, an odd number, from those of 2, 4, 8, ... `memory` has 3 rows of `room`.
template <class C, class W>
const W* window_sums(const C* row, int64_t width, int64_t pitch, int64_t size, W* memory, int64_t room) {
  W* power = memory;
  W* next = memory + room;
  W* sum = memory + 2 * room;
  int64_t length = width + (size - 2) * pitch;
  add_to(row, row + pitch, power, length);
  int64_t summed = 1;
  for (int64_t count = 2; count <= size; count *= 2) {
    if (size & count) {
      if (summed == 1) {
        add_to(row, power + pitch, sum, width);
      } else {
        W* from = sum;
        sum = next;
        add_to(from, power + summed * pitch, sum, width);
        next = from;
      }
      summed += count;
    }
    if (2 * count <= size) {
      length -= count * pitch;
      add_to(power, power + count * pitch, next, length);
      std::swap(power, next);
    }
  }
  return sum;
}

template <class C>
void add_row(C* __restrict sums, const uint8_t* __restrict row, int64_t times, int64_t width) {
  for (int64_t x = 0; x < width; ++x) sums[x] = static_cast<C>(sums[x] + times * row[x]);
}

template <class C>
void exchange_rows(C* __restrict sums, const uint8_t* __restrict enters, const uint8_t* __restrict leaves,
                   int64_t width) {
  for (int64_t x = 0; x < width; ++x) sums[x] = static_cast<C>(sums[x] + enters[x] - leaves[x]);
}

// With an odd number of pixels the mean is never halfway between whole numbers: rounded, it lies below a whole number
// t if and only if sum / area <= t - 1/2 - 1/(2 area), or sum + (area + 1) / 2 <= area * t. Below 0 or beyond 256 it
// does not matter where t lies.
template <class C, class W>
void decide_by_box(C* sums, const uint8_t* __restrict row, uint8_t* __restrict out, int64_t width, int64_t pitch,
                   int64_t block_size, const DecisionOf<uint8_t>& decision, W* memory) {
  extend_row(sums, width, pitch, block_size / 2);
  const W* __restrict window =
      window_sums(sums, width, pitch, block_size, memory, row_room(width + (block_size - 1) * pitch));
  const W area = static_cast<W>(block_size * block_size), half = static_cast<W>((block_size * block_size + 1) / 2);
  const uint8_t above = static_cast<uint8_t>(decision.invert ? 0 : decision.value);
  const uint8_t otherwise = static_cast<uint8_t>(decision.invert ? decision.value : 0);
  const int16_t c = decision.c;
  for (int64_t x = 0; x < width; ++x) {
    const int16_t t = std::min<int16_t>(std::max<int16_t>(row[x] + c, 0), 256);
    const bool below = static_cast<W>(window[x] + half) <= static_cast<W>(area * static_cast<W>(t));
    out[x] = below ? above : otherwise;
  }
}

// Where a pixel is above the mean less c; nowhere where either is NaN. uint8: the mean is rounded.
template <class S, class T>
void decide(const T* __restrict mean, const S* __restrict row, S* __restrict out, int64_t width,
            const DecisionOf<S>& decision) {
  const DecisionOf<S> d = decision;
  const S value = static_cast<S>(d.value);
  if constexpr (std::is_same_v<S, uint8_t>) {
    constexpr T kWhole = 8388608;  // 2^23: what is added to it is rounded half to even
    const T c = d.c;
    if (d.invert) {
      for (int64_t x = 0; x < width; ++x) out[x] = row[x] + c <= (mean[x] + kWhole) - kWhole ? value : 0;
    } else {
      for (int64_t x = 0; x < width; ++x) out[x] = row[x] + c > (mean[x] + kWhole) - kWhole ? value : 0;
    }
  } else if (d.invert) {
    for (int64_t x = 0; x < width; ++x) out[x] = row[x] <= mean[x] - d.c ? value : 0;
  } else {
    for (int64_t x = 0; x < width; ++x) out[x] = row[x] > mean[x] - d.c ? value : 0;
  }
}

template <class S, class T>
void convert_row(const S* __restrict row, T* __restrict converted, int64_t width) {
  for (int64_t x = 0; x < width; ++x) converted[x] = static_cast<T>(row[x]);
}

// How many vectors are computed side by side, so that none waits for the sum before it.
constexpr int kAbreast = 4;

template <class T>
void sum_rows(const T* const* rows, const T* times, int64_t count, T* sums, int64_t width) {
  for (int64_t x = 0; x < width; x += kAbreast * kLanes<T>) {
    Vec<T> sum[kAbreast] = {};
    for (int64_t j = 0; j < count; ++j) {
      const T* row = rows[j] + x;
      const Vec<T> weight = splat(times[j]);
      for (int i = 0; i < kAbreast; ++i) sum[i] = fma(load(row + i * kLanes<T>), weight, sum[i]);
    }
    for (int i = 0; i < kAbreast; ++i) store(sums + x + i * kLanes<T>, sum[i]);
  }
}

template <class T>
void decide_by_sums(T* sums, const T* row, T* out, int64_t width, int64_t pitch, int64_t block_size,
                    const DecisionOf<T>& decision, T* memory) {
  extend_row(sums, width, pitch, block_size / 2);
  const int64_t room = row_room(width + (block_size - 1) * pitch);
  const T* window = window_sums(sums, width, pitch, block_size, memory, room);
  const T area = static_cast<T>(block_size) * static_cast<T>(block_size);
  T* mean = memory == window ? memory + room : memory;
  for (int64_t x = 0; x < width; ++x) mean[x] = window[x] / area;
  decide<T, T>(mean, row, out, width, decision);
}

// a * b + c with one rounding on every instruction set, since the last bit of a mean can decide. The product of two
// floats is exact in double.
template <class T>
inline Vec<T> fused(Vec<T> a, Vec<T> b, Vec<T> c) {
#if defined(TEXFILTERS_AVX512) || defined(TEXFILTERS_AVX2) || defined(__aarch64__)
  return fma(a, b, c);
#else
  for (int i = 0; i < kLanes<T>; ++i)
    c[i] = static_cast<T>(static_cast<double>(a[i]) * static_cast<double>(b[i]) + static_cast<double>(c[i]));
  return c;
#endif
}

// From the left to the right, as OpenCV does: near .5 the order decides how its means are rounded.
template <class T>
void filter_row(T* padded, const T* weights, T* filtered, int64_t width, int64_t pitch, int64_t block_size) {
  extend_row(padded, width, pitch, block_size / 2);
  for (int64_t x = 0; x < width; x += kAbreast * kLanes<T>) {
    Vec<T> sum[kAbreast];
    for (int i = 0; i < kAbreast; ++i) sum[i] = load(padded + x + i * kLanes<T>) * splat(weights[0]);
    for (int64_t j = 1; j < block_size; ++j) {
      const T* tap = padded + x + j * pitch;
      const Vec<T> weight = splat(weights[j]);
      for (int i = 0; i < kAbreast; ++i) sum[i] = fused<T>(load(tap + i * kLanes<T>), weight, sum[i]);
    }
    for (int i = 0; i < kAbreast; ++i) store(filtered + x + i * kLanes<T>, sum[i]);
  }
}

// From the middle to both ends, as OpenCV does.
template <class S, class T>
void decide_by_columns(const T* const* rows, const T* weights, const S* row, S* out, int64_t width, int64_t block_size,
                       const DecisionOf<S>& decision, T* mean) {
  const int64_t radius = block_size / 2;
  for (int64_t x = 0; x < width; x += kAbreast * kLanes<T>) {
    Vec<T> sum[kAbreast];
    for (int i = 0; i < kAbreast; ++i) sum[i] = load(rows[radius] + x + i * kLanes<T>) * splat(weights[radius]);
    for (int64_t j = 1; j <= radius; ++j) {
      const T* above = rows[radius - j] + x;
      const T* below = rows[radius + j] + x;
      const Vec<T> weight = splat(weights[radius + j]);
      for (int i = 0; i < kAbreast; ++i) {
        sum[i] = fused<T>(load(above + i * kLanes<T>) + load(below + i * kLanes<T>), weight, sum[i]);
      }
    }
    for (int i = 0; i < kAbreast; ++i) store(mean + x + i * kLanes<T>, sum[i]);
  }
  decide<S, T>(mean, row, out, width, decision);
}

template <class C, class W>
BoxKernels<C, W> box_kernels() {
  return {add_row<C>, exchange_rows<C>, decide_by_box<C, W>};
}

template <class S, class T>
ThresholdKernels<S, T> threshold_kernels() {
  ThresholdKernels<S, T> kernels{};
  if constexpr (std::is_same_v<S, uint8_t>) {
    kernels.small_boxes = box_kernels<uint16_t, uint16_t>();
    kernels.medium_boxes = box_kernels<uint16_t, uint32_t>();
    kernels.large_boxes = box_kernels<uint32_t, uint64_t>();
  } else {
    kernels.sum_rows = sum_rows<T>;
    kernels.decide_by_sums = decide_by_sums<T>;
  }
  kernels.convert_row = convert_row<S, T>;
  kernels.filter_row = filter_row<T>;
  kernels.decide_by_columns = decide_by_columns<S, T>;
  return kernels;
}
