// The emulator against what CUDA's manual says, by toy kernels. Without an argument it runs every check and fails with
// a line for each that does not hold; `overrun` and `overrun_array` must be stopped by AddressSanitizer.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "faulty_kernels.h"
#include "toy_kernels.h"

using emulator::Defect;
using emulator::launch;

constexpr unsigned kSeeds = 40;
int failures = 0;

void check(bool good, const std::string& what) {
  if (good) return;
  std::printf("FAILED: %s\n", what.c_str());
  failures += 1;
}

// Whether `run` throws a message with all of `parts` in it.
void refused(const std::string& what, const std::vector<std::string>& parts, const std::function<void()>& run) {
  try {
    run();
  } catch (const std::exception& error) {
    const std::string message = error.what();
    for (const std::string& part : parts) {
      check(message.find(part) != std::string::npos, what + ": no '" + part + "' in: " + message);
    }
    return;
  }
  check(false, what + " must be refused");
}

void for_seeds(const std::function<void(unsigned)>& run) {
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    emulator::settings().seed = seed;
    run(seed);
  }
  emulator::settings().seed = 0;
}

template <class T>
void test_shuffles(const char* type, unsigned scale) {
  std::vector<T> out(4 * 64);
  for (int width : {1, 2, 4, 8, 16, 32}) {
    for (int argument = 0; argument < 32; ++argument) {
      emulator::settings().seed = static_cast<unsigned>(argument);
      launch(shuffles<T>, 1, 64, 0, out.data(), argument, width, scale);
      for (int thread = 0; thread < 64; ++thread) {
        const int lane = thread % 32, group = lane / width;
        const int index = group * width + (lane + argument) % width;
        const int up = (lane - argument >= 0 && (lane - argument) / width == group) ? lane - argument : lane;
        const int down = (lane + argument) / width == group ? lane + argument : lane;
        const int exclusive = (lane ^ argument) / width <= group ? lane ^ argument : lane;
        const int sources[] = {index, up, down, exclusive};
        for (int kind = 0; kind < 4; ++kind) {
          const T expected = static_cast<T>(static_cast<unsigned>(thread - lane + sources[kind]) * scale + 1);
          check(out[kind * 64 + thread] == expected, std::string("shuffle of ") + type + ", kind " +
                                                         std::to_string(kind) + ", width " + std::to_string(width) +
                                                         ", argument " + std::to_string(argument));
        }
      }
    }
  }
}

void test_votes() {
  const auto agree = [](unsigned yes, unsigned mask, std::array<int, 6> expected) {
    std::vector<int> out(64 * 6, -1);
    launch(votes, 1, 64, 0, out.data(), yes, mask);
    for (unsigned i = 0; i < out.size(); ++i) {
      const bool inside = (mask >> (i / 6 % 32) & 1) != 0;
      check(out[i] == (inside || i % 6 > 2 ? expected[i % 6] : -1), "vote " + std::to_string(i % 6));
    }
  };
  for_seeds([&](unsigned) {
    agree(0, kAll, {0, 0, 0, 0, 0, 0});
    agree(kAll, kAll, {-1, 1, 1, 1, 1, 64});
    agree(0x101, 0xffff, {0x101, 1, 0, 1, 0, 4});
    agree(0x80ffu, 0xff, {0xff, 1, 1, 1, 0, 18});
  });
}

// Right in every block?
bool reductions_right(bool warps) {
  constexpr unsigned kThreads = 256, kBlocks = 2;
  std::vector<float> in(kThreads * kBlocks), out(kBlocks);
  for (unsigned i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 17 + i / kThreads);
  if (warps) {
    launch(reduce_warps, kBlocks, kThreads, 0, in.data(), out.data());
  } else {
    launch(reduce, kBlocks, kThreads, kThreads * sizeof(float), in.data(), out.data(), 3);
  }
  for (unsigned block = 0; block < kBlocks; ++block) {
    float sum = 0;
    for (unsigned i = 0; i < kThreads; ++i) sum += in[block * kThreads + i];
    if (out[block] != sum) return false;
  }
  return true;
}

