// The Gaussian blur for one instruction set (see foreach_isa.h): both passes are the same symmetric sum, down over the
// rows of a window and along over shifts of one row.

template <int VECTORS, class T>
inline void sum_symmetric_pixels(const SymmetricSum<T>& s, int64_t x) {
  constexpr int64_t kTogether = 64;  // of a long sum, so that rounding errors do not add up
  const T* const* taps = s.taps + s.radius;
  Vec<T> sum[VECTORS], total[VECTORS] = {};
  for (int v = 0; v < VECTORS; ++v) sum[v] = splat(s.weights[0]) * load(taps[0] + x + v * kLanes<T>);
  for (int64_t first = 1; first <= s.radius; first += kTogether) {
    for (int64_t i = first; i < std::min(first + kTogether, s.radius + 1); ++i) {
      const Vec<T> weight = splat(s.weights[i]);
      const T *before = taps[-i] + x, *behind = taps[i] + x;
      for (int v = 0; v < VECTORS; ++v)
        sum[v] = fma(load(before + v * kLanes<T>) + load(behind + v * kLanes<T>), weight, sum[v]);
    }
    for (int v = 0; v < VECTORS; ++v) {
      total[v] += sum[v];
      sum[v] = Vec<T>{};
    }
  }
  for (int v = 0; v < VECTORS; ++v) store(s.sums + x + v * kLanes<T>, total[v] + sum[v]);
}

template <class T>
void sum_symmetric(const SymmetricSum<T>& s) {
  constexpr int kVectors = 4;  // so that sums do not wait for themselves
  int64_t x = 0;
  for (; x + kVectors * kLanes<T> <= s.width; x += kVectors * kLanes<T>) sum_symmetric_pixels<kVectors>(s, x);
  for (; x < s.width; x += kLanes<T>) sum_symmetric_pixels<1>(s, x);
}
