// The diffusion kernel for one instruction set (see foreach_isa.h).
//
// Flux form: every pixel computes the flux to its next neighbor along each axis, once; the flux from the previous
// neighbor is the one that this neighbor computed. Along x it comes from the vector before, along y and z from a
// rolling row and slice of fluxes. One pass updates the state in place:
//
//        flux_y[x]  (from the row above, computed there)
//            |
//   left -- u[x] -- right: flux to u[x+1], kept in a register for the next pixel
//            |
//        flux to below[x], stored over flux_y[x] for the next row
//
// A flux is the same bits from both sides, so the mean is kept, and no result depends on how a plane was cut into
// bands.

#include "cpu/rows.simd.h"

// 2^t is split into 2^(whole part), by exponent bits, and 2^(fraction), by a polynomial. Where an instruction looks up
// float32 in registers, a table of 2^(j/8), or of 2^(j/32) in two, leaves so small a fraction that fewer terms do.
template <class T>
#if defined(TEXFILTERS_AVX512)
constexpr int kTableBits = sizeof(T) == 4 ? 5 : 0;
#elif defined(TEXFILTERS_AVX2)
constexpr int kTableBits = sizeof(T) == 4 ? 3 : 0;
#else
constexpr int kTableBits = 0;
#endif
template <class T>
constexpr auto exp2_terms() {
  if constexpr (sizeof(T) == 8)
    return kExp2Series;
  else if constexpr (kTableBits<T> == 5)
    return kExp2OfA64th;
  else if constexpr (kTableBits<T> == 3)
    return kExp2OfA16th;
  else
    return kExp2OfAHalf;
}

// Brings the whole part, which `exponential` counts from here down, to where the exponent stands.
template <class T>
constexpr int kExponentShift = std::numeric_limits<T>::digits - 1 - kTableBits<T>;

template <class T>
struct Axis {
  Vec<T> scale, offset, limit;
  std::array<Vec<T>, exp2_terms<T>().size()> exp2;
  std::array<Vec<T>, kTableBits<T> ? (1 << kTableBits<T>) / kLanes<T> : 0> table;
};

template <class T>
struct Axes {
  Axis<T> x, y, z;
  Bits<T> tail;  // the lanes of a row's last vector that have a right neighbor
};

template <class T>
Axis<T> axis_constants(const DiffusionParameters& p, double spacing) {
  constexpr int kLowest = std::numeric_limits<T>::min_exponent + 6;
  const double step = std::max(p.gamma / spacing, std::ldexp(1.0, kLowest)), c = inverse_square<T>(p.kappa);
  Axis<T> axis{};
  if (p.option == 1) {  // step * 2^(scale * d^2), the step folded into the table or the polynomial
    axis.scale = splat<T>(-kLog2e * c);
    // From here on the weight is 0: the exponent's bits, added to a number as small as the step, would wrap round.
    axis.limit = splat<T>((kLowest - std::ilogb(step)) / (-kLog2e * c));
    const double factor = kTableBits<T> ? 1 : step;
    axis.offset = splat<T>(factor);
    constexpr auto terms = exp2_terms<T>();
    for (std::size_t k = 0; k < terms.size(); ++k) axis.exp2[k] = splat<T>(factor * terms[k]);
    for (std::size_t half = 0; half < axis.table.size(); ++half) {
      Vec<T> powers{};
      Bits<T> index{};
      for (int lane = 0; lane < kLanes<T>; ++lane) {
        index[lane] = half * kLanes<T> + lane;
        powers[lane] = step * std::exp2(static_cast<double>(index[lane]) / (1 << kTableBits<T>));
      }
      // Less the index's own bits, which come along with the exponent.
      axis.table[half] = (Vec<T>)((Bits<T>)powers - (index << kExponentShift<T>));
    }
  } else if (p.option == 2) {  // 1 / (1 / step + d^2 / (kappa^2 step))
    axis.offset = splat<T>(1 / step);
    axis.scale = splat<T>(std::min(c / step, static_cast<double>(std::numeric_limits<T>::max()) / 16));
  } else {  // (sqrt(step / 2) * (1 - d^2 / (2 kappa^2)))^2
    axis.offset = splat<T>(std::sqrt(step / 2));
    axis.scale = splat<T>(-std::sqrt(step / 2) * c / 2);
  }
  return axis;
}

template <class T>
inline Vec<T> polynomial(Vec<T> f, const Axis<T>& axis) {
  Vec<T> p = axis.exp2.back();
  for (std::size_t k = axis.exp2.size() - 1; k-- > 0;) p = fma(p, f, axis.exp2[k]);
  return fma(p, f, axis.offset);
}

