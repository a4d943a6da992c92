// Luma for one instruction set (see foreach_isa.h).

#include "cpu/rows.simd.h"

// ITU-R BT.601 in units of 2^-15, as OpenCV has it for 8 bits.
constexpr int kRed = 9798, kGreen = 19235, kBlue = 3735, kHalf = 1 << 14;

inline uint8_t luma(int r, int g, int b) {
  return static_cast<uint8_t>((kRed * r + kGreen * g + kBlue * b + kHalf) >> 15);
}

// 16-bit weights of two channels side by side, for the instruction that multiplies pairs and adds.
constexpr int pair(int low, int high) {
  return high << 16 | low;
}

#if defined(TEXFILTERS_AVX512)
using Pixels = __m512i;
inline Pixels luma_of_pairs(Pixels rg, Pixels b1) {
  const Pixels sum = _mm512_add_epi32(_mm512_madd_epi16(rg, _mm512_set1_epi32(pair(kRed, kGreen))),
                                      _mm512_madd_epi16(b1, _mm512_set1_epi32(pair(kBlue, kHalf))));
  return _mm512_srli_epi32(sum, 15);
}
// Planes: bytes are interleaved and packed again within each 128 bits, so that the order comes out right.
inline void luma_of_planes(const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t* gray) {
  const Pixels red = _mm512_loadu_si512(r), green = _mm512_loadu_si512(g), blue = _mm512_loadu_si512(b);
  const Pixels zero = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);
  const Pixels rg0 = _mm512_unpacklo_epi8(red, green), rg1 = _mm512_unpackhi_epi8(red, green);
  const Pixels b0 = _mm512_unpacklo_epi8(blue, one), b1 = _mm512_unpackhi_epi8(blue, one);
  const Pixels low = _mm512_packs_epi32(luma_of_pairs(_mm512_unpacklo_epi8(rg0, zero), _mm512_unpacklo_epi8(b0, zero)),
                                        luma_of_pairs(_mm512_unpackhi_epi8(rg0, zero), _mm512_unpackhi_epi8(b0, zero)));
  const Pixels high =
      _mm512_packs_epi32(luma_of_pairs(_mm512_unpacklo_epi8(rg1, zero), _mm512_unpacklo_epi8(b1, zero)),
                         luma_of_pairs(_mm512_unpackhi_epi8(rg1, zero), _mm512_unpackhi_epi8(b1, zero)));
  _mm512_storeu_si512(gray, _mm512_packus_epi16(low, high));
}
// 16 interleaved pixels, of which 64 bytes are read: four to each 128 bits, then r and g, b and 1 side by side.
inline void luma_of_interleaved(const uint8_t* rgb, uint8_t* gray) {
  const Pixels fours = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11),
                                                _mm512_loadu_si512(rgb));
  const Pixels rg = _mm512_shuffle_epi8(
      fours, _mm512_broadcast_i32x4(_mm_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1)));
  const Pixels b = _mm512_shuffle_epi8(
      fours, _mm512_broadcast_i32x4(_mm_setr_epi8(2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1)));
  const Pixels b1 = _mm512_or_si512(b, _mm512_set1_epi32(pair(0, 1)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(gray), _mm512_cvtepi32_epi8(luma_of_pairs(rg, b1)));
}
constexpr int64_t kPlaneStep = 64, kInterleavedStep = 16, kInterleavedRead = 22;  // pixels
#elif defined(TEXFILTERS_AVX2)
using Pixels = __m256i;
inline Pixels luma_of_pairs(Pixels rg, Pixels b1) {
  const Pixels sum = _mm256_add_epi32(_mm256_madd_epi16(rg, _mm256_set1_epi32(pair(kRed, kGreen))),
                                      _mm256_madd_epi16(b1, _mm256_set1_epi32(pair(kBlue, kHalf))));
  return _mm256_srli_epi32(sum, 15);
}
inline Pixels load_pixels(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void luma_of_planes(const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t* gray) {
  const Pixels red = load_pixels(r), green = load_pixels(g), blue = load_pixels(b);
  const Pixels zero = _mm256_setzero_si256(), one = _mm256_set1_epi8(1);
  const Pixels rg0 = _mm256_unpacklo_epi8(red, green), rg1 = _mm256_unpackhi_epi8(red, green);
  const Pixels b0 = _mm256_unpacklo_epi8(blue, one), b1 = _mm256_unpackhi_epi8(blue, one);
  const Pixels low = _mm256_packs_epi32(luma_of_pairs(_mm256_unpacklo_epi8(rg0, zero), _mm256_unpacklo_epi8(b0, zero)),
                                        luma_of_pairs(_mm256_unpackhi_epi8(rg0, zero), _mm256_unpackhi_epi8(b0, zero)));
  const Pixels high =
      _mm256_packs_epi32(luma_of_pairs(_mm256_unpacklo_epi8(rg1, zero), _mm256_unpacklo_epi8(b1, zero)),
                         luma_of_pairs(_mm256_unpackhi_epi8(rg1, zero), _mm256_unpackhi_epi8(b1, zero)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(gray), _mm256_packus_epi16(low, high));
}
// 8 interleaved pixels, of which 32 bytes are read.
inline void luma_of_interleaved(const uint8_t* rgb, uint8_t* gray) {
  const Pixels fours = _mm256_permutevar8x32_epi32(load_pixels(rgb), _mm256_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5));
  const Pixels rg = _mm256_shuffle_epi8(
      fours, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1)));
  const Pixels b = _mm256_shuffle_epi8(
      fours, _mm256_broadcastsi128_si256(_mm_setr_epi8(2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1)));
  const Pixels sums = luma_of_pairs(rg, _mm256_or_si256(b, _mm256_set1_epi32(pair(0, 1))));
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(gray), _mm_packus_epi16(words, words));
}
constexpr int64_t kPlaneStep = 32, kInterleavedStep = 8, kInterleavedRead = 11;
#else
// The compiler's own vectors.
inline void luma_of_planes(const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t* gray) {
  for (int x = 0; x < 16; ++x) gray[x] = luma(r[x], g[x], b[x]);
}
inline void luma_of_interleaved(const uint8_t* rgb, uint8_t* gray) {
  for (int x = 0; x < 16; ++x) gray[x] = luma(rgb[3 * x], rgb[3 * x + 1], rgb[3 * x + 2]);
}
constexpr int64_t kPlaneStep = 16, kInterleavedStep = 16, kInterleavedRead = 16;
#endif

