// Medians of large windows of integers, bit by bit, for one instruction set (see foreach_isa.h).

template <class T>
inline void store_first(T* p, Vec<T> v, int64_t count) {
  if (count >= kLanes<T>) {
    store(p, v);
  } else {
    std::memcpy(p, &v, count * sizeof(T));
  }
}

// The median is the largest t such that no more than half of the window lies below it; its bits are found from the
// highest on. rows[j] counts times[j] times; pixel x of the image stands at [x + ksize / 2 * pitch].
template <class T>
void select_row(const T* const* rows, const int64_t* times, int64_t count, T* out, int64_t width, int64_t pitch,
                int64_t ksize) {
  using Unsigned = std::make_unsigned_t<T>;
  const Vec<Unsigned> half = splat(static_cast<Unsigned>((static_cast<uint64_t>(ksize) * ksize - 1) / 2));
  for (int64_t x = 0; x < width; x += kLanes<T>) {
    Vec<T> median = splat(std::numeric_limits<T>::min());
    for (int bit = 8 * sizeof(T) - 1; bit >= 0; --bit) {
      const Vec<T> wish = median ^ splat(static_cast<T>(Unsigned{1} << bit));
      Vec<Unsigned> below{};
      for (int64_t j = 0; j < count; ++j) {
        const T* row = rows[j] + x;
        Vec<Unsigned> in_row{};
        for (int64_t i = 0; i < ksize; ++i) in_row -= (Vec<Unsigned>)(load(row + i * pitch) < wish);
        below += in_row * splat(static_cast<Unsigned>(times[j]));
      }
      median = below <= half ? wish : median;
    }
    store_first(out + x, median, width - x);
  }
}
