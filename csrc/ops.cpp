// Schemas of texfilters_native::*. Each implementation registers itself at the bottom of its own file.
// Meaning is checked in Python; the kernels check only what keeps memory safe.
#include <torch/csrc/stable/library.h>

#include <string>

#include "cpu/isa.h"

namespace texfilters {

std::string instruction_set() {
  return name(current_isa());
}

STABLE_TORCH_LIBRARY(texfilters_native, m) {
  m.def(
      "anisotropic_diffusion(Tensor image, Tensor niter, Tensor kappa, Tensor gamma, int option, str coupling, "
      "float[] spacing, int ndim) -> Tensor");
  m.def("bilateral_filter(Tensor image, int d, Tensor sigma_color, Tensor sigma_space, str border) -> Tensor");
  m.def("gaussian_blur(Tensor image, Tensor sigma, int kernel_size, str border) -> Tensor");
  m.def("median_blur(Tensor image, int ksize) -> Tensor");
  m.def("rgb_to_gray(Tensor image) -> Tensor");
  m.def(
      "adaptive_threshold(Tensor image, int block_size, Tensor c, str method, float max_value, bool invert) -> "
      "Tensor");
  m.def(
      "cartoonize(Tensor image, int d, Tensor sigma_color, Tensor sigma_space, int passes, int ksize, int block_size, "
      "Tensor c) -> Tensor");
  m.def("patch_negatives(Tensor image, Tensor patch_size, Tensor places) -> Tensor");
  m.def("instruction_set() -> str");
  m.def("cuda_problem(int device) -> str");
  m.def("cuda_tiles() -> str[]");
}

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CompositeExplicitAutograd, m) {
  m.impl("instruction_set", TORCH_BOX(&instruction_set));
}

}  // namespace texfilters