void test_reductions_and_defects() {
  for (const bool warps : {false, true}) {
    const std::string name = warps ? "reduction by shuffles" : "reduction through shared memory";
    unsigned right[3] = {};
    for (const Defect defect : {Defect::none, Defect::missing_barrier, Defect::wrong_neighbor}) {
      emulator::settings().defect = defect;
      for_seeds([&](unsigned) { right[static_cast<int>(defect)] += reductions_right(warps); });
    }
    emulator::settings().defect = Defect::none;
    check(right[0] == kSeeds, name + " must be right for every seed");
    check(right[1] < kSeeds / 4, name + " without barriers: right for " + std::to_string(right[1]) + " seeds");
    check(right[2] == (warps ? 0 : kSeeds), name + " with the wrong neighbor");
  }
}

void test_shared_memory() {
  std::vector<float> out(2 * 33);
  unsigned char alignment = 1;
  launch(read_unwritten, 3, 33, 33 * sizeof(float), out.data(), &alignment);
  for (float value : out) check(std::isnan(value), "shared memory must start as NaN");
  check(alignment == 0, "dynamic shared memory must be aligned to 128 bytes");
  refused("static shared memory over 48 KB", {"static shared", "49152", "49156"},
          [] { launch(overflow_of_static, 1, 1, 0); });
}

void test_partial_meetings() {
  for_seeds([](unsigned) {
    int out[96];
    launch(leave_early, 1, 96, 0, &out[0], 37u);
    for (int i = 0; i < 37; ++i)
      check(out[i] == (i < 32 ? -1 : 31) + 64 * 37 + 8192, "threads that ended must not count");
    launch(overlapping_masks, 1, 3, 0, &out[0]);
    check(out[0] == 1 && out[1] == 0 && out[2] == 2 && out[3] == 1, "meetings under overlapping masks");
  });
}

void test_schedules() {
  unsigned ahead = 0, interleaved = 0, any_lane = 0;
  std::vector<std::vector<int>> orders;
  for_seeds([&](unsigned) {
    std::vector<int> log(64 * 8), again(64 * 8);
    int size = 0, size_again = 0;
    launch(log_order, 1, 64, 0, log.data(), &size);
    launch(log_order, 1, 64, 0, again.data(), &size_again);
    check(log == again, "a seed must give the same schedule again");
    unsigned changes = 0;
    for (unsigned i = 1; i < log.size(); ++i) changes += log[i] / 32 != log[i - 1] / 32;
    ahead += changes == 1;
    interleaved += changes > 20;
    std::vector<int> lanes;
    for (int thread : log) {
      if (thread < 32) lanes.push_back(thread);
    }
    any_lane += lanes[32] != lanes[31];  // in turn, the last lane to come goes on
    orders.push_back(log);
  });
  check(ahead > kSeeds / 4, "a warp ran ahead for " + std::to_string(ahead) + " seeds");
  check(interleaved > kSeeds / 8, "warps interleaved for " + std::to_string(interleaved) + " seeds");
  check(any_lane > kSeeds / 4 && any_lane < kSeeds * 3 / 4,
        "lanes went on out of turn for " + std::to_string(any_lane) + " seeds");
  check(orders[0] != orders[1] && orders[1] != orders[2], "seeds must differ");

  unsigned rotations = 0;
  for_seeds([&](unsigned) {
    std::vector<int> log(30), seen(30);
    int size = 0;
    launch(log_blocks, dim3(5, 3, 2), 1, 0, log.data(), &size);
    bool rotation = true;
    for (int i = 0; i < 30; ++i) {
      seen[log[i]] += 1;
      rotation = rotation && log[i] == (log[0] + i) % 30;
    }
    check(size == 30 && seen == std::vector<int>(30, 1), "each block must run once");
    rotations += rotation;
  });
  check(rotations < kSeeds / 4, "blocks must run in a shuffled order");
}

void test_parameters_and_counts() {
  emulator::reset_counts();
  int out[24];
  launch(change_parameters, 2, dim3(4, 3, 2), 0, Parameters{{5}}, Parameters{{7}}, &out[0]);
  for (int value : out) check(value == 13, "parameters must be copied for each thread, and locals aligned");
  const emulator::Counts& counts = emulator::counts();
  check(counts.blocks == 2 && counts.threads == 48 && counts.barriers == 2 && counts.shuffles == 0, "counts");
  float sum[2], in[128] = {};
  launch(reduce_warps, 2, 64, 0, &in[0], &sum[0]);
  check(counts.blocks == 4 && counts.barriers == 4 && counts.shuffles == 2 * 2 * 5, "counts of shuffles");
}

