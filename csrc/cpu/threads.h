// torch's own threads, and when not to use them.
#pragma once

#include <pthread.h>
#include <torch/csrc/stable/ops.h>

#include <cstdint>

namespace texfilters {

// A forked child inherits the parent's OpenMP pool without its threads and would wait for them forever.
inline bool in_forked_child = false;
[[maybe_unused]] inline const int watch_forks = pthread_atfork(nullptr, nullptr, [] { in_forked_child = true; });

// As many threads as torch.set_num_threads allows, or one if the work, in units of about a nanosecond, would be done
// before the others have woken up.
inline int64_t threads_for(int64_t work) {
  constexpr int64_t kWorthThreads = 1 << 15;
  return work < kWorthThreads || in_forked_child ? 1 : torch::stable::get_num_threads();
}

// Runs f(0) .. f(count - 1), each on a thread of its own if it can be.
template <class F>
void for_each_thread(int64_t count, const F& f) {
  const auto range = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  };
  if (count > 1 && !in_forked_child) {
    torch::stable::parallel_for(0, count, 1, range);
  } else {
    range(0, count);
  }
}

}  // namespace texfilters
