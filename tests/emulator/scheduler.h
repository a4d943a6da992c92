// Runs the threads of one block, a fiber each, in an order shuffled by the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda_vectors.h"
#include "fiber.h"
#include "settings.h"
#include "shared_memory.h"

namespace emulator {

enum class Operation : std::uint8_t {
  syncwarp,
  shuffle4,
  shuffle8,
  up4,
  up8,
  down4,
  down8,
  xor4,
  xor8,
  ballot,
  any,
  all
};
enum class Barrier : std::uint8_t { plain, any, all, count };
enum class Waiting : std::uint8_t { no, at_barrier, in_warp };

struct Warp;

struct Thread : Fiber {
  uint3 index;
  unsigned lane;
  std::uint32_t lane_bit, turn_bit;
  Warp* warp;
  bool inside = false;  // its call of the kernel has begun and not ended
  Waiting waiting;
  // Of the warp operation it waits in:
  Operation operation;
  unsigned mask, source;
  std::uint64_t value, result;
};

// `lanes` is in CUDA's order, `turns` in the one shuffled for this block.
struct Warp {
  Thread *lanes[32], *turns[32];
  std::uint32_t bit;      // in the block's set of warps that can run
  std::uint32_t live;     // lanes that have not ended
  std::uint32_t arrived;  // lanes that wait in a warp operation
  std::uint32_t ready;    // turns that can run
  std::uint32_t later;    // turns after the one that ran last
};

struct Abandoned {};  // unwinds a thread after another one has failed

struct Call {
  void (*invoke)(const void* data);
  const void* data;
};

class Scheduler {
 public:
  void run_block(const Call& call, dim3 block, std::size_t shared, Random& random);

  bool running() const { return memory_ != nullptr; }
  BlockMemory& memory() { return *memory_; }
  Thread& self() {
    if (!running()) throw std::logic_error("a device function was called outside of a kernel");
    return *current_;
  }

  int barrier(Barrier kind, bool predicate);
  std::uint64_t meet(Operation operation, unsigned mask, std::uint64_t value, unsigned source);

 private:
  void prepare(dim3 block, Random& random);
  Thread* choose(bool leave_warp = false);
  unsigned pick(std::uint32_t mask);
  void go_to(Fiber& from, Thread& to);
  void wait(Thread& self, bool leave_warp = false);
  void leave(Thread& self);
  void block_barrier_opens();
  bool complete(Warp& warp, unsigned mask);
  void hand_out(Warp& warp, Operation operation, std::uint32_t participants);
  void fail(std::exception_ptr error);
  void fail(const std::string& message) { fail(std::make_exception_ptr(std::runtime_error(message))); }
  std::string deadlock() const;
  [[noreturn]] static void thread_main();

  void set_ready(Warp& warp, std::uint32_t turns) {
    warp.ready |= turns;
    ready_warps_ |= warp.bit;
  }
  void set_waiting(Thread& self, Waiting waiting) {
    self.waiting = waiting;
    if ((self.warp->ready &= ~self.turn_bit) == 0) ready_warps_ &= ~self.warp->bit;
  }

  Call call_{};
  std::unique_ptr<BlockMemory> memory_;
  std::vector<std::unique_ptr<Thread>> pool_;
  Warp warps_[32];
  Fiber host_;
  Thread* current_ = nullptr;
  Random random_{0};
  unsigned threads_ = 0, live_ = 0;
  std::uint32_t ready_warps_ = 0;
  unsigned leave_warp_ = 0;  // of 256 times, how often to go on with another warp though this one could run
  bool any_lane_ = false;    // go on with any lane that can run, not with the next in turn

  Barrier barrier_kind_ = Barrier::plain;
  unsigned at_barrier_ = 0, votes_ = 0, votes_before_ = 0, voters_before_ = 0;

