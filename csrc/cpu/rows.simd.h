// Reading and writing rows of an image in its own type, for one instruction set (see foreach_isa.h).

#if defined(TEXFILTERS_AVX2) || defined(TEXFILTERS_AVX512)
// The compiler does not see through the scalar conversion of a half.
inline int64_t read_halves(const c10::Half* source, float* row, int64_t n) {
  int64_t x = 0;
  for (; x + 8 <= n; x += 8) {
    _mm256_storeu_ps(row + x, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source + x))));
  }
  return x;
}
inline int64_t write_halves(const float* row, c10::Half* target, int64_t n) {
  int64_t x = 0;
  for (; x + 8 <= n; x += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target + x),
                     _mm256_cvtps_ph(_mm256_loadu_ps(row + x), _MM_FROUND_NINT));
  }
  return x;
}
#else
inline int64_t read_halves(const c10::Half*, float*, int64_t) {
  return 0;
}
inline int64_t write_halves(const float*, c10::Half*, int64_t) {
  return 0;
}
#endif

// Rounds half to even and saturates.
inline uint8_t to_uint8(float value) {
  const float shifted = std::min(std::max(value, 0.0f), 255.0f) + 8388608.0f;  // 2^23: one unit in the last place is 1
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  return static_cast<uint8_t>(bits);
}

// As many whole vectors of bytes as there are; what a compiler makes of the loops below takes up to three times as
// long.
inline int64_t read_bytes(const uint8_t* source, float* row, int64_t n) {
  int64_t x = 0;
#if defined(TEXFILTERS_AVX512)
  for (; x + 16 <= n; x += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + x));
    _mm512_storeu_ps(row + x, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)));
  }
#elif defined(TEXFILTERS_AVX2)
  for (; x + 8 <= n; x += 8) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(source + x));
    _mm256_storeu_ps(row + x, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)));
  }
#else
  static_cast<void>(source), static_cast<void>(row), static_cast<void>(n);
#endif
  return x;
}
// The larger of the value and 0 is 0 for NaN; the conversion rounds half to even; the packing saturates.
inline int64_t write_bytes(const float* row, uint8_t* target, int64_t n) {
  int64_t x = 0;
#if defined(TEXFILTERS_AVX512)
  for (; x + 16 <= n; x += 16) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_max_ps(_mm512_loadu_ps(row + x), _mm512_setzero_ps()));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target + x), _mm512_cvtusepi32_epi8(whole));
  }
#elif defined(__x86_64__)
  // A number beyond int32 would become negative.
  const __m128 most = _mm_set1_ps(255.0f);
  for (; x + 16 <= n; x += 16) {
    __m128i whole[4];
    for (int i = 0; i < 4; ++i) {
      const __m128 value = _mm_max_ps(_mm_loadu_ps(row + x + 4 * i), _mm_setzero_ps());
      whole[i] = _mm_cvtps_epi32(_mm_min_ps(value, most));
    }
    const __m128i low = _mm_packs_epi32(whole[0], whole[1]), high = _mm_packs_epi32(whole[2], whole[3]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(target + x), _mm_packus_epi16(low, high));
  }
#else
  static_cast<void>(row), static_cast<void>(target), static_cast<void>(n);
#endif
  return x;
}

template <class S, class T>
void read_row(const S* source, int64_t step, T* row, int64_t width) {
  if (step == 1) {
    int64_t x = 0;
    if constexpr (std::is_same_v<S, c10::Half>) x = read_halves(source, row, width);
    if constexpr (std::is_same_v<S, uint8_t> && std::is_same_v<T, float>) x = read_bytes(source, row, width);
    for (; x < width; ++x) row[x] = static_cast<T>(source[x]);
  } else {
    for (int64_t x = 0; x < width; ++x) row[x] = static_cast<T>(source[x * step]);
  }
}

template <class S, class T>
void write_row(const T* row, S* target, int64_t step, int64_t width) {
  const auto convert = [](T value) {
    if constexpr (std::is_same_v<S, uint8_t>) return to_uint8(value);
    return static_cast<S>(value);
  };
  if (step == 1) {
    int64_t x = 0;
    if constexpr (std::is_same_v<S, c10::Half>) x = write_halves(row, target, width);
    if constexpr (std::is_same_v<S, uint8_t> && std::is_same_v<T, float>) x = write_bytes(row, target, width);
    for (; x < width; ++x) target[x] = convert(row[x]);
  } else {
    for (int64_t x = 0; x < width; ++x) target[x * step] = convert(row[x]);
  }
}
