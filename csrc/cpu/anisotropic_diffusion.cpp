// Perona-Malik diffusion on the CPU: which thread diffuses what. The arithmetic is in anisotropic_diffusion.simd.h.
#include "cpu/anisotropic_diffusion.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/planes.h"
#include "cpu/threads.h"
#include "per_image.h"

#define TEXFILTERS_ISA_FILE "cpu/anisotropic_diffusion.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {
namespace {

using torch::stable::Tensor;

// What bringing all threads together costs, in pixel-iterations of one thread.
constexpr int64_t kMeeting = 20000;

template <class S, class T>
DiffusionKernels<S, T> kernels_for(Isa isa) {
  return TEXFILTERS_FOR_ISA(isa, diffusion_kernels<S, T>());
}

template <class S>
class Diffusion {
  using T = Compute<S>;

 public:
  Diffusion(const Tensor& image, const Tensor& output, const PerImage& niter, const PerImage& kappa,
            const PerImage& gamma, const SpatialAxes& axes, bool coupled, const DiffusionParameters& common)
      : ndim_(common.volume ? 3 : 2),
        units_(image, ndim_, axes, coupled),
        in_(image, static_cast<const S*>(image.const_data_ptr()), ndim_, axes, coupled),
        out_(output, static_cast<S*>(output.mutable_data_ptr()), ndim_, axes, coupled),
        units_per_image_(image.dim() == ndim_ + 2 && !units_.empty() ? units_.count / image.size(0) : units_.count),
        niter_(niter),
        kappa_(kappa),
        gamma_(gamma),
        common_(common),
        layers_(common.volume ? units_.depth : units_.height),
        layer_pixels_(units_.channels * units_.width * (common.volume ? units_.height : 1)),
        kernels_(kernels_for<S, T>(current_isa())) {}

  // Whole units to every thread; those that do not go round are cut into bands for all threads together.
  void run() const {
    if (units_.empty()) return;
    int64_t work = 0;
    for (int64_t unit = 0; unit < units_.count; ++unit) work += layers_ * layer_pixels_ * steps(unit);
    const int64_t threads = threads_for(work);
    const int64_t left = units_.count % threads, bands = std::min(threads, layers_ / (2 * least_halo()));
    const int64_t banded = bands > 1 && 5 * left <= 4 * threads ? left : 0;
    const int64_t whole = units_.count - banded;
    run_whole(whole, std::min(threads, whole));
    for (int64_t unit = whole; unit < units_.count; ++unit) run_banded(unit, bands);
  }

 private:
  int64_t steps(int64_t unit) const { return std::max<int64_t>(0, niter_[unit / units_per_image_]); }
  DiffusionParameters parameters(int64_t unit) const {
    DiffusionParameters p = common_;
    p.kappa = kappa_[unit / units_per_image_];
    p.gamma = gamma_[unit / units_per_image_];
    return p;
  }

  void run_whole(int64_t units, int64_t threads) const {
    std::vector<Buffer<T>> memory;
    for (int64_t i = 0; i < threads; ++i) memory.push_back(allocate<T>(slab_elements(layers_)));
    std::atomic<int64_t> next{0};
    for_each_thread(threads, [&](int64_t thread) {
      for (int64_t unit; (unit = next.fetch_add(1)) < units;) run_unit(unit, slab(memory[thread].get(), layers_));
    });
  }

  void run_unit(int64_t unit, const Slab<T>& s) const {
    if (steps(unit) == 0) return copy(unit);
    read(unit, 0, layers_, s);
    kernels_.diffuse(s, parameters(unit), steps(unit), false, false);
    write(unit, 0, layers_, s, 0);
  }

  // Steps that bands run before they meet, each with as many layers of its neighbors: the work done twice against
  // meetings, of which there should be few in any case, since each waits for a thread that the system may just have put
  // aside.
  int64_t least_halo() const {
    return std::max<int64_t>(1, std::lround(std::sqrt(static_cast<double>(kMeeting) / layer_pixels_)));
  }
  int64_t halo(int64_t bands) const { return std::max(least_halo(), layers_ / bands / 8); }

