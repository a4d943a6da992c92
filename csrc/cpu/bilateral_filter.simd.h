// The bilateral filter for one instruction set (see foreach_isa.h).
//
// Vectors of pixels visit the taps of their disk with all sums in registers. Sums are of differences to the center,
//
//   out = u + sum_q w(q) (u_q - u) / sum_q w(q),
//
// which the color distance needs in any case: flat regions keep their bits, and rounding errors are relative to
// differences. Large windows are summed row by row, so that long sums stay accurate.

// 1 + f (terms[0] + f (terms[1] + ...)).
template <class T, std::size_t N>
inline Vec<T> tap_polynomial(Vec<T> f, const std::array<double, N>& terms) {
  Vec<T> p = splat<T>(terms[N - 1]);
  for (std::size_t k = N - 1; k-- > 0;) p = fma(p, f, splat<T>(terms[k]));
  return fma(p, f, splat<T>(1));
}

// 2^t for t <= 0: 0 where that is subnormal, NaN for NaN. 2^(whole part) * 2^(fraction), the latter a polynomial.
template <class T>
inline Vec<T> tap_exp2(Vec<T> t) {
  constexpr int kMantissa = std::numeric_limits<T>::digits - 1, kBias = std::numeric_limits<T>::max_exponent - 1;
#if defined(TEXFILTERS_AVX512)
  if constexpr (sizeof(T) == 4) {
    const __m512 f = _mm512_reduce_ps((__m512)t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    const __mmask16 normal = _mm512_cmp_ps_mask((__m512)t, (__m512)splat<T>(1 - kBias), _CMP_NLT_UQ);
    return (Vec<T>)_mm512_maskz_scalef_ps(normal, (__m512)tap_polynomial<T>((Vec<T>)f, kExp2OfOne), (__m512)t);
  }
#endif
  // Adding it leaves the nearest whole number, and the exponent's bias, in the last bits.
  const Vec<T> magic = splat<T>(1.5 * (int64_t{1} << kMantissa) + kBias);
  t = max(splat<T>(-kBias), t);
  const Vec<T> shifted = t + magic, f = t - (shifted - magic);
  const Vec<T> power = (Vec<T>)((Bits<T>)shifted << kMantissa);
  if constexpr (sizeof(T) == 4)
    return tap_polynomial<T>(f, kExp2OfAHalfShort) * power;
  else
    return tap_polynomial<T>(f, kExp2Series) * power;
}

template <class T>
inline Vec<T> tap_weight(Vec<T> distance, Vec<T> color, T exponent) {
  const Vec<T> ratio = distance * color;
  return tap_exp2<T>(fma(-ratio, ratio, splat(exponent)));
}

template <class T>
inline Vec<T> magnitude(Vec<T> v) {
  return keep<T>(v, Bits<T>{} + std::numeric_limits<typename VecOf<T>::Lane>::max());
}

// One row's exponents for every dx, where dx = 0 stands.
template <class T>
inline const T* tap_exponents(const BilateralRow<T>& row, int64_t dy) {
  return row.exponent + (row.factor ? 0 : dy * (2 * row.radius + 1)) + row.radius;
}

template <int CHANNELS, int VECTORS, class T>
inline void filter_bilateral_pixels(const BilateralRow<T>& row, int64_t x) {
  const Vec<T> color = splat(row.color);
  Vec<T> center[VECTORS][CHANNELS], total[VECTORS][CHANNELS] = {}, total_weight[VECTORS] = {};
  Vec<T> sum[VECTORS][CHANNELS] = {}, weight[VECTORS] = {};
  for (int v = 0; v < VECTORS; ++v) {
    for (int c = 0; c < CHANNELS; ++c) center[v][c] = load(row.rows[row.radius * CHANNELS + c] + x + v * kLanes<T>);
  }
  for (int64_t dy = 0; dy <= 2 * row.radius; ++dy) {
    const T* source[CHANNELS];
    for (int c = 0; c < CHANNELS; ++c) source[c] = row.rows[dy * CHANNELS + c] + x;
    const T* exponents = tap_exponents(row, dy);
    const int64_t reach = row.reach[dy];
    for (int64_t dx = -reach; dx <= reach; ++dx) {
      for (int v = 0; v < VECTORS; ++v) {
        Vec<T> difference[CHANNELS], distance;
        for (int c = 0; c < CHANNELS; ++c) {
          difference[c] = load(source[c] + dx + v * kLanes<T>) - center[v][c];
          // Of a single one the square alone counts.
          const Vec<T> part = CHANNELS == 1 ? difference[c] : magnitude<T>(difference[c]);
          distance = c == 0 ? part : distance + part;
        }
        const Vec<T> w = tap_weight<T>(distance, color, exponents[dx]);
        weight[v] += w;
        for (int c = 0; c < CHANNELS; ++c) sum[v][c] = fma(w, difference[c], sum[v][c]);
      }
    }
    if (row.factor == nullptr && dy < 2 * row.radius) continue;
    const Vec<T> factor = splat(row.factor ? row.factor[dy] : T{1});
    for (int v = 0; v < VECTORS; ++v) {
      total_weight[v] = fma(factor, weight[v], total_weight[v]);
      weight[v] = Vec<T>{};
      for (int c = 0; c < CHANNELS; ++c) {
        total[v][c] = fma(factor, sum[v][c], total[v][c]);
        sum[v][c] = Vec<T>{};
      }
    }
  }
  for (int v = 0; v < VECTORS; ++v) {
    const Vec<T> scale = splat<T>(1) / total_weight[v];
    for (int c = 0; c < CHANNELS; ++c) {
      store(row.output + c * row.output_stride + x + v * kLanes<T>, fma(total[v][c], scale, center[v][c]));
    }
  }
}

template <int CHANNELS, class T>
void filter_bilateral_channels(const BilateralRow<T>& row) {
  constexpr int kVectors = CHANNELS == 1 ? 2 : 1;
  int64_t x = 0;
  for (; x + kVectors * kLanes<T> <= row.width; x += kVectors * kLanes<T>) {
    filter_bilateral_pixels<CHANNELS, kVectors>(row, x);
  }
  for (; x < row.width; x += kLanes<T>) filter_bilateral_pixels<CHANNELS, 1>(row, x);
}

// Any number of channels: the weights of some taps at a time, which then every channel sums.
template <class T>
void filter_bilateral_many(const BilateralRow<T>& row) {
  constexpr int64_t kTaps = 32;
  const int64_t channels = row.channels;
  const Vec<T> color = splat(row.color);
  const T* const* here = row.rows + row.radius * channels;
  for (int64_t x = 0; x < row.width; x += kLanes<T>) {
    for (int64_t c = 0; c < channels; ++c) store(row.output + c * row.output_stride + x, Vec<T>{});
    Vec<T> total_weight{};
    for (int64_t dy = 0; dy <= 2 * row.radius; ++dy) {
      const T* const* source = row.rows + dy * channels;
      const T* exponents = tap_exponents(row, dy);
      const Vec<T> factor = splat(row.factor ? row.factor[dy] : T{1});
      for (int64_t first = -row.reach[dy]; first <= row.reach[dy]; first += kTaps) {
        const int64_t taps = std::min(kTaps, row.reach[dy] - first + 1);
        Vec<T> w[kTaps], weight{};
        for (int64_t i = 0; i < taps; ++i) {
          Vec<T> distance{};
          for (int64_t c = 0; c < channels; ++c)
            distance += magnitude<T>(load(source[c] + x + first + i) - load(here[c] + x));
          w[i] = tap_weight<T>(distance, color, exponents[first + i]);
          weight += w[i];
        }
        total_weight = fma(factor, weight, total_weight);
        for (int64_t c = 0; c < channels; ++c) {
          const Vec<T> center = load(here[c] + x);
          Vec<T> sum{};
          for (int64_t i = 0; i < taps; ++i) sum = fma(w[i], load(source[c] + x + first + i) - center, sum);
          T* total = row.output + c * row.output_stride + x;
          store(total, fma(factor, sum, load(total)));
        }
      }
    }
    const Vec<T> scale = splat<T>(1) / total_weight;
    for (int64_t c = 0; c < channels; ++c) {
      T* total = row.output + c * row.output_stride + x;
      store(total, fma(load(total), scale, load(here[c] + x)));
    }
  }
}

template <class T>
void filter_bilateral_row(const BilateralRow<T>& row) {
  const auto filter = row.channels == 1   ? filter_bilateral_channels<1, T>
                      : row.channels == 3 ? filter_bilateral_channels<3, T>
                                          : filter_bilateral_many<T>;
  filter(row);
}
