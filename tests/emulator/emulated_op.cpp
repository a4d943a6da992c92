// Registers texfilters_emulated::*: the ops of csrc/cuda on the emulator, and what a test sets and reads.
#include <cstdint>
#include <vector>

#include "cuda/torch_device.h"
#include "schemas.h"
#include "settings.h"

namespace texfilters {
namespace {

// For the calls that follow.
void emulate(std::vector<int64_t> on_device, bool capturing, int64_t shared, int64_t largest_grid, int64_t scratch,
             int64_t seed, int64_t defect) {
  tensors_on_device().clear();
  for (int64_t address : on_device) tensors_on_device().insert(reinterpret_cast<const void*>(address));
  emulator::settings() = {};
  emulator::settings().capturing = capturing;
  emulator::settings().shared = static_cast<int>(shared);
  emulator::settings().largest_grid = static_cast<int>(largest_grid);
  scratch_bytes() = scratch;
  emulator::settings().seed = static_cast<uint64_t>(seed);
  emulator::settings().defect = static_cast<emulator::Defect>(defect);
  emulator::reset_counts();
}

int64_t launches() {
  return static_cast<int64_t>(emulator::counts().launches);
}

}  // namespace

STABLE_TORCH_LIBRARY(texfilters_emulated, m) {
  for (const char* schema : kSchemas) m.def(schema);
  m.def(
      "emulate(int[] on_device, bool capturing=False, int shared=232448, int largest_grid=2147483647, "
      "int scratch=67108864, int seed=0, int defect=0) -> ()");
  m.def("launches() -> int");
}

STABLE_TORCH_LIBRARY_IMPL(texfilters_emulated, CompositeExplicitAutograd, m) {
  m.impl("emulate", TORCH_BOX(&emulate));
  m.impl("launches", TORCH_BOX(&launches));
}

}  // namespace texfilters