void test_faults() {
  for_seeds([](unsigned) {
    const auto faulty = [](const char* name, void (*kernel)(), const std::vector<std::string>& parts) {
      refused(name, parts, [&] { launch(kernel, 2, 64, 0); });
      check(Guard::alive == 0, std::string(name) + " must unwind every thread");
    };
    faulty("barrier in one branch", barrier_in_one_branch,
           {"deadlock in block (", "63 of 64 live threads wait at __syncthreads()", "thread (5, 0, 0) waits in",
            "__syncwarp (mask 0x00000060) for thread (6, 0, 0), which waits at __syncthreads()"});
    faulty("lane that never arrives", lane_never_arrives, {"deadlock in block (", "thread (", "(mask 0x"});
    faulty("different operations", different_operations, {"thread (", "__shfl_up_sync", "__shfl_down_sync"});
    faulty("different sizes", different_sizes, {"thread (", "__shfl_sync of 8 bytes"});
    faulty("different barriers", different_barriers, {"thread (", "__syncthreads()", "__syncthreads_or()"});
    faulty("mask without its own lane", mask_without_itself, {"thread (", "own lane", "0x00000001"});
    faulty("odd width", odd_width, {"power of two", "12"});
    faulty("exception", thrower, {"thrown by a kernel"});
    check(reductions_right(true), "a launch after a fault must work");
  });
  refused("a device function on the host", {"outside of a kernel"}, [] { __syncthreads(); });
}

void test_refusals() {
  const std::size_t large = 100 << 10;
  refused("block of 1025 threads", {"1024 threads", "1025"}, [] { launch(nothing, 1, dim3(41, 25), 0); });
  refused("wide block", {"(1024, 1024, 64)", "(1, 1, 65)"}, [] { launch(nothing, 1, dim3(1, 1, 65), 0); });
  refused("empty block", {"block must not be empty", "(0, 1, 1)"}, [] { launch(nothing, 1, 0, 0); });
  refused("empty grid", {"grid must not be empty", "(4, 0, 1)"}, [] { launch(nothing, dim3(4, 0), 1, 0); });
  refused("long grid", {"grid.x", "2147483648"}, [] { launch(nothing, 0x80000000u, 1, 0); });
  refused("high grid", {"grid.y", "65536"}, [] { launch(nothing, dim3(1, 65536), 1, 0); });
  refused("shared memory over 48 KB", {"49152", "102400"}, [&] { launch(nothing, 1, 1, large); });
  check(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, large) == cudaSuccess, "attribute");
  launch(nothing, 1, 1, large);
  refused("shared memory over what is allowed", {"102401"}, [&] { launch(nothing, 1, 1, large + 1); });
  refused("shared memory over 227 KB", {"232448", "232449"}, [] { launch(nothing, 1, 1, 232449); });
  refused("large parameters", {"32764", "32768"}, [] { launch(large_parameter, 1, 1, 0, Large{}); });
}

void test_host_api() {
  check(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 << 10) == cudaErrorInvalidValue,
        "more shared memory than there is");
  check(cudaPeekAtLastError() == cudaErrorInvalidValue && cudaGetLastError() == cudaErrorInvalidValue, "last error");
  check(cudaGetLastError() == cudaSuccess, "the last error is read once");
  int device = -1, processors = 0, blocks = 0;
  check(cudaGetDevice(&device) == cudaSuccess && device == 0, "device");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0) == cudaSuccess && processors == 4,
        "multiprocessors");
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, nothing, 512, 0) == cudaSuccess && blocks == 4,
        "occupancy");
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, nothing) == cudaSuccess && attributes.numRegs == 0, "attributes");
  int from = 7, to = 0;
  cudaMemcpyAsync(&to, &from, sizeof(int), cudaMemcpyHostToDevice, cudaStream_t{});
  check(to == 7, "copy");
  cudaMemsetAsync(&to, 0, sizeof(int), cudaStream_t{});
  check(to == 0, "fill");
}

