// What threads wait for: the block's barrier and the operations of a warp.
#pragma once

#include <stdexcept>
#include <string>

#include "scheduler.h"

namespace emulator {

inline std::string name_of(Operation operation) {
  constexpr const char* kNames[] = {"__syncwarp",      "__shfl_sync",      "__shfl_sync",      "__shfl_up_sync",
                                    "__shfl_up_sync",  "__shfl_down_sync", "__shfl_down_sync", "__shfl_xor_sync",
                                    "__shfl_xor_sync", "__ballot_sync",    "__any_sync",       "__all_sync"};
  const bool wide = operation == Operation::shuffle8 || operation == Operation::up8 || operation == Operation::down8 ||
                    operation == Operation::xor8;
  return kNames[static_cast<int>(operation)] + std::string(wide ? " of 8 bytes" : "");
}

inline std::string name_of(Barrier kind) {
  constexpr const char* kNames[] = {"__syncthreads()", "__syncthreads_or()", "__syncthreads_and()",
                                    "__syncthreads_count()"};
  return kNames[static_cast<int>(kind)];
}

inline std::string to_text(unsigned mask) {
  std::string text = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[mask >> shift & 15];
  return text;
}

[[noreturn]] inline __attribute__((noinline)) void refuse_mask(const Thread& self, Operation operation, unsigned mask) {
  throw std::runtime_error(name_of(self) + " calls " + name_of(operation) + " with a mask without its own lane " +
                           std::to_string(self.lane) + ": " + to_text(mask));
}

[[noreturn]] inline __attribute__((noinline)) void refuse_kind(const Thread& self, Barrier kind, Barrier of_others) {
  throw std::runtime_error(name_of(self) + " meets " + name_of(of_others) + " of others with " + name_of(kind));
}

inline int Scheduler::barrier(Barrier kind, bool predicate) {
  Thread& self = this->self();
  if (settings().defect == Defect::missing_barrier) return predicate;
  if (at_barrier_ == 0) barrier_kind_ = kind;
  if (kind != barrier_kind_) refuse_kind(self, kind, barrier_kind_);
  at_barrier_ += 1;
  votes_ += predicate;
  set_waiting(self, Waiting::at_barrier);
  const bool last = at_barrier_ == live_;
  if (last) block_barrier_opens();
  wait(self, last);
  // Nobody passes the next barrier before all have read the votes of this one.
  return kind == Barrier::count ? votes_before_
         : kind == Barrier::all ? votes_before_ == voters_before_
                                : votes_before_ != 0;
}

inline void Scheduler::block_barrier_opens() {
  voters_before_ = at_barrier_;
  votes_before_ = votes_;
  at_barrier_ = votes_ = 0;
  for (unsigned i = 0; i < threads_; ++i) {
    Thread& thread = *pool_[i];
    if (thread.waiting != Waiting::at_barrier) continue;
    thread.waiting = Waiting::no;
    set_ready(*thread.warp, thread.turn_bit);
  }
  counts().barriers += 1;
}

inline std::uint64_t Scheduler::meet(Operation operation, unsigned mask, std::uint64_t value, unsigned source) {
  Thread& self = this->self();
  Warp& warp = *self.warp;
  if ((mask & self.lane_bit) == 0) refuse_mask(self, operation, mask);
  self.operation = operation;
  self.mask = mask;
  self.value = value;
  self.source = source;
  warp.arrived |= self.lane_bit;
  set_waiting(self, Waiting::in_warp);
  const bool completed = complete(warp, mask);
  if (failed_) throw Abandoned();
  if (!completed || any_lane_) wait(self);
  return self.result;
}

// Whether all lanes of the mask that live have come; they go on then.
inline bool Scheduler::complete(Warp& warp, unsigned mask) {
  const std::uint32_t participants = mask & warp.live;
  if ((participants & ~warp.arrived) != 0) return false;
  const Thread& first = *warp.lanes[__builtin_ctz(participants)];
  for (std::uint32_t rest = participants; rest != 0; rest &= rest - 1) {
    if (warp.lanes[__builtin_ctz(rest)]->mask != mask) return false;  // it waits for other lanes and may come later
  }
  for (std::uint32_t rest = participants; rest != 0; rest &= rest - 1) {
    const Thread& thread = *warp.lanes[__builtin_ctz(rest)];
    if (thread.operation == first.operation) continue;
    fail(name_of(thread) + " meets " + name_of(first.operation) + " of lane " + std::to_string(first.lane) + " with " +
         name_of(thread.operation));
    return false;
  }
  hand_out(warp, first.operation, participants);
  return true;
}

// Each lane gets its result now: the values may have changed by the time it runs.
inline void Scheduler::hand_out(Warp& warp, Operation operation, std::uint32_t participants) {
  const bool shuffle = operation >= Operation::shuffle4 && operation <= Operation::xor8;
  std::uint64_t common = 0;
  if (!shuffle) {
    for (std::uint32_t rest = participants; rest != 0; rest &= rest - 1) {
      const Thread& thread = *warp.lanes[__builtin_ctz(rest)];
      if (thread.value != 0) common |= thread.lane_bit;
    }
    if (operation == Operation::any) common = common != 0;
    if (operation == Operation::all) common = common == participants;
  }
  std::uint32_t turns = 0;
  for (std::uint32_t rest = participants; rest != 0; rest &= rest - 1) {
    Thread& thread = *warp.lanes[__builtin_ctz(rest)];
    const bool there = (participants >> thread.source & 1) != 0;
    // What a lane reads from one that takes no part is undefined: poison.
    thread.result = !shuffle ? common : there ? warp.lanes[thread.source]->value : ~std::uint64_t{0};
    thread.waiting = Waiting::no;
    turns |= thread.turn_bit;
  }
  warp.arrived &= ~participants;
  set_ready(warp, turns);
  counts().shuffles += shuffle;
}

// Called when no thread can run.
inline std::string Scheduler::deadlock() const {
  const Thread *in_warp = nullptr, *missing = nullptr;
  for (unsigned i = 0; i < threads_ && missing == nullptr; ++i) {
    const Thread& thread = *pool_[i];
    if (thread.waiting != Waiting::in_warp) continue;
    in_warp = &thread;
    for (const Thread* other : thread.warp->lanes) {
      if (other == nullptr || (thread.mask & thread.warp->live & other->lane_bit) == 0) continue;
      if (other->waiting == Waiting::in_warp && other->mask == thread.mask) continue;
      missing = other;
      break;
    }
  }
  std::string text = "deadlock in block " + to_text(blockIdx) + ": ";
  if (at_barrier_ != 0) {
    text += std::to_string(at_barrier_) + " of " + std::to_string(live_) + " live threads wait at " +
            name_of(barrier_kind_);
    if (in_warp != nullptr) text += ", which others never reach: ";
  }
  if (in_warp != nullptr) {
    text += "thread " + to_text(in_warp->index) + " waits in " + name_of(in_warp->operation) + " (mask " +
            to_text(in_warp->mask) + ")";
  }
  if (missing != nullptr) {
    text += " for thread " + to_text(missing->index) + ", which waits ";
    text += missing->waiting == Waiting::at_barrier
                ? "at " + name_of(barrier_kind_)
                : "in " + name_of(missing->operation) + " (mask " + to_text(missing->mask) + ")";
  }
  return text;
}

}  // namespace emulator
