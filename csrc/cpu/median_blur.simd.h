// The median of a row's windows for one instruction set (see foreach_isa.h), by sorting networks.
//
// Each column of a window is sorted once for all windows that see it, neighboring columns are merged in pairs and pairs
// in fours, again once for all, and each window merges those that make it up. From every list the values go that cannot
// be the median of the whole window any more.
//
//   ksize 7:   c c c c c c c      columns: 7 sorted values
//              [p ]  [p ]         pairs: 14, shared with the windows to the left
//              [    4     ][p ]c  22 of 28, 8 of 42, then 1 of 49
//
// Pixels that are neighbors lie `pitch` elements apart: 1, or the number of interleaved channels.

#include "cpu/median_histogram.simd.h"
#include "cpu/median_select.simd.h"

template <class T, int N>
struct List {
  Vec<T> at[N];
};

// Written out by the compiler one by one, so that a list stays in registers.
template <class T, int... I>
__attribute__((always_inline)) inline List<T, sizeof...(I)> load_list(const T* p, std::integer_sequence<int, I...>) {
  return {{load(p + I * kMedianStride<T>)...}};
}
template <int N, class T>
__attribute__((always_inline)) inline List<T, N> load_list(const T* p) {
  return load_list(p, std::make_integer_sequence<int, N>{});
}

template <int N, class T, int... I>
__attribute__((always_inline)) inline void store_list(T* p, const List<T, N>& list, std::integer_sequence<int, I...>) {
  (store(p + I * kMedianStride<T>, list.at[I]), ...);
}
template <int N, class T>
__attribute__((always_inline)) inline void store_list(T* p, const List<T, N>& list) {
  store_list(p, list, std::make_integer_sequence<int, N>{});
}

template <class V>
__attribute__((always_inline)) inline V smaller(V a, V b) {
  return a < b ? a : b;
}
template <class V>
__attribute__((always_inline)) inline V larger(V a, V b) {
  return a < b ? b : a;
}

template <const Network& NETWORK, int I, class T, int N>
__attribute__((always_inline)) inline void compare(List<T, N>& list) {
  constexpr Comparator step = NETWORK.steps[I];
  const Vec<T> a = list.at[step.low], b = list.at[step.high];
  if constexpr (step.want_low) list.at[step.low] = smaller(a, b);
  if constexpr (step.want_high) list.at[step.high] = larger(a, b);
}

template <const Network& NETWORK, int RESULTS, class T, int N, int... I, int... R>
__attribute__((always_inline)) inline List<T, RESULTS> apply(List<T, N> list, std::integer_sequence<int, I...>,
                                                             std::integer_sequence<int, R...>) {
  (compare<NETWORK, I>(list), ...);
  return {{list.at[std::integral_constant<int, NETWORK.order[R]>::value]...}};
}
template <const Network& NETWORK, int RESULTS, class T, int N>
__attribute__((always_inline)) inline List<T, RESULTS> apply(const List<T, N>& list) {
  return apply<NETWORK, RESULTS>(list, std::make_integer_sequence<int, NETWORK.size>{},
                                 std::make_integer_sequence<int, RESULTS>{});
}

template <class T, int M, int N, int... I, int... J>
__attribute__((always_inline)) inline List<T, M + N> concatenate(const List<T, M>& a, const List<T, N>& b,
                                                                 std::integer_sequence<int, I...>,
                                                                 std::integer_sequence<int, J...>) {
  return {{a.at[I]..., b.at[J]...}};
}