  bool failed_ = false;
  std::exception_ptr error_;
};

inline Scheduler& scheduler() {
  static Scheduler scheduler;
  return scheduler;
}

inline std::string name_of(const Thread& thread) {
  return "thread " + to_text(thread.index) + " of block " + to_text(blockIdx);
}

inline void Scheduler::run_block(const Call& call, dim3 block, std::size_t shared, Random& random) {
  call_ = call;
  prepare(block, random);
  memory_ = std::make_unique<BlockMemory>(shared);
  go_to(host_, *choose());
  for (unsigned i = 0; failed_ && i < threads_; ++i) {
    if (pool_[i]->inside) go_to(host_, *pool_[i]);
  }
  memory_.reset();
  counts().blocks += 1;
  counts().threads += threads_;
  if (failed_) {
    std::exception_ptr error;
    std::swap(error, error_);
    std::rethrow_exception(error);
  }
}

inline void Scheduler::prepare(dim3 block, Random& random) {
  random_ = Random(random());
  threads_ = live_ = block.x * block.y * block.z;
  while (pool_.size() < threads_) pool_.push_back(std::make_unique<Thread>());
  ready_warps_ = 0;
  for (unsigned i = 0; i < threads_; ++i) {
    Thread& thread = *pool_[i];
    if (!thread.created()) thread.create(thread_main, i);
    Warp& warp = warps_[i / 32];
    if (i % 32 == 0) warp = Warp();
    thread.index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    thread.lane = i % 32;
    thread.lane_bit = 1u << thread.lane;
    thread.warp = &warp;
    thread.waiting = Waiting::no;
    warp.lanes[thread.lane] = warp.turns[thread.lane] = &thread;
    warp.live |= thread.lane_bit;
    warp.bit = 1u << (i / 32);
  }
  for (unsigned w = 0; w * 32 < threads_; ++w) {
    Warp& warp = warps_[w];
    const unsigned lanes = threads_ - w * 32 < 32 ? threads_ - w * 32 : 32;
    for (unsigned i = 0; i < lanes; ++i) {
      std::swap(warp.turns[i], warp.turns[i + random_.below(lanes - i)]);
      warp.turns[i]->turn_bit = 1u << i;
    }
    set_ready(warp, warp.live);
  }
  // Half of the blocks let a warp run ahead until it waits for the block; the others interleave, ever more finely.
  constexpr unsigned kLeave[] = {0, 0, 16, 128};
  leave_warp_ = kLeave[random_.below(4)];
  any_lane_ = random_.below(2) == 1;
  current_ = pool_[random_.below(threads_)].get();
  at_barrier_ = votes_ = 0;
  failed_ = false;
  error_ = nullptr;
}

// Fibers are never ended: each comes back here for its thread of the next block.
inline void Scheduler::thread_main() {
  Scheduler& scheduler = emulator::scheduler();
  Thread& self = *scheduler.current_;
  self.entered();
  for (;;) {
    self.inside = true;
    try {
      scheduler.call_.invoke(scheduler.call_.data);
    } catch (const Abandoned&) {
    } catch (...) {
      scheduler.fail(std::current_exception());
    }
    self.inside = false;
    scheduler.leave(self);
  }
}

inline void Scheduler::go_to(Fiber& from, Thread& to) {
  current_ = &to;
  threadIdx = to.index;
  Fiber::resume(from, to);
}

inline unsigned Scheduler::pick(std::uint32_t mask) {
  for (std::uint64_t skip = random_.below(__builtin_popcount(mask)); skip > 0; --skip) mask &= mask - 1;
  return __builtin_ctz(mask);
}

inline Thread* Scheduler::choose(bool leave_warp) {
  Warp* warp = current_->warp;
  if (warp->ready == 0 || leave_warp || (leave_warp_ != 0 && random_() % 256 < leave_warp_)) {
    if (ready_warps_ == 0) return nullptr;
    warp = &warps_[pick(ready_warps_)];
  }
  const std::uint32_t later = warp->ready & warp->later;
  const unsigned turn = any_lane_ ? pick(warp->ready) : __builtin_ctz(later != 0 ? later : warp->ready);
  warp->later = ~1u << turn;
  return warp->turns[turn];
}

inline void Scheduler::wait(Thread& self, bool leave_warp) {
  Thread* next = choose(leave_warp);
  if (next == nullptr) {
    fail(deadlock());
    throw Abandoned();
  }
  if (next != &self) go_to(self, *next);
  if (failed_) throw Abandoned();
}

inline void Scheduler::leave(Thread& self) {
  Warp& warp = *self.warp;
  set_waiting(self, Waiting::no);
  warp.live &= ~self.lane_bit;
  live_ -= 1;
  if (!failed_ && live_ != 0) {
    // Those who waited for this thread alone need not wait any more.
    if (at_barrier_ == live_) block_barrier_opens();
    for (std::uint32_t rest = warp.arrived; rest != 0; rest &= rest - 1) {
      const unsigned lane = __builtin_ctz(rest);
      if ((warp.arrived >> lane & 1) != 0) complete(warp, warp.lanes[lane]->mask);
    }
  }
  Thread* next = failed_ || live_ == 0 ? nullptr : choose();
  if (next != nullptr) return go_to(self, *next);
  if (!failed_ && live_ != 0) fail(deadlock());
  Fiber::resume(self, host_);
}

inline void Scheduler::fail(std::exception_ptr error) {
  if (!failed_) error_ = std::move(error);
  failed_ = true;
}

}  // namespace emulator
