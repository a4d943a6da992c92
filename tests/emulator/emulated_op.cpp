// Schemas of texfilters_emulated::*: the ops of csrc/cuda on the emulator, and what a test sets and reads.
#include <cstdint>
#include <vector>

#include "cuda/torch_device.h"
#include "settings.h"

namespace texfilters {
namespace {

// For the calls that follow.
void emulate(std::vector<int64_t> on_device, bool capturing, int64_t shared) {
  tensors_on_device().clear();
  for (int64_t address : on_device) tensors_on_device().insert(reinterpret_cast<const void*>(address));
  emulator::settings() = {};
  emulator::settings().capturing = capturing;
  emulator::settings().shared = static_cast<int>(shared);
  emulator::reset_counts();
}

int64_t launches() {
  return static_cast<int64_t>(emulator::counts().launches);
}

}  // namespace

STABLE_TORCH_LIBRARY(texfilters_emulated, m) {
  m.def(
      "anisotropic_diffusion(Tensor image, Tensor niter, Tensor kappa, Tensor gamma, int option, str coupling, "
      "float[] spacing, int ndim) -> Tensor");
  m.def("cuda_problem(int device) -> str");
  m.def("cuda_tiles() -> str[]");
  m.def("emulate(int[] on_device, bool capturing, int shared) -> ()");
  m.def("launches() -> int");
}

STABLE_TORCH_LIBRARY_IMPL(texfilters_emulated, CompositeExplicitAutograd, m) {
  m.impl("emulate", TORCH_BOX(&emulate));
  m.impl("launches", TORCH_BOX(&launches));
}

}  // namespace texfilters