// The candidates of A + B columns from those of A and of B neighboring ones.
template <int K, int A, int B, class T>
__attribute__((always_inline)) inline List<T, candidates(K, A + B)> join(const List<T, candidates(K, A)>& a,
                                                                         const List<T, candidates(K, B)>& b) {
  constexpr int M = candidates(K, A), N = candidates(K, B);
  if constexpr (A + B == K) {
    // The value of rank k in both: the least, over i, of the larger of the i-th of a and the (k - i)-th of b.
    constexpr int kRank = (M + N + 1) / 2, kFirst = kRank > N ? kRank - N : 0, kLast = kRank < M ? kRank : M;
    Vec<T> median;
    for (int i = kFirst; i <= kLast; ++i) {
      const Vec<T> value = i == 0       ? b.at[kRank - 1]
                           : i == kRank ? a.at[kRank - 1]
                                        : larger(a.at[i - 1], b.at[kRank - i - 1]);
      median = i == kFirst ? value : smaller(median, value);
    }
    return {{median}};
  } else {
    constexpr int kFirst = hopeless(K, A + B) - hopeless(K, A) - hopeless(K, B);
    return apply<kMerging<M, N, kFirst, candidates(K, A + B)>, candidates(K, A + B)>(
        concatenate<T>(a, b, std::make_integer_sequence<int, M>{}, std::make_integer_sequence<int, N>{}));
  }
}

// The candidates of A columns, in memory from p to the right.
template <int K, int A, class T>
__attribute__((always_inline)) inline List<T, candidates(K, A)> load_candidates(const T* p) {
  return load_list<candidates(K, A)>(p);
}

// The medians of the windows that begin here, from lists of 1, 2 and 4 columns.
template <int K, class T>
__attribute__((always_inline)) inline Vec<T> median_of_lists(const T* columns, const T* pairs, const T* fours,
                                                             int64_t pitch) {
  const auto last = load_candidates<K, 1>(columns + (K - 1) * pitch);
  if constexpr (K == 9) {
    const auto left = load_candidates<K, 4>(fours), right = load_candidates<K, 4>(fours + 4 * pitch);
    return join<K, 8, 1, T>(join<K, 4, 4, T>(left, right), last).at[0];
  } else {
    const auto left = load_candidates<K, 2>(pairs), right = load_candidates<K, 2>(pairs + 2 * pitch);
    const auto four = join<K, 2, 2, T>(left, right);
    if constexpr (K == 5) return join<K, 4, 1, T>(four, last).at[0];
    if constexpr (K == 7) {
      return join<K, 6, 1, T>(join<K, 4, 2, T>(four, load_candidates<K, 2>(pairs + 4 * pitch)), last).at[0];
    }
  }
}

template <class V>
__attribute__((always_inline)) inline V middle(V a, V b, V c) {
  return larger(smaller(a, b), smaller(larger(a, b), c));
}

// Floating-point numbers as integers of the same order, and back: of a negative one all bits but the sign turn over.
template <class T, class V>
__attribute__((always_inline)) inline V turned(V bits) {
  if constexpr (std::is_same_v<T, uint8_t>) return bits;
  return static_cast<V>(bits ^ ((bits >> (8 * sizeof(T) - 1)) & std::numeric_limits<T>::max()));
}

// Pixels with their left and right neighbors, each three sorted. ENDS: a pixel in the lanes of `first` or `last` is its
// own neighbor on that side.
template <class T, bool ENDS>
__attribute__((always_inline)) inline List<T, 3> sorted_three(const T* pixels, int64_t pitch, Bits<T> first,
                                                              Bits<T> last) {
  __builtin_prefetch(pixels + kMedianAhead<T>);
  const Vec<T> here = load(pixels);
  Vec<T> left = load(pixels - pitch), right = load(pixels + pitch);
  if constexpr (ENDS) {
    left = first ? here : left;
    right = last ? here : right;
  }
  return apply<kSorting<3>, 3, T>(List<T, 3>{{turned<T>(left), turned<T>(here), turned<T>(right)}});
}

// What the windows around either of two rows take from both.
template <class T>
struct TwoRows {
  Vec<T> lowest, low, lesser, greater, high, highest;

  __attribute__((always_inline)) TwoRows(const List<T, 3>& a, const List<T, 3>& b)
      : lowest(smaller(a.at[0], b.at[0])),
        low(larger(a.at[0], b.at[0])),
        lesser(smaller(a.at[1], b.at[1])),
        greater(larger(a.at[1], b.at[1])),
        high(smaller(a.at[2], b.at[2])),
        highest(larger(a.at[2], b.at[2])) {}
};

