// Sorting networks, made at compile time: Batcher's odd-even merge (Knuth, The Art of Computer Programming, 5.3.4),
// without the comparisons that the wanted results do not depend on.
#pragma once

#include <array>
#include <cstddef>

namespace texfilters {

// Leaves the smaller of two values at `low`, the larger at `high`; only those that are wanted.
struct Comparator {
  int low, high;
  bool want_low = true, want_high = true;
};

// Works in place on values; result i is at position order[i] afterwards.
struct Network {
  static constexpr int kMost = 512;
  std::array<Comparator, kMost> steps{};
  int size = 0;
  std::array<int, 128> order{};
};

// Positions of values in ascending order.
struct Sequence {
  std::array<int, 128> at{};
  int size = 0;
  constexpr void push(int position) { at[size++] = position; }
};

constexpr Sequence every_other(const Sequence& sequence, int first) {
  Sequence result;
  for (int i = first; i < sequence.size; i += 2) result.push(sequence.at[i]);
  return result;
}

// The first, third, ... values of both merged, then the second, fourth, ... ones; what then stands side by side is at
// most one place off.
constexpr Sequence merge(Network& network, const Sequence& a, const Sequence& b) {
  if (a.size == 0) return b;
  if (b.size == 0) return a;
  Sequence result;
  if (a.size == 1 && b.size == 1) {
    network.steps[network.size++] = {a.at[0], b.at[0]};
    result.push(a.at[0]);
    result.push(b.at[0]);
    return result;
  }
  const Sequence odd = merge(network, every_other(a, 0), every_other(b, 0));
  const Sequence even = merge(network, every_other(a, 1), every_other(b, 1));
  result.push(odd.at[0]);
  for (int i = 1; i < odd.size || i <= even.size; ++i) {
    if (i < odd.size && i <= even.size) network.steps[network.size++] = {even.at[i - 1], odd.at[i]};
    if (i <= even.size) result.push(even.at[i - 1]);
    if (i < odd.size) result.push(odd.at[i]);
  }
  return result;
}

constexpr Sequence positions(int first, int count) {
  Sequence result;
  for (int i = 0; i < count; ++i) result.push(first + i);
  return result;
}

constexpr Sequence sort(Network& network, int first, int count) {
  if (count < 2) return positions(first, count);
  const Sequence front = sort(network, first, count / 2);
  return merge(network, front, sort(network, first + count / 2, count - count / 2));
}

// From the last comparison to the first: what nothing after it depends on is not wanted.
constexpr Network prune(const Network& network, const Sequence& result, int first, int count) {
  std::array<bool, 128> wanted{};
  Network kept;
  for (int i = 0; i < count; ++i) {
    kept.order[i] = result.at[first + i];
    wanted[kept.order[i]] = true;
  }
  std::array<bool, Network::kMost> needed{};
  Network all = network;
  for (int i = network.size; i-- > 0;) {
    Comparator& step = all.steps[i];
    step.want_low = wanted[step.low];
    step.want_high = wanted[step.high];
    needed[i] = step.want_low || step.want_high;
    if (needed[i]) wanted[step.low] = wanted[step.high] = true;
  }
  for (int i = 0; i < network.size; ++i) {
    if (needed[i]) kept.steps[kept.size++] = all.steps[i];
  }
  return kept;
}

// Sorts n values.
constexpr Network sorting_network(int n) {
  Network network;
  const Sequence result = sort(network, 0, n);
  return prune(network, result, 0, n);
}

// Of two sorted lists one after the other, of m and n values: the `count` values from the `first` one on.
constexpr Network merging_network(int m, int n, int first, int count) {
  Network network;
  const Sequence result = merge(network, positions(0, m), positions(m, n));
  return prune(network, result, first, count);
}

// A network is right if it is for all inputs of zeros and ones (Knuth, 5.3.4, theorem Z), of which sorted lists allow
// few.
constexpr bool merges(const Network& network, int m, int n, int first, int count) {
  for (int zeros_a = 0; zeros_a <= m; ++zeros_a) {
    for (int zeros_b = 0; zeros_b <= n; ++zeros_b) {
      std::array<bool, 128> value{};
      for (int i = 0; i < m + n; ++i) value[i] = i < m ? i >= zeros_a : i - m >= zeros_b;
      for (int i = 0; i < network.size; ++i) {
        const Comparator& step = network.steps[i];
        const bool low = value[step.low] && value[step.high], high = value[step.low] || value[step.high];
        if (step.want_low) value[step.low] = low;
        if (step.want_high) value[step.high] = high;
      }
      for (int i = 0; i < count; ++i) {
        if (value[network.order[i]] != (first + i >= zeros_a + zeros_b)) return false;
      }
    }
  }
  return true;
}

// Of `columns` whole columns of a ksize x ksize window, sorted, this many at each end cannot be the window's median:
// more than half of the window's values lie beyond them.
constexpr int hopeless(int ksize, int columns) {
  const int values = columns * ksize, half = (ksize * ksize + 1) / 2;
  return values > half ? values - half : 0;
}
// The others.
constexpr int candidates(int ksize, int columns) {
  return columns * ksize - 2 * hopeless(ksize, columns);
}

constexpr bool joins(int ksize, int a, int b) {
  const int m = candidates(ksize, a), n = candidates(ksize, b), count = candidates(ksize, a + b);
  const int first = hopeless(ksize, a + b) - hopeless(ksize, a) - hopeless(ksize, b);
  return merges(merging_network(m, n, first, count), m, n, first, count);
}
static_assert(joins(5, 1, 1) && joins(5, 2, 2));
static_assert(joins(7, 1, 1) && joins(7, 2, 2) && joins(7, 4, 2));

}  // namespace texfilters
