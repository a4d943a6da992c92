// The bilateral filter for one instruction set (see foreach_isa.h).
//
// Every vector of pixels visits the taps of its disk with all sums in registers. Sums are of differences to the center,
//
//   out = u + sum_q w(q) (u_q - u) / sum_q w(q),
//
// which the color distance needs in any case: flat regions keep their bits, and rounding errors are relative to
// differences. A row of the disk is summed first and then weighted by its distance in y, so that no tap has to be and
// long sums stay accurate.

template <class T>
constexpr auto bilateral_exp2_terms() {
  if constexpr (sizeof(T) == 8)
    return kExp2Series;
  else
    return kExp2OfAHalf;
}

// 2^t for t <= 0, 0 far below, NaN for NaN: 2^(whole part), by exponent bits, times 2^(fraction), by a polynomial.
template <class T>
inline Vec<T> bilateral_exp2(Vec<T> t) {
  constexpr int kMantissa = std::numeric_limits<T>::digits - 1, kBias = std::numeric_limits<T>::max_exponent - 1;
  // Adding it leaves the nearest whole number and the exponent's bias in the last bits.
  const Vec<T> magic = splat<T>(1.5 * (int64_t{1} << kMantissa) + kBias);
  t = max<Vec<T>>(splat<T>(-kBias), t);
  const Vec<T> shifted = t + magic;
  const Vec<T> f = t - (shifted - magic);
  constexpr auto terms = bilateral_exp2_terms<T>();
  Vec<T> p = splat<T>(terms.back());
  for (std::size_t k = terms.size() - 1; k-- > 0;) p = fma(p, f, splat<T>(terms[k]));
  return fma(p, f, splat<T>(1)) * (Vec<T>)((Bits<T>)shifted << kMantissa);
}

template <class T>
inline Vec<T> magnitude(Vec<T> v) {
  return keep<T>(v, Bits<T>{} + std::numeric_limits<typename VecOf<T>::Lane>::max());
}

// Weight of a tap at a color distance.
template <class T>
inline Vec<T> tap_weight(Vec<T> distance, T color, T beside) {
  const Vec<T> ratio = distance * splat(color);
  return bilateral_exp2<T>(fma(-ratio, ratio, splat(beside)));
}

template <int CHANNELS, int VECTORS, class T>
inline void filter_bilateral_pixels(const BilateralRow<T>& row, int64_t x) {
  Vec<T> center[VECTORS][CHANNELS], total[VECTORS][CHANNELS] = {}, total_weight[VECTORS] = {};
  for (int v = 0; v < VECTORS; ++v) {
    for (int c = 0; c < CHANNELS; ++c) center[v][c] = load(row.rows[row.radius * CHANNELS + c] + x + v * kLanes<T>);
  }
  for (int64_t dy = 0; dy <= 2 * row.radius; ++dy) {
    Vec<T> sum[VECTORS][CHANNELS] = {}, weights[VECTORS] = {};
    const T* source[CHANNELS];
    for (int c = 0; c < CHANNELS; ++c) source[c] = row.rows[dy * CHANNELS + c] + x;
    const int64_t reach = row.reach[dy];
    for (int64_t dx = -reach; dx <= reach; ++dx) {
      for (int v = 0; v < VECTORS; ++v) {
        Vec<T> difference[CHANNELS], distance{};
        for (int c = 0; c < CHANNELS; ++c) {
          difference[c] = load(source[c] + dx + v * kLanes<T>) - center[v][c];
          if constexpr (CHANNELS == 1)
            distance = difference[c];
          else
            distance = c == 0 ? magnitude<T>(difference[c]) : distance + magnitude<T>(difference[c]);
        }
        const Vec<T> w = tap_weight<T>(distance, row.color, row.beside[row.radius + dx]);
        weights[v] += w;
        for (int c = 0; c < CHANNELS; ++c) sum[v][c] = fma(w, difference[c], sum[v][c]);
      }
    }
    const Vec<T> below = splat(row.below[dy]);
    for (int v = 0; v < VECTORS; ++v) {
      total_weight[v] = fma(below, weights[v], total_weight[v]);
      for (int c = 0; c < CHANNELS; ++c) total[v][c] = fma(below, sum[v][c], total[v][c]);
    }
  }
  for (int v = 0; v < VECTORS; ++v) {
    for (int c = 0; c < CHANNELS; ++c) {
      store(row.output + c * row.output_stride + x + v * kLanes<T>, center[v][c] + total[v][c] / total_weight[v]);
    }
  }
}

template <int CHANNELS, class T>
void filter_bilateral_row_of(const BilateralRow<T>& row) {
  constexpr int kVectors = TEXFILTERS_VECTOR_BYTES == 64 ? 2 : 1;
  int64_t x = 0;
  for (; x + kVectors * kLanes<T> <= row.width; x += kVectors * kLanes<T>) filter_bilateral_pixels<CHANNELS, kVectors>(row, x);
  for (; x < row.width; x += kLanes<T>) filter_bilateral_pixels<CHANNELS, 1>(row, x);
}

// Any number of channels: the weights of some taps at a time, which then every channel sums.
template <class T>
void filter_bilateral_row_of_many(const BilateralRow<T>& row) {
  constexpr int64_t kTaps = 32;
  const int64_t channels = row.channels;
  const T* const* here = row.rows + row.radius * channels;
  for (int64_t x = 0; x < row.width; x += kLanes<T>) {
    for (int64_t c = 0; c < channels; ++c) store(row.output + c * row.output_stride + x, Vec<T>{});
    Vec<T> total_weight{};
    for (int64_t dy = 0; dy <= 2 * row.radius; ++dy) {
      const T* const* source = row.rows + dy * channels;
      const Vec<T> below = splat(row.below[dy]);
      for (int64_t first = -row.reach[dy]; first <= row.reach[dy]; first += kTaps) {
        Vec<T> w[kTaps], weights{};
        const int64_t taps = std::min(kTaps, row.reach[dy] - first + 1);
        for (int64_t i = 0; i < taps; ++i) {
          Vec<T> distance{};
          for (int64_t c = 0; c < channels; ++c)
            distance += magnitude<T>(load(source[c] + x + first + i) - load(here[c] + x));
          w[i] = tap_weight<T>(distance, row.color, row.beside[row.radius + first + i]);
          weights += w[i];
        }
        total_weight = fma(below, weights, total_weight);
        for (int64_t c = 0; c < channels; ++c) {
          Vec<T> sum{};
          const Vec<T> center = load(here[c] + x);
          for (int64_t i = 0; i < taps; ++i) sum = fma(w[i], load(source[c] + x + first + i) - center, sum);
          T* total = row.output + c * row.output_stride + x;
          store(total, fma(below, sum, load(total)));
        }
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      T* total = row.output + c * row.output_stride + x;
      store(total, load(here[c] + x) + load(total) / total_weight);
    }
  }
}

template <class T>
void filter_bilateral_row(const BilateralRow<T>& row) {
  const auto filter = row.channels == 1 ? filter_bilateral_row_of<1, T> : row.channels == 3 ? filter_bilateral_row_of<3, T> : filter_bilateral_row_of_many<T>;
  filter(row);
}
