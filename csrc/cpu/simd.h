// Vectors of one instruction set. Included once for each set, inside its namespace (see foreach_isa.h): no include
// guard. Arithmetic is the compilers' vector extension; only what that lacks is written with intrinsics.

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(TEXFILTERS_VECTOR_BYTES)));
  typedef std::conditional_t<
      sizeof(T) == 1, int8_t,
      std::conditional_t<sizeof(T) == 2, int16_t, std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>>
      Lane;
  typedef Lane bits __attribute__((vector_size(TEXFILTERS_VECTOR_BYTES)));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
using Bits = typename VecOf<T>::bits;
template <class T>
constexpr int kLanes = TEXFILTERS_VECTOR_BYTES / sizeof(T);

using VecF = Vec<float>;
using VecD = Vec<double>;

template <class T>
inline Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class V, class T>
inline void store(T* p, V v) {
  std::memcpy(p, &v, sizeof v);
}

template <class T>
inline Vec<T> splat(T value) {
  return value - Vec<T>{};  // which, unlike 0 + value, is nothing to compute
}

// a * b + c, with one rounding wherever the instruction set has it.
#if defined(TEXFILTERS_AVX512)
inline VecF fma(VecF a, VecF b, VecF c) {
  return (VecF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
inline VecD fma(VecD a, VecD b, VecD c) {
  return (VecD)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif defined(TEXFILTERS_AVX2)
inline VecF fma(VecF a, VecF b, VecF c) {
  return (VecF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
inline VecD fma(VecD a, VecD b, VecD c) {
  return (VecD)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#elif defined(__aarch64__)
inline VecF fma(VecF a, VecF b, VecF c) {
  return (VecF)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
inline VecD fma(VecD a, VecD b, VecD c) {
  return (VecD)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
template <class V>
inline V fma(V a, V b, V c) {
  return a * b + c;
}
#endif

// The larger of two, and the second if either is NaN.
#if defined(TEXFILTERS_AVX512)
inline VecF max(VecF a, VecF b) {
  return (VecF)_mm512_max_ps((__m512)a, (__m512)b);
}
inline VecD max(VecD a, VecD b) {
  return (VecD)_mm512_max_pd((__m512d)a, (__m512d)b);
}
#elif defined(TEXFILTERS_AVX2)
inline VecF max(VecF a, VecF b) {
  return (VecF)_mm256_max_ps((__m256)a, (__m256)b);
}
inline VecD max(VecD a, VecD b) {
  return (VecD)_mm256_max_pd((__m256d)a, (__m256d)b);
}
#elif defined(__x86_64__)
inline VecF max(VecF a, VecF b) {
  return (VecF)_mm_max_ps((__m128)a, (__m128)b);
}
inline VecD max(VecD a, VecD b) {
  return (VecD)_mm_max_pd((__m128d)a, (__m128d)b);
}
#else
template <class V>
inline V max(V a, V b) {
  return a > b ? a : b;
}
#endif

template <class T>
inline Vec<T> keep(Vec<T> v, Bits<T> mask) {
  return (Vec<T>)((Bits<T>)v & mask);
}

// All bits set in the first n lanes.
template <class T, class Lane, int... I>
inline Bits<T> first_lanes(Lane n, std::integer_sequence<int, I...>) {
  return Bits<T>{I...} < n;
}
template <class T>
inline Bits<T> first_lanes(int64_t n) {
  const int64_t within = std::clamp<int64_t>(n, 0, kLanes<T>);
  return first_lanes<T>(static_cast<typename VecOf<T>::Lane>(within), std::make_integer_sequence<int, kLanes<T>>{});
}

template <class B>
inline bool any(B mask) {
  const B none{};
  return std::memcmp(&mask, &none, sizeof mask) != 0;
}

// The last lane of `before`, then all but the last of `v`: each lane sees its left neighbor.
template <class T, int... I>
inline Vec<T> shift_in(Vec<T> before, Vec<T> v, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(before, v, (kLanes<T> - 1 + I)...);
#else
  return __builtin_shuffle(before, v, Bits<T>{(kLanes<T> - 1 + I)...});
#endif
}
template <class T>
inline Vec<T> shift_in(Vec<T> before, Vec<T> v) {
  return shift_in<T>(before, v, std::make_integer_sequence<int, kLanes<T>>{});
}
