// Launches: what CUDA refuses is refused, then the blocks run one after the other, in an order shuffled by the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "barriers.h"
#include "runtime_api.h"

namespace emulator {

inline void require(bool good, const std::string& rule, const std::string& value) {
  if (!good) throw std::runtime_error(rule + ", got " + value);
}

inline void check_launch(const void* kernel, dim3 grid, dim3 block, std::size_t shared, std::size_t parameters) {
  require(!scheduler().running(), "a kernel must be launched by the host", "a launch inside of a kernel");
  require(grid.x != 0 && grid.y != 0 && grid.z != 0, "a grid must not be empty", to_text(grid));
  const unsigned largest = static_cast<unsigned>(settings().largest_grid);
  require(grid.x <= largest, "grid.x must not pass " + std::to_string(largest), std::to_string(grid.x));
  require(grid.y <= 65535 && grid.z <= 65535, "grid.y and grid.z must not pass 65535", to_text(grid));
  require(block.x != 0 && block.y != 0 && block.z != 0, "a block must not be empty", to_text(block));
  require(block.x <= 1024 && block.y <= 1024 && block.z <= 64, "a block must not pass (1024, 1024, 64)",
          to_text(block));
  const unsigned threads = block.x * block.y * block.z;
  require(threads <= 1024, "a block must not have more than 1024 threads",
          std::to_string(threads) + " from " + to_text(block));
  require(shared <= kSharedAtMost, "dynamic shared memory of a block must not pass 232448 bytes",
          std::to_string(shared));
  const auto limit = host_state().dynamic_shared_limits.find(kernel);
  const std::size_t allowed = limit == host_state().dynamic_shared_limits.end() ? 0 : limit->second;
  require(shared <= kSharedByDefault || shared <= allowed,
          "dynamic shared memory over 49152 bytes must first be allowed to the kernel by "
          "cudaFuncAttributeMaxDynamicSharedMemorySize",
          std::to_string(shared) + " with " + std::to_string(allowed) + " allowed");
  require(parameters <= 32764, "parameters of a kernel must not pass 32764 bytes", std::to_string(parameters));
}

inline void run_grid(const Call& call, dim3 grid, dim3 block, std::size_t shared) {
  Random random(settings().seed);
  const std::uint64_t count = std::uint64_t{grid.x} * grid.y * grid.z;
  // Steps of a length coprime to the count visit every block once, without a table of the order.
  std::uint64_t number = random.below(count), step = 1 + random.below(count);
  while (std::gcd(step, count) != 1) step += 1;
  counts().launches += 1;
  gridDim = grid;
  blockDim = block;
  for (std::uint64_t i = 0; i < count; ++i) {
    blockIdx = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                static_cast<unsigned>(number / grid.x / grid.y)};
    scheduler().run_block(call, block, shared, random);
    number = (number + step) % count;
  }
}

template <class... P>
constexpr std::size_t parameter_bytes() {
  std::size_t offset = 0;
  ((offset = (offset + alignof(P) - 1) / alignof(P) * alignof(P) + sizeof(P)), ...);
  return offset;
}

// The parameters are copied twice, as by a launch: now, and for every thread.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "a kernel takes another number of arguments");
  static_assert((!std::is_reference_v<P> && ...), "a kernel takes its parameters by value");
  struct Bound {
    void (*kernel)(P...);
    std::tuple<P...> parameters;
  };
  check_launch(reinterpret_cast<const void*>(kernel), grid, block, shared, parameter_bytes<P...>());
  const Bound bound{kernel, std::tuple<P...>(std::forward<A>(arguments)...)};
  const auto invoke = [](const void* data) {
    const Bound& bound = *static_cast<const Bound*>(data);
    std::apply(bound.kernel, bound.parameters);
  };
  run_grid(Call{invoke, &bound}, grid, block, shared);
}

}  // namespace emulator
