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
  // Of a row, then of the window, whose size squared may pass 16 bits.
  using Unsigned = std::make_unsigned_t<T>;
  using Total = std::common_type_t<Unsigned, uint32_t>;
  typedef Total Totals __attribute__((vector_size(kLanes<T> * sizeof(Total))));
  const Total half = static_cast<Total>((static_cast<uint64_t>(ksize) * ksize - 1) / 2);
  for (int64_t x = 0; x < width; x += kLanes<T>) {
    Vec<T> median = splat(std::numeric_limits<T>::min());
    for (int bit = 8 * sizeof(T) - 1; bit >= 0; --bit) {
      const Vec<T> wish = median ^ splat(static_cast<T>(Unsigned{1} << bit));
      Totals below{};
      for (int64_t j = 0; j < count; ++j) {
        const T* row = rows[j] + x;
        Vec<Unsigned> in_row{};
        for (int64_t i = 0; i < ksize; ++i) in_row -= (Vec<Unsigned>)(load(row + i * pitch) < wish);
        below += __builtin_convertvector(in_row, Totals) * static_cast<Total>(times[j]);
      }
      median = __builtin_convertvector(below <= half, Vec<T>) ? wish : median;
    }
    store_first(out + x, median, width - x);
  }
}