void test_math() {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  check(__saturatef(nan) == 0 && __saturatef(-1) == 0 && __saturatef(0.25f) == 0.25f && __saturatef(inf) == 1,
        "__saturatef");
  check(__float2int_rn(0.5f) == 0 && __float2int_rn(1.5f) == 2 && __float2int_rn(-2.5f) == -2, "half to even");
  check(__float2int_rn(nan) == 0 && __float2int_rn(inf) == INT_MAX && __float2int_rn(-3e9f) == INT_MIN, "saturation");
  check(__float2uint_rn(-1) == 0 && __float2uint_rn(2.5f) == 2 && __float2uint_rn(5e9f) == UINT_MAX, "unsigned");
  check(min(-1, 1) == -1 && max(-1, 1u) == UINT_MAX && max(std::int64_t{1} << 40, std::int64_t{3}) == 1ll << 40 &&
            max(nan, 1.0f) == 1 && min(1.0f, nan) == 1,
        "min and max");
  check(__popc(0xf0fu) == 8 && __clz(0) == 32 && __clz(1) == 31 && __ffs(0) == 0 && __ffs(8) == 4, "bits");
  check(__float_as_uint(1.0f) == 0x3f800000u && __uint_as_float(0x3f800000u) == 1 && __float_as_int(-0.0f) == INT_MIN,
        "bits of floats");
  check(__fmaf_rn(1 + 0x1p-23f, 1 - 0x1p-23f, -1) == -0x1p-46f && rsqrtf(4) == 0.5f, "arithmetic");
}

// Every half, every midpoint between neighbors, and what lies just beside it.
void test_small_floats(const char* name, float (*widen)(std::uint16_t), std::uint16_t (*narrow)(float),
                       std::uint16_t infinity) {
  const float inf = std::numeric_limits<float>::infinity();
  for (int sign : {0, 0x8000}) {
    for (int i = 0; i <= 0x7fff; ++i) {
      const auto bits = static_cast<std::uint16_t>(sign | i);
      const float value = widen(bits);
      if (i > infinity) {
        check(std::isnan(value) && std::isnan(widen(narrow(value))), std::string(name) + " NaN");
        continue;
      }
      check(narrow(value) == bits, std::string(name) + " must survive a round trip: " + std::to_string(bits));
      if (i + 1 >= infinity) continue;
      const float next = widen(static_cast<std::uint16_t>(bits + 1));
      const auto middle = static_cast<float>((static_cast<double>(value) + static_cast<double>(next)) / 2);
      const auto even = static_cast<std::uint16_t>(bits + (bits & 1)), upper = static_cast<std::uint16_t>(bits + 1);
      const float away = sign != 0 ? -inf : inf;
      check(narrow(middle) == even, std::string(name) + " midpoint after " + std::to_string(bits));
      check(narrow(std::nextafter(middle, 0.0f)) == bits, std::string(name) + " below the midpoint");
      check(narrow(std::nextafter(middle, away)) == upper, std::string(name) + " above the midpoint");
    }
  }
  check(widen(infinity) == inf && narrow(inf) == infinity, std::string(name) + " infinity");
}

int main(int count, char** arguments) {
  if (count > 1) {
    if (std::strcmp(arguments[1], "overrun") == 0) launch(overrun, 1, 1, 7 * sizeof(float), 7);
    if (std::strcmp(arguments[1], "overrun_array") == 0) launch(overrun_array, 1, 1, 0, 5);
    return 0;
  }
  test_shuffles<int>("int", 1);
  test_shuffles<float>("float", 3);
  test_shuffles<long long>("long long", 0x1234567);
  test_shuffles<double>("double", 0x1234567);
  test_votes();
  test_reductions_and_defects();
  test_shared_memory();
  test_partial_meetings();
  test_schedules();
  test_parameters_and_counts();
  test_faults();
  test_refusals();
  test_host_api();
  test_math();
  test_small_floats("half", emulator::half_to_float, emulator::float_to_half, 0x7c00);
  check(emulator::float_to_half(65519.996f) == 0x7bff && emulator::float_to_half(65520.0f) == 0x7c00, "largest half");
  test_small_floats("bfloat16", emulator::bfloat16_to_float, emulator::float_to_bfloat16, 0x7f80);
  std::printf(failures == 0 ? "all good\n" : "%d failures\n", failures);
  return failures != 0;
}