template <class T>
__attribute__((always_inline)) inline Bits<T> nans(Vec<T> lowest, Vec<T> highest, T infinity) {
  return (lowest < static_cast<T>(~infinity)) | (highest > infinity);
}

// Of three sorted threes: the middle one of the largest of the lowest, the middle one of the middle ones and the
// smallest of the highest. NANS: or NaN, if there is one; the largest key is.
template <class T, bool NANS>
__attribute__((always_inline)) inline Vec<T> median_of_threes(const TwoRows<T>& two, const List<T, 3>& third,
                                                              T infinity) {
  Vec<T> median = middle(larger(two.low, third.at[0]), larger(two.lesser, smaller(two.greater, third.at[1])),
                         smaller(two.high, third.at[2]));
  if constexpr (NANS) {
    const Bits<T> nan = nans(smaller(two.lowest, third.at[0]), larger(two.highest, third.at[2]), infinity);
    median = nan ? splat(std::numeric_limits<T>::max()) : median;
  }
  return turned<T>(median);
}

// One vector of pixels of each row, from x on. Whether there is a NaN among those that were read, for which NANS is
// needed.
template <class T, bool NANS, bool ENDS>
__attribute__((always_inline)) inline Bits<T> median_columns_of_3(const T* const* rows, T* const* out, int64_t count,
                                                                  int64_t x, int64_t width, int64_t pitch, T infinity) {
  Bits<T> first{}, last{};
  if constexpr (ENDS) {
    first = first_lanes<T>(pitch - x);
    last = ~first_lanes<T>(width - pitch - x);
  }
  const auto read = [&](int64_t y) { return sorted_three<T, ENDS>(rows[y] + x, pitch, first, last); };
  List<T, 3> above = read(0), here = read(1);
  Vec<T> lowest = smaller(above.at[0], here.at[0]), highest = larger(above.at[2], here.at[2]);
  for (int64_t y = 0; y < count; y += 2) {
    const bool both = y + 1 < count;
    const List<T, 3> below = read(y + 2), next = both ? read(y + 3) : below;
    const TwoRows<T> two(here, below);
    __builtin_prefetch(out[y] + x + kMedianAhead<T>, 1);
    if (both) __builtin_prefetch(out[y + 1] + x + kMedianAhead<T>, 1);
    store_first(out[y] + x, median_of_threes<T, NANS>(two, above, infinity), width - x);
    if (both) store_first(out[y + 1] + x, median_of_threes<T, NANS>(two, next, infinity), width - x);
    if constexpr (!NANS) {
      lowest = smaller(lowest, smaller(below.at[0], next.at[0]));
      highest = larger(highest, larger(below.at[2], next.at[2]));
    }
    above = below;
    here = next;
  }
  return nans(lowest, highest, infinity);
}

template <class T, bool NANS>
bool median_rows_of_3(const T* const* rows, T* const* out, int64_t count, int64_t width, int64_t pitch, T infinity) {
  Bits<T> nan{};
  for (int64_t i = 0; i < width; i += kLanes<T>) {
    const int64_t x = std::max<int64_t>(0, std::min(i, width - kLanes<T>));
    const bool ends = x < pitch || x + kLanes<T> > width - pitch;
    nan |= ends ? median_columns_of_3<T, NANS, true>(rows, out, count, x, width, pitch, infinity)
                : median_columns_of_3<T, NANS, false>(rows, out, count, x, width, pitch, infinity);
  }
  return any(nan);
}

// Windows of 3, for several rows at once: every pixel is sorted with its left and right neighbor once for the windows
// above, around and below it. Rows hold bits, not keys; of each a vector may be read at least, and `pitch` elements
// beyond either end.
template <class T>
void median_rows_of_3(const T* const* rows, T* const* out, int64_t count, int64_t width, int64_t pitch, T infinity) {
  const bool nan = median_rows_of_3<T, false>(rows, out, count, width, pitch, infinity);
  if constexpr (!std::is_same_v<T, uint8_t>) {
    if (nan) median_rows_of_3<T, true>(rows, out, count, width, pitch, infinity);
  }
}