  // Bands side by side, each in a slab with `k` layers of its neighbors. After k steps those are worn off, and come
  // anew from the edges that the neighbors publish: in two sets by turns, so that none is read while it is written.
  //
  //   band b-1   ............|=========|
  //                       |hh|         |hh|         h: halo, k layers; the first and last k layers of = are published
  //   band b                 |=========|
  void run_banded(int64_t unit, int64_t bands) const {
    const int64_t all = steps(unit), k = std::min(halo(bands), all);
    if (all == 0) return copy(unit);
    const auto begin = [&](int64_t band) { return layers_ * band / bands; };
    const auto front = [&](int64_t band) { return band > 0 ? k : 0; };
    const auto back = [&](int64_t band) { return band + 1 < bands ? k : 0; };
    const auto own = [&](int64_t band) { return begin(band + 1) - begin(band); };

    std::vector<Buffer<T>> memory;
    for (int64_t b = 0; b < bands; ++b) memory.push_back(allocate<T>(slab_elements(front(b) + own(b) + back(b))));
    const int64_t edge_elements = units_.channels * k * layer_elements(slab(nullptr, 1));
    const Buffer<T> edges = allocate<T>(2 * bands * 2 * edge_elements);
    const auto edge = [&](int64_t round, int64_t band, int64_t side) {
      return edges.get() + ((round % 2 * bands + band) * 2 + side) * edge_elements;
    };

    for (int64_t done = 0, round = 0; done < all; done += k, ++round) {
      const int64_t n = std::min(k, all - done);
      for_each_thread(bands, [&](int64_t b) {
        const Slab<T> s = slab(memory[b].get(), front(b) + own(b) + back(b));
        if (round == 0) {
          read(unit, begin(b) - front(b), front(b) + own(b) + back(b), s);
        } else {
          if (b > 0) move_layers(s, 0, edge(round - 1, b - 1, 1), k, false);
          if (b + 1 < bands) move_layers(s, front(b) + own(b), edge(round - 1, b + 1, 0), k, false);
        }
        const int64_t unused_front = front(b) ? k - n : 0, unused_back = back(b) ? k - n : 0;
        kernels_.diffuse(inner(s, unused_front, unused_back), parameters(unit), n, front(b) > 0, back(b) > 0);
        if (done + n == all) {
          write(unit, begin(b), own(b), s, front(b));
        } else {
          move_layers(s, front(b), edge(round, b, 0), k, true);
          move_layers(s, front(b) + own(b) - k, edge(round, b, 1), k, true);
        }
      });
    }
  }

  Slab<T> slab(T* memory, int64_t layers) const {
    constexpr int64_t kWidest = 64 / sizeof(T);
    Slab<T> s{};
    s.channels = units_.channels;
    s.depth = common_.volume ? layers : 1;
    s.height = common_.volume ? units_.height : layers;
    s.width = units_.width;
    s.stride = (units_.width / kWidest + 2) * kWidest;
    s.channel_stride = s.depth * s.height * s.stride;
    s.workspace = memory;
    if (memory != nullptr) s.state = memory + s.workspace_elements(common_.volume);
    return s;
  }
  int64_t slab_elements(int64_t layers) const {
    const Slab<T> s = slab(nullptr, layers);
    return s.workspace_elements(common_.volume) + s.channels * s.channel_stride;
  }
  int64_t layer_elements(const Slab<T>& s) const { return common_.volume ? s.height * s.stride : s.stride; }

  // A slab without its first and last layers.
  Slab<T> inner(Slab<T> s, int64_t front, int64_t back) const {
    s.state += front * layer_elements(s);
    (common_.volume ? s.depth : s.height) -= front + back;
    return s;
  }