// The table's entries that the last bits of `index` number.
#if defined(TEXFILTERS_AVX512)
inline VecF look_up(const std::array<VecF, 2>& table, VecF index) {
  return (VecF)_mm512_permutex2var_ps((__m512)table[0], (__m512i)index, (__m512)table[1]);
}
#elif defined(TEXFILTERS_AVX2)
inline VecF look_up(const std::array<VecF, 1>& table, VecF index) {
  return (VecF)_mm256_permutevar8x32_ps((__m256)table[0], (__m256i)index);
}
#endif

// step * exp(-d^2 / kappa^2).
template <class T>
inline Vec<T> exponential(Vec<T> square, const Axis<T>& axis) {
  // Adding it leaves the nearest multiple of 2^-kTableBits, counted in the last bits.
  const Vec<T> magic = splat<T>(1.5 * (int64_t{1} << kExponentShift<T>));
  const Vec<T> shifted = fma(square, axis.scale, magic);
  const Vec<T> p = polynomial<T>(fma(square, axis.scale, magic - shifted), axis);
  const Bits<T> exponent = (Bits<T>)shifted << kExponentShift<T>;
  if constexpr (kTableBits<T> > 0) {
    const Vec<T> power = (Vec<T>)((Bits<T>)look_up(axis.table, shifted) + exponent);
    return keep<T>(power * p, square < axis.limit);
  }
  return keep<T>((Vec<T>)((Bits<T>)p + exponent), square < axis.limit);
}

// gamma * g / spacing for a squared difference.
template <int OPTION, class T>
inline Vec<T> weight(Vec<T> square, const Axis<T>& axis) {
  if constexpr (OPTION == 1) return exponential<T>(square, axis);
  if constexpr (OPTION == 2) return splat<T>(1) / fma(square, axis.scale, axis.offset);
  const Vec<T> q = max(Vec<T>{}, fma(square, axis.scale, axis.offset));
  return q * q;
}

template <int OPTION, class T>
inline Vec<T> flux(Vec<T> difference, const Axis<T>& axis) {
  return weight<OPTION, T>(difference * difference, axis) * difference;
}

template <class T>
inline Vec<T> difference(const T* neighbor, const T* u, int64_t x) {
  return load(neighbor + x) - load(u + x);
}

// What flows in along y or z: the flux to the neighbor (none past the border) less the one from the neighbor before,
// which it replaces.
template <class T>
inline Vec<T> exchange(T* fluxes, Vec<T> next) {
  const Vec<T> previous = load(fluxes);
  store(fluxes, next);
  return next - previous;
}

// One row, one channel. `below` and `behind` are the next rows along y and z, null at the border; `flux_z` is null in
// 2-D.
template <int OPTION, class T>
void diffuse_row(T* u, const T* below, const T* behind, T* flux_y, T* flux_z, int64_t width, const Axes<T>& axes) {
  const Axis<T> along_x = axes.x, along_y = axes.y, along_z = axes.z;  // in registers: no store below may alias them
  Vec<T> left{};
  for (int64_t x = 0; x < width; x += kLanes<T>) {
    const Vec<T> center = load(u + x);
    Vec<T> right = flux<OPTION, T>(load(u + x + 1) - center, along_x);
    if (x + kLanes<T> >= width) right = keep<T>(right, axes.tail);
    Vec<T> inflow = right - shift_in<T>(left, right);
    left = right;
    inflow += exchange(flux_y + x, below ? flux<OPTION, T>(load(below + x) - center, along_y) : Vec<T>{});
    if (flux_z) inflow += exchange(flux_z + x, behind ? flux<OPTION, T>(load(behind + x) - center, along_z) : Vec<T>{});
    store(u + x, center + inflow);
  }
}

// The weights of one axis for all channels together: of the differences between a row and its neighbors' row.
template <int OPTION, class T>
void coupled_weights(const Slab<T>& slab, const T* u, const T* neighbor, T* weights, const Axis<T>& axis) {
  if (neighbor == nullptr) return;
  const Axis<T> constants = axis;
  for (int64_t x = 0; x < slab.width; x += kLanes<T>) {
    Vec<T> square{};
    for (int64_t c = 0; c < slab.channels; ++c) {
      const Vec<T> d = difference(neighbor + c * slab.channel_stride, u + c * slab.channel_stride, x);
      square = fma(d, d, square);
    }
    // One channel's NaN, for which an exponential is 0 here, makes the others NaN, too.
    const Vec<T> w = weight<OPTION, T>(square, constants);
    store(weights + x, square == square ? w : square);
  }
}

// The same row as above with the weights given, for one of several channels.
template <class T>
void diffuse_weighted_row(T* u, const T* below, const T* behind, T* flux_y, T* flux_z, const T* weights, int64_t stride,
                          int64_t width, const Axes<T>& axes) {
  Vec<T> left{};
  for (int64_t x = 0; x < width; x += kLanes<T>) {
    const Vec<T> center = load(u + x);
    Vec<T> right = load(weights + x) * (load(u + x + 1) - center);
    if (x + kLanes<T> >= width) right = keep<T>(right, axes.tail);
    Vec<T> inflow = right - shift_in<T>(left, right);
    left = right;
    inflow += exchange(flux_y + x, below ? load(weights + stride + x) * (load(below + x) - center) : Vec<T>{});
    if (flux_z) {
      inflow += exchange(flux_z + x, behind ? load(weights + 2 * stride + x) * (load(behind + x) - center) : Vec<T>{});
    }
    store(u + x, center + inflow);
  }
}

