// Images cut into bands of rows, so that one large image keeps all threads busy as well as a batch does.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "cpu/threads.h"

namespace texfilters {

class Bands {
 public:
  // `images` of `rows` rows each; a band reads `halo` rows beyond each end. `work`: of all, in about nanoseconds.
  Bands(int64_t images, int64_t rows, int64_t halo, double work) : images_(images), rows_(rows) {
    constexpr int64_t kPerThread = 4;  // since others may hold a thread up
    const int64_t threads = threads_for(static_cast<int64_t>(std::min(work, 1e18)));
    const int64_t wanted = threads == 1 ? 1 : (kPerThread * threads + images - 1) / images;
    const int64_t thinnest = std::max<int64_t>(8, 2 * halo);
    bands_ = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(std::min(threads, rows), rows / thinnest));
    threads_ = std::min(threads, images_ * bands_);
  }

  int64_t threads() const { return threads_; }

  // f(thread, image, begin, end) for every band, on any of the threads.
  template <class F>
  void run(const F& f) const {
    std::atomic<int64_t> next{0};
    for_each_thread(threads_, [&](int64_t thread) {
      for (int64_t task; (task = next.fetch_add(1)) < images_ * bands_;) {
        const int64_t image = task / bands_, band = task % bands_;
        f(thread, image, rows_ * band / bands_, rows_ * (band + 1) / bands_);
      }
    });
  }

 private:
  int64_t images_, rows_, bands_, threads_;
};

}  // namespace texfilters