// The row's ends stand for what is beyond it.
template <class T>
void extend(T* row, int64_t before, int64_t end, int64_t after, int64_t pitch) {
  for (int64_t i = before; i-- > 0;) row[i] = row[i + pitch];
  for (int64_t i = end; i < end + after; ++i) row[i] = row[i - pitch];
}

template <class T, int K>
void median_row(const T* const* rows, T* out, int64_t width, int64_t pitch, T* memory) {
  const int64_t margin = K / 2 * pitch;
  T* const columns = memory;
  T* const pairs = columns + K * kMedianStride<T>;
  T* const fours = pairs + 2 * K * kMedianStride<T>;
  for (int64_t x = 0; x < width; x += kMedianChunk<T>) {
    const int64_t count = std::min(kMedianChunk<T>, width - x), length = count + 2 * margin;
    const int64_t begin = std::max<int64_t>(x - margin, 0), end = std::min(x + count + margin, width);
    const int64_t origin = x - margin;  // the pixel at columns[0]
    for (int64_t i = begin; i < end; i += kLanes<T>) {
      List<T, K> column;
      for (int j = 0; j < K; ++j) column.at[j] = load(rows[j] + i);
      store_list(columns + i - origin, apply<kSorting<K>, K>(column));
    }
    if (begin > origin || end < origin + length) {
      for (int j = 0; j < K; ++j) {
        extend(columns + j * kMedianStride<T>, begin - origin, end - origin, origin + length - end, pitch);
      }
    }
    for (int64_t i = 0; i < length - pitch; i += kLanes<T>) {
      const auto left = load_candidates<K, 1>(columns + i), right = load_candidates<K, 1>(columns + i + pitch);
      store_list(pairs + i, join<K, 1, 1, T>(left, right));
    }
    if constexpr (K >= 9) {
      for (int64_t i = 0; i < length - 3 * pitch; i += kLanes<T>) {
        const auto left = load_candidates<K, 2>(pairs + i), right = load_candidates<K, 2>(pairs + i + 2 * pitch);
        store_list(fours + i, join<K, 2, 2, T>(left, right));
      }
    }
    for (int64_t i = 0; i < count; i += kLanes<T>) {
      const int64_t at = std::max<int64_t>(0, std::min(i, count - kLanes<T>));
      store_first(out + x + at, median_of_lists<K>(columns + at, pairs + at, fours + at, pitch), count - at);
    }
  }
}

// From bits to keys, or back. Whether there is a NaN among the keys, whose bits are beyond the infinity's.
template <class T>
bool turn_row(T* row, int64_t width, T infinity) {
  if constexpr (std::is_same_v<T, uint8_t>) return false;
  T lowest = 0, highest = 0;
  for (int64_t x = 0; x < width; ++x) {
    const T key = turned<T>(row[x]);
    lowest = std::min(lowest, key);
    highest = std::max(highest, key);
    row[x] = key;
  }
  return highest > infinity || lowest < static_cast<T>(~infinity);
}

template <class T>
MedianKernels<T> median_kernels() {
  MedianKernels<T> kernels{};
  kernels.median_rows_of_3 = median_rows_of_3<T>;
  kernels.network = {median_row<T, 5>, median_row<T, 7>, median_row<T, 9>};
  kernels.turn_row = turn_row<T>;
  if constexpr (std::is_same_v<T, uint8_t>) {
    kernels.histogram = {count_row<uint8_t>, exchange_rows<uint8_t>, select_by_histogram<uint8_t, uint16_t>};
    kernels.wide_histogram = {count_row<uint16_t>, exchange_rows<uint16_t>, select_by_histogram<uint16_t, uint32_t>};
  } else {
    kernels.select = select_row<T>;
  }
  return kernels;
}