  void move_layers(const Slab<T>& s, int64_t layer, T* edge, int64_t count, bool out) const {
    const int64_t size = count * layer_elements(s);
    for (int64_t c = 0; c < s.channels; ++c) {
      T* inside = s.state + c * s.channel_stride + layer * layer_elements(s);
      std::memcpy(out ? edge + c * size : inside, out ? inside : edge + c * size, size * sizeof(T));
    }
  }

  void read(int64_t unit, int64_t layer, int64_t count, const Slab<T>& s) const {
    const S* source = in_.unit(units_, unit) + layer * (common_.volume ? in_.z : in_.y);
    for_rows(s, 0, count, [&](T* row, int64_t c, int64_t z, int64_t y) {
      kernels_.read_row(source + c * in_.channel + z * in_.z + y * in_.y, in_.x, row, s.width);
      std::fill(row + s.width, row + s.stride, T{});
    });
  }
  void write(int64_t unit, int64_t layer, int64_t count, const Slab<T>& s, int64_t from) const {
    S* target = out_.unit(units_, unit) + layer * (common_.volume ? out_.z : out_.y);
    for_rows(s, from, count, [&](const T* row, int64_t c, int64_t z, int64_t y) {
      kernels_.write_row(row, target + c * out_.channel + z * out_.z + y * out_.y, out_.x, s.width);
    });
  }
  template <class F>
  void for_rows(const Slab<T>& s, int64_t from, int64_t count, const F& f) const {
    for (int64_t c = 0; c < s.channels; ++c) {
      T* first = s.state + c * s.channel_stride + from * layer_elements(s);
      for (int64_t z = 0; z < (common_.volume ? count : 1); ++z) {
        for (int64_t y = 0; y < (common_.volume ? s.height : count); ++y)
          f(first + (z * s.height + y) * s.stride, c, z, y);
      }
    }
  }

  // niter 0: the bits as they are.
  void copy(int64_t unit) const {
    const S* source = in_.unit(units_, unit);
    S* target = out_.unit(units_, unit);
    for (int64_t c = 0; c < units_.channels; ++c) {
      for (int64_t z = 0; z < units_.depth; ++z) {
        for (int64_t y = 0; y < units_.height; ++y) {
          const S* from = source + c * in_.channel + z * in_.z + y * in_.y;
          S* to = target + c * out_.channel + z * out_.z + y * out_.y;
          for (int64_t x = 0; x < units_.width; ++x) to[x * out_.x] = from[x * in_.x];
        }
      }
    }
  }

  int64_t ndim_;
  Units units_;
  Planes<const S> in_;
  Planes<S> out_;
  int64_t units_per_image_;
  PerImage niter_, kappa_, gamma_;
  DiffusionParameters common_;
  int64_t layers_;        // rows in 2-D, slices in 3-D
  int64_t layer_pixels_;  // of all coupled channels
  DiffusionKernels<S, T> kernels_;
};

Tensor anisotropic_diffusion(const Tensor& image, const Tensor& niter, const Tensor& kappa, const Tensor& gamma,
                             int64_t option, std::string coupling, std::vector<double> spacing, int64_t ndim) {
  check_diffusion(image, option, spacing, ndim);
  const SpatialAxes axes(image, ndim);
  const auto distance = [&](int64_t dimension) {
    return dimension < 0 ? 1.0 : spacing[dimension - (image.dim() - ndim)];
  };
  const DiffusionParameters common{
      static_cast<int>(option), ndim == 3, 0, 0, {distance(axes.z), distance(axes.y), distance(axes.x)}};
  const Tensor output = torch::stable::empty_like(image);
  const auto run = [&](auto element) {
    Diffusion<decltype(element)>(image, output, PerImage("niter", niter, image, ndim),
                                 PerImage("kappa", kappa, image, ndim), PerImage("gamma", gamma, image, ndim), axes,
                                 coupling == "l2", common)
        .run();
  };
  with_element_type(image, run);
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("anisotropic_diffusion", TORCH_BOX(&anisotropic_diffusion));
}

}  // namespace texfilters
