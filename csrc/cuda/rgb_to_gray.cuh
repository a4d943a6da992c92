// The kernel of rgb_to_gray, bound by memory.
#pragma once

#include "cuda/filter.cuh"
#include "cuda/luma.cuh"

namespace texfilters {

constexpr int kGrayThreads = 256, kGrayPixels = 16;  // of a thread

// As many pixels as a thread reads at once.
template <class T>
struct alignas(16) Piece {
  static constexpr int kPixels = 16 / sizeof(T);
  T at[kPixels];
};

// Grid: images, runs of kGrayThreads * kGrayPixels pixels. The launcher has made one row of all where it could.
__global__ void __launch_bounds__(kGrayThreads) gray_pixels(const __grid_constant__ FilterLaunch a) {
  const int64_t pixels = a.height * a.width;
  constexpr int kRun = kGrayThreads * kGrayPixels;
  const BlockPlace place(a, static_cast<unsigned>((pixels - 1) / kRun + 1));
  const int64_t begin = int64_t{place.part} * kRun, end = min(begin + kRun, pixels);
  const View source = at(a.source, place.plane, 0), output = at(a.output, place.plane, 0);
  with_element(source.element, source.data, [&](auto* red) {
    using T = std::remove_reference_t<decltype(*red)>;
    const T *green = red + source.channel, *blue = green + source.channel;
    T* gray = global(static_cast<T*>(output.data));

    constexpr int kPixels = Piece<T>::kPixels;
    static_assert(kRun % kPixels == 0);
    const uintptr_t addresses = reinterpret_cast<uintptr_t>(red) | reinterpret_cast<uintptr_t>(green) |
                                reinterpret_cast<uintptr_t>(blue) | reinterpret_cast<uintptr_t>(gray);
    if (a.height == 1 && source.x == 1 && output.x == 1 && addresses % sizeof(Piece<T>) == 0 && end % kPixels == 0) {
      const auto pieces = [](const T* pixels) { return reinterpret_cast<const Piece<T>*>(pixels); };
      for (int64_t i = begin / kPixels + threadIdx.x; i < end / kPixels; i += kGrayThreads) {
        const Piece<T> r = pieces(red)[i], g = pieces(green)[i], b = pieces(blue)[i];
        Piece<T> result;
#pragma unroll
        for (int k = 0; k < kPixels; ++k) result.at[k] = luma(r.at[k], g.at[k], b.at[k]);
        reinterpret_cast<Piece<T>*>(gray)[i] = result;
      }
      return;
    }
    const auto one_by_one = [&](auto width) {
      using Index = decltype(width);
#pragma unroll 4
      for (int64_t i = begin + threadIdx.x; i < end; i += kGrayThreads) {
        const int64_t y = static_cast<Index>(i) / width, x = static_cast<Index>(i) % width;
        const int64_t from = y * source.y + x * source.x;
        gray[y * output.y + x * output.x] = luma(red[from], green[from], blue[from]);
      }
    };
    if (pixels <= 0xffffffff) return one_by_one(static_cast<uint32_t>(a.width));
    one_by_one(a.width);  // in divisions of 64 bits, which take several times as long
  });
}

}  // namespace texfilters
