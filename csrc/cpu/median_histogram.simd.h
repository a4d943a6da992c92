// Medians of large windows of 8 bits in constant time, for one instruction set (see foreach_isa.h): Perreault and
// Hebert 2007, "Median filtering in constant time", with sums from below in place of histograms, so that no bin needs
// to be looked for.
//
// Every column of the window keeps 16 counts of the values whose high half is below 0, 1, ... 15, and for each high
// half 16 counts of those whose low half is. A window is the sum of its columns: of the first kind it is always at
// hand, of the second only for the high half that its median has, brought up to date when it is needed.
//
//   coarse[column][16]        fine[high half][column][16]

// 16 of them may be wider than the instruction set's vectors and are never passed by value.
template <class C>
struct Counts {
  typedef C type __attribute__((vector_size(16 * sizeof(C))));
};
typedef int8_t Found __attribute__((vector_size(16)));

// 1 in the lanes beyond a half byte.
template <class C>
inline const C* above(int half) {
  static constexpr C kSteps[32] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  return kSteps + 15 - half;
}

template <class C>
inline void add_counts(C* p, const C* change, C times) {
  typename Counts<C>::type counts, added;
  std::memcpy(&counts, p, sizeof counts);
  std::memcpy(&added, change, sizeof added);
  counts += added * times;
  std::memcpy(p, &counts, sizeof counts);
}

template <class C>
void count_row(C* coarse, C* fine, const uint8_t* row, int64_t width, int64_t times) {
  const C weight = static_cast<C>(times);
  for (int64_t x = 0; x < width; ++x) {
    const int high = row[x] >> 4, low = row[x] & 15;
    add_counts(coarse + 16 * x, above<C>(high), weight);
    add_counts(fine + 16 * (high * width + x), above<C>(low), weight);
  }
}

template <class C>
void exchange_rows(C* coarse, C* fine, const uint8_t* enters, const uint8_t* leaves, int64_t width) {
  constexpr C kPlus = 1, kMinus = static_cast<C>(-1);
  for (int64_t x = 0; x < width; ++x) {
    const int in = enters[x], out = leaves[x];
    if (in == out) continue;
    if (in >> 4 != out >> 4) {
      add_counts(coarse + 16 * x, above<C>(in >> 4), kPlus);
      add_counts(coarse + 16 * x, above<C>(out >> 4), kMinus);
    }
    add_counts(fine + 16 * ((in >> 4) * width + x), above<C>(in & 15), kPlus);
    add_counts(fine + 16 * ((out >> 4) * width + x), above<C>(out & 15), kMinus);
  }
}

// The last lane that is at most `most`; counts from below rise, and the first is 0.
template <class S>
inline int last_at_most(const typename Counts<S>::type& counts, S most) {
#if defined(TEXFILTERS_AVX512)
  if constexpr (sizeof(S) == 2) {
    return __builtin_popcount(_mm256_cmple_epu16_mask((__m256i)counts, _mm256_set1_epi16(static_cast<int16_t>(most)))) -
           1;
  }
#endif
  const Found found = __builtin_convertvector(counts <= most, Found);
#if defined(__x86_64__)
  return __builtin_popcount(_mm_movemask_epi8((__m128i)found)) - 1;
#elif defined(__aarch64__)
  return -vaddvq_s8((int8x16_t)found) - 1;
#else
  int last = -1;
  for (int i = 0; i < 16; ++i) last -= found[i];
  return last;
#endif
}

// Columns of one channel: `size` of them, `pitch` apart.
template <class C, class S>
struct WindowSums {
  using Sums = typename Counts<S>::type;
  const C* columns;
  int64_t size, pitch, radius;

  void add(Sums& sum, int64_t x, S times = 1) const {
    typename Counts<C>::type column;
    std::memcpy(&column, columns + 16 * std::min(std::max<int64_t>(x, 0), size - 1) * pitch, sizeof column);
    sum += __builtin_convertvector(column, Sums) * times;
  }
  void sum_up(Sums& sum, int64_t x) const {
    sum = Sums{};
    add(sum, 0, static_cast<S>(std::max<int64_t>(radius - x, 0)));
    add(sum, size - 1, static_cast<S>(std::max<int64_t>(x + radius - (size - 1), 0)));
    for (int64_t i = std::max<int64_t>(x - radius, 0); i <= std::min(x + radius, size - 1); ++i) add(sum, i);
  }
  // From x - 1 to x.
  void move(Sums& sum, int64_t x) const {
    add(sum, x + radius);
    add(sum, x - radius - 1, static_cast<S>(-1));
  }
};

template <class C, class S>
void select_by_histogram(const C* coarse, const C* fine, uint8_t* out, int64_t width, int64_t pitch, int64_t ksize) {
  using Sums = typename Counts<S>::type;
  const int64_t size = width / pitch, radius = ksize / 2;
  const S half = static_cast<S>((static_cast<uint64_t>(ksize) * ksize - 1) / 2);
  for (int64_t channel = 0; channel < pitch; ++channel) {
    const WindowSums<C, S> high{coarse + 16 * channel, size, pitch, radius};
    Sums high_sums, low_sums[16];
    high.sum_up(high_sums, 0);
    int64_t up_to_date[16];  // where low_sums stand
    for (int64_t& x : up_to_date) x = -radius - 1;
    for (int64_t x = 0; x < size; ++x) {
      if (x > 0) high.move(high_sums, x);
      const int h = last_at_most<S>(high_sums, half);
      S below[16];
      std::memcpy(below, &high_sums, sizeof below);
      const WindowSums<C, S> low{fine + 16 * (h * width + channel), size, pitch, radius};
      Sums sums = low_sums[h];
      if (x - up_to_date[h] > radius) {
        low.sum_up(sums, x);
      } else {
        for (int64_t i = up_to_date[h] + 1; i <= x; ++i) low.move(sums, i);
      }
      low_sums[h] = sums;
      up_to_date[h] = x;
      out[x * pitch + channel] = static_cast<uint8_t>(16 * h + last_at_most<S>(sums, static_cast<S>(half - below[h])));
    }
  }
}