inline void gray_row(const std::array<const uint8_t*, 3>& rgb, int64_t step, uint8_t* gray, int64_t gray_step,
                     int64_t width) {
  const uint8_t *r = rgb[0], *g = rgb[1], *b = rgb[2];
  int64_t x = 0;
  if (gray_step == 1 && step == 1) {
    for (; x + kPlaneStep <= width; x += kPlaneStep) luma_of_planes(r + x, g + x, b + x, gray + x);
  } else if (gray_step == 1 && step == 3 && g == r + 1 && b == r + 2) {
    for (; x + kInterleavedRead <= width; x += kInterleavedStep) luma_of_interleaved(r + 3 * x, gray + x);
  }
  for (; x < width; ++x) gray[x * gray_step] = luma(r[x * step], g[x * step], b[x * step]);
}

template <class T>
inline T luma_of(T r, T g, T b) {
  return T(0.299) * r + T(0.587) * g + T(0.114) * b;
}

// Plain loops with fixed steps are left to the compiler's vectorizer.
template <class S>
void gray_row(const std::array<const S*, 3>& rgb, int64_t step, S* gray, int64_t gray_step, int64_t width) {
  using T = std::conditional_t<std::is_same_v<S, double>, double, float>;
  const S *r = rgb[0], *g = rgb[1], *b = rgb[2];
  if constexpr (std::is_same_v<S, T>) {
    if (gray_step == 1 && step == 1) {
      for (int64_t x = 0; x < width; ++x) gray[x] = luma_of(r[x], g[x], b[x]);
      return;
    }
    if (gray_step == 1 && step == 3 && g == r + 1 && b == r + 2) {
      for (int64_t x = 0; x < width; ++x) gray[x] = luma_of(r[3 * x], r[3 * x + 1], r[3 * x + 2]);
      return;
    }
  }
  constexpr int64_t kPiece = 256;
  T pieces[3][kPiece];
  for (int64_t x = 0; x < width; x += kPiece) {
    const int64_t count = std::min(kPiece, width - x);
    for (int c = 0; c < 3; ++c) read_row<S, T>(rgb[c] + x * step, step, pieces[c], count);
    for (int64_t i = 0; i < count; ++i) pieces[0][i] = luma_of(pieces[0][i], pieces[1][i], pieces[2][i]);
    write_row<S, T>(pieces[0], gray + x * gray_step, gray_step, count);
  }
}

template <class S>
GrayRow<S> gray_kernel() {
  if constexpr (std::is_same_v<S, uint8_t>) {
    return static_cast<GrayRow<uint8_t>>(gray_row);
  } else {
    return gray_row<S>;
  }
}
