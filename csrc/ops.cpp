// Registers texfilters_native::*. Each implementation registers itself at the bottom of its own file.
// Meaning is checked in Python; the kernels check only what keeps memory safe.
#include <torch/csrc/stable/library.h>

#include <string>

#include "cpu/isa.h"
#include "schemas.h"

namespace texfilters {

std::string instruction_set() {
  return name(current_isa());
}

STABLE_TORCH_LIBRARY(texfilters_native, m) {
  for (const char* schema : kSchemas) m.def(schema);
  m.def("instruction_set() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CompositeExplicitAutograd, m) {
  m.impl("instruction_set", TORCH_BOX(&instruction_set));
}

}  // namespace texfilters
