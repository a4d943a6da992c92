// The diffusion kernel without torch: every instruction set of this machine against a scalar loop in double.
// Prints a line for each and fails on a difference above 1e-3 grey levels after 5 steps.
#include "cpu/anisotropic_diffusion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/isa.h"

#define TEXFILTERS_ISA_FILE "cpu/anisotropic_diffusion.simd.h"
#include "cpu/foreach_isa.h"

using namespace texfilters;

constexpr int64_t kHeight = 13, kWidth = 37, kStride = 64, kSteps = 5;

std::vector<double> scalar(std::vector<double> u, int option, double kappa, double gamma) {
  const auto flux = [&](double d) {
    const double s = d * d / (kappa * kappa), q = std::max(0.0, 1 - s / 2);
    return gamma * d * (option == 1 ? std::exp(-s) : option == 2 ? 1 / (1 + s) : 0.5 * q * q);
  };
  for (int64_t step = 0; step < kSteps; ++step) {
    const std::vector<double> old = u;
    for (int64_t y = 0; y < kHeight; ++y) {
      for (int64_t x = 0; x < kWidth; ++x) {
        const int64_t i = y * kWidth + x;
        const auto exchange = [&](int64_t j) {
          const double f = flux(old[j] - old[i]);
          u[i] += f;
          u[j] -= f;
        };
        if (x + 1 < kWidth) exchange(i + 1);
        if (y + 1 < kHeight) exchange(i + kWidth);
      }
    }
  }
  return u;
}

int main() {
  std::vector<double> image(kHeight * kWidth);
  uint32_t random = 1;
  for (double& pixel : image) pixel = (random = random * 1664525u + 1013904223u) >> 24;

  bool good = true;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (isa > best_isa()) continue;
    double worst = 0;
    for (int option : {1, 2, 3}) {
      std::vector<float> memory(16 + 16 * kStride + kHeight * kStride);
      float* aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64 / sizeof(float);
      Slab<float> slab{nullptr, aligned, 1, kHeight * kStride, 1, kHeight, kWidth, kStride};
      slab.state = aligned + slab.workspace_elements(false);
      const DiffusionParameters parameters{option, false, 60, 0.2, {1, 1, 1}};
      DiffusionKernels<float, float> kernels = baseline::diffusion_kernels<float, float>();
#if defined(__x86_64__)
      if (isa == Isa::avx2) kernels = avx2::diffusion_kernels<float, float>();
      if (isa == Isa::avx512) kernels = avx512::diffusion_kernels<float, float>();
#endif
      for (int64_t i = 0; i < kHeight * kWidth; ++i)
        slab.state[i / kWidth * kStride + i % kWidth] = static_cast<float>(image[i]);
      kernels.diffuse(slab, parameters, kSteps, false, false);
      const std::vector<double> expected = scalar(image, option, 60, 0.2);
      for (int64_t i = 0; i < kHeight * kWidth; ++i) {
        worst = std::max(worst, std::abs(slab.state[i / kWidth * kStride + i % kWidth] - expected[i]));
      }
    }
    std::printf("%s %.2e\n", name(isa), worst);
    good = good && worst < 1e-3;
  }
  return good ? 0 : 1;
}
