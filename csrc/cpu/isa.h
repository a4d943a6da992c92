// The instruction set that runs, chosen once for each call.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace texfilters {

enum class Isa { baseline, avx2, avx512 };

inline const char* name(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

inline Isa best_isa() {
#if defined(__x86_64__)
  static const Isa best = [] {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    return avx2 && avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::baseline;
  }();
  return best;
#else
  return Isa::baseline;
#endif
}

// TEXFILTERS_ISA=baseline|avx2|avx512 asks for a lesser one, for tests and for comparing.
inline Isa current_isa() {
  const Isa best = best_isa();
  const char* wish = std::getenv("TEXFILTERS_ISA");
  if (wish == nullptr || *wish == '\0') return best;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (isa <= best && std::string(wish) == name(isa)) return isa;
  }
  throw std::runtime_error(std::string("TEXFILTERS_ISA must name an instruction set of this machine, at most ") +
                           name(best) + ", got '" + wish + "'");
}

}  // namespace texfilters