// The fluxes between two rows or slices, `rows` rows of all channels: what an open slab has to begin with.
template <int OPTION, class T>
void first_fluxes(const Slab<T>& slab, const T* u, const T* next, T* fluxes, int64_t rows, T* weights,
                  const Axis<T>& axis) {
  for (int64_t y = 0; y < rows; ++y) {
    const int64_t row = y * slab.stride;
    if (slab.channels > 1) coupled_weights<OPTION>(slab, u + row, next + row, weights, axis);
    for (int64_t c = 0; c < slab.channels; ++c) {
      const T* here = u + row + c * slab.channel_stride;
      const T* there = next + row + c * slab.channel_stride;
      T* out = fluxes + row + c * rows * slab.stride;
      for (int64_t x = 0; x < slab.width; x += kLanes<T>) {
        const Vec<T> d = difference(there, here, x);
        store(out + x, slab.channels > 1 ? load(weights + x) * d : flux<OPTION, T>(d, axis));
      }
    }
  }
}

template <int OPTION, class T>
void diffuse_option(const Slab<T>& slab, const DiffusionParameters& parameters, int64_t steps, bool open_front,
                    bool open_back) {
  const int64_t stride = slab.stride, slice = slab.height * stride;
  const bool volume = parameters.volume;
  const int64_t layers = volume ? slab.depth : slab.height;
  const int last_lanes = static_cast<int>((slab.width - 1) % kLanes<T>);
  const Axes<T> axes{axis_constants<T>(parameters, parameters.spacing[2]),
                     axis_constants<T>(parameters, parameters.spacing[1]),
                     axis_constants<T>(parameters, parameters.spacing[0]), first_lanes<T>(last_lanes)};
  T* weights = slab.workspace;
  T* fluxes_y = weights + 3 * stride;
  T* fluxes_z = fluxes_y + slab.channels * stride;

  const auto diffuse_line = [&](int64_t z, int64_t y) {
    T* u = slab.state + z * slice + y * stride;
    const T* below = y + 1 < slab.height ? u + stride : nullptr;
    const T* behind = z + 1 < slab.depth ? u + slice : nullptr;
    T* flux_z = volume ? fluxes_z + y * stride : nullptr;
    if (slab.channels == 1) {
      diffuse_row<OPTION>(u, below, behind, fluxes_y, flux_z, slab.width, axes);
      return;
    }
    coupled_weights<OPTION>(slab, u, u + 1, weights, axes.x);
    coupled_weights<OPTION>(slab, u, below, weights + stride, axes.y);
    if (volume) coupled_weights<OPTION>(slab, u, behind, weights + 2 * stride, axes.z);
    for (int64_t c = 0; c < slab.channels; ++c) {
      const int64_t shift = c * slab.channel_stride;
      diffuse_weighted_row(u + shift, below ? below + shift : nullptr, behind ? behind + shift : nullptr,
                           fluxes_y + c * stride, volume ? flux_z + c * slice : nullptr, weights, stride, slab.width,
                           axes);
    }
  };

  for (int64_t step = 0; step < steps; ++step) {
    const int64_t begin = open_front ? step + 1 : 0, end = layers - (open_back ? step + 1 : 0);
    T* fluxes = volume ? fluxes_z : fluxes_y;
    const int64_t rows = volume ? slab.height : 1;
    if (open_front) {
      const T* u = slab.state + (begin - 1) * (volume ? slice : stride);
      first_fluxes<OPTION>(slab, u, u + (volume ? slice : stride), fluxes, rows, weights, volume ? axes.z : axes.y);
    } else {
      std::fill_n(fluxes, slab.channels * rows * stride, T{});
    }
    for (int64_t layer = begin; layer < end; ++layer) {
      if (!volume) {
        diffuse_line(0, layer);
        continue;
      }
      std::fill_n(fluxes_y, slab.channels * stride, T{});
      for (int64_t y = 0; y < slab.height; ++y) diffuse_line(layer, y);
    }
  }
}

template <class T>
void diffuse(const Slab<T>& slab, const DiffusionParameters& parameters, int64_t steps, bool open_front,
             bool open_back) {
  const auto run = parameters.option == 1   ? diffuse_option<1, T>
                   : parameters.option == 2 ? diffuse_option<2, T>
                                            : diffuse_option<3, T>;
  run(slab, parameters, steps, open_front, open_back);
}

template <class S, class T>
DiffusionKernels<S, T> diffusion_kernels() {
  return {read_row<S, T>, write_row<S, T>, diffuse<T>};
}
