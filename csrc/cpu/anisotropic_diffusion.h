// What the diffusion's kernels take: a slab of image in a workspace of its own, and one image's parameters.
#pragma once

#include <array>
#include <cstdint>

namespace texfilters {

// A plane, a volume or a band of layers of one (a layer is a row in 2-D, a slice in 3-D), with all channels that are
// coupled. Rows lie `stride` apart, a multiple of the widest vector with at least one lane to spare, so that no row
// needs a scalar tail; what is beyond the width is never read into a pixel.
template <class T>
struct Slab {
  T* state;                // [channels, depth, height, stride], channels `channel_stride` apart; 64-byte aligned
  T* workspace;            // workspace_elements() of them
  int64_t channels;        // that share one conductance; 1 without coupling
  int64_t channel_stride;  // in elements
  int64_t depth;           // 1 in 2-D
  int64_t height;
  int64_t width;
  int64_t stride;

  // A row of weights for every axis, then for every channel a row of fluxes and in 3-D a slice of them.
  int64_t workspace_elements(bool volume) const { return stride * (3 + channels * (volume ? height + 1 : 1)); }
};

struct DiffusionParameters {
  int option;
  bool volume;
  double kappa;
  double gamma;
  std::array<double, 3> spacing;  // z, y, x
};

// Runs `steps` iterations. An open end has neighbors beyond the slab: there each iteration leaves one more layer as it
// is, so that what remains is exact.
template <class T>
using DiffuseSlab = void (*)(const Slab<T>&, const DiffusionParameters&, int64_t steps, bool open_front,
                             bool open_back);

// What is compiled for every instruction set, for images of type S computed in T.
template <class S, class T>
struct DiffusionKernels {
  void (*read_row)(const S* source, int64_t step, T* row, int64_t width);
  void (*write_row)(const T* row, S* target, int64_t step, int64_t width);
  DiffuseSlab<T> diffuse;
};

}  // namespace texfilters
