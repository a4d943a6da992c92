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

template <class T>
__attribute__((always_inline)) inline List<T, 3> sorted_three(const T* padded, int64_t pitch) {
  return apply<kSorting<3>, 3, T>(List<T, 3>{{load(padded), load(padded + pitch), load(padded + 2 * pitch)}});
}

// Of three sorted threes: the middle one of the largest of the lowest, the middle one of the middle ones and the
// smallest of the highest.
template <class T>
__attribute__((always_inline)) inline Vec<T> median_of_threes(const List<T, 3>& a, const List<T, 3>& b,
                                                              const List<T, 3>& c) {
  return middle(larger(larger(a.at[0], b.at[0]), c.at[0]), middle(a.at[1], b.at[1], c.at[1]),
                smaller(smaller(a.at[2], b.at[2]), c.at[2]));
}

// Windows of 3, for several rows at once: every pixel is sorted with its left and right neighbor once for the windows
// above, around and below it. Pixel x of the image stands at rows[y][pitch + x].
template <class T>
void median_rows_of_3(const T* const* rows, T* const* out, int64_t count, int64_t width, int64_t pitch) {
  for (int64_t i = 0; i < width; i += kLanes<T>) {
    const int64_t x = std::max<int64_t>(0, std::min(i, width - kLanes<T>));
    List<T, 3> above = sorted_three(rows[0] + x, pitch), here = sorted_three(rows[1] + x, pitch);
    for (int64_t y = 0; y < count; ++y) {
      const List<T, 3> below = sorted_three(rows[y + 2] + x, pitch);
      store_first(out[y] + x, median_of_threes(above, here, below), width - x);
      above = here;
      here = below;
    }
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

// Floating-point numbers as integers of the same order, and back: of a negative one all bits but the sign turn over.
template <class T>
inline T turned(T bits) {
  if constexpr (std::is_same_v<T, uint8_t>) return bits;
  return static_cast<T>(bits ^ ((bits >> (8 * sizeof(T) - 1)) & std::numeric_limits<T>::max()));
}

// Whether there is a NaN, whose bits are beyond the infinity's.
template <class T>
bool read_keys(const T* source, int64_t step, T* keys, int64_t width, T infinity) {
  if constexpr (std::is_same_v<T, uint8_t>) {
    if (step == 1) {
      std::memcpy(keys, source, width);
    } else {
      for (int64_t x = 0; x < width; ++x) keys[x] = source[x * step];
    }
    return false;
  } else {
    T lowest = 0, highest = 0;
    if (step == 1) {
      for (int64_t x = 0; x < width; ++x) {
        const T key = turned(source[x]);
        lowest = std::min(lowest, key);
        highest = std::max(highest, key);
        keys[x] = key;
      }
    } else {
      for (int64_t x = 0; x < width; ++x) {
        keys[x] = turned(source[x * step]);
        lowest = std::min(lowest, keys[x]);
        highest = std::max(highest, keys[x]);
      }
    }
    return highest > infinity || lowest < ~infinity;
  }
}

template <class T>
void write_keys(const T* keys, T* target, int64_t step, int64_t width) {
  if (step == 1) {
    for (int64_t x = 0; x < width; ++x) target[x] = turned(keys[x]);
  } else {
    for (int64_t x = 0; x < width; ++x) target[x * step] = turned(keys[x]);
  }
}

template <class T>
MedianKernels<T> median_kernels() {
  MedianKernels<T> kernels{};
  kernels.median_rows_of_3 = median_rows_of_3<T>;
  kernels.network = {median_row<T, 5>, median_row<T, 7>, median_row<T, 9>};
  kernels.read_keys = read_keys<T>;
  kernels.write_keys = write_keys<T>;
  if constexpr (std::is_same_v<T, uint8_t>) {
    kernels.histogram = {count_row<uint8_t>, exchange_rows<uint8_t>, select_by_histogram<uint8_t, uint16_t>};
    kernels.wide_histogram = {count_row<uint16_t>, exchange_rows<uint16_t>, select_by_histogram<uint16_t, uint32_t>};
  } else {
    kernels.select = select_row<T>;
  }
  return kernels;
}
