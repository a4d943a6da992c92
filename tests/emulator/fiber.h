// Fibers: stacks of their own between which a single host thread switches by hand.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>

#if defined(__x86_64__) && !defined(TEXFILTERS_EMULATOR_UCONTEXT)
#define TEXFILTERS_EMULATOR_ASSEMBLY
#else
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TEXFILTERS_EMULATOR_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEXFILTERS_EMULATOR_ASAN
#endif
#endif
#if defined(TEXFILTERS_EMULATOR_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(TEXFILTERS_EMULATOR_ASSEMBLY)
// Only what a called function must keep is saved: the callers of an opaque function have spilled the rest. Weak,
// because every translation unit brings its copy; not an inline function, because compilers look into those (GCC's
// -fipa-ra).
asm(R"(
  .pushsection .text
  .weak texfilters_emulator_switch
  .hidden texfilters_emulator_switch
  .type texfilters_emulator_switch, @function
texfilters_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size texfilters_emulator_switch, . - texfilters_emulator_switch
  .popsection
)");
extern "C" __attribute__((visibility("hidden"))) void texfilters_emulator_switch(void** save, void* load);
#endif

namespace emulator {

// Without `create`, a Fiber stands for the stack that the host runs on already.
class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber() {
    if (memory_ != nullptr) munmap(memory_, kGuard + kStack);
  }

  // `entry` must call `entered` first and never return. `color` staggers the tops of the stacks: aligned alike, all of
  // them would compete for the same few sets of the cache.
  void create(void (*entry)(), std::size_t color) {
    memory_ =
        mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) {
      memory_ = nullptr;
      throw std::bad_alloc();
    }
    mprotect(memory_, kGuard, PROT_NONE);
    bottom_ = static_cast<unsigned char*>(memory_) + kGuard;
    size_ = kStack;
    const std::size_t used = kStack - color % 32 * 128;
#if defined(TEXFILTERS_EMULATOR_ASSEMBLY)
    // What the switch pops: six registers and `entry`; above it, the return address of a function nobody called, which
    // ends backtraces and gives `entry` the alignment that a call would.
    void** top = reinterpret_cast<void**>(static_cast<unsigned char*>(const_cast<void*>(bottom_)) + used);
    top[-2] = reinterpret_cast<void*>(entry);
    stack_pointer_ = top - 8;
#else
    getcontext(&context_);
    context_.uc_stack.ss_sp = const_cast<void*>(bottom_);
    context_.uc_stack.ss_size = used;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#endif
  }

  bool created() const { return memory_ != nullptr; }

  static void resume(Fiber& from, Fiber& to) {
    left_ = &from;
#if defined(TEXFILTERS_EMULATOR_ASAN)
    __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.size_);
#endif
#if defined(TEXFILTERS_EMULATOR_ASSEMBLY)
    texfilters_emulator_switch(&from.stack_pointer_, to.stack_pointer_);
#else
    swapcontext(&from.context_, &to.context_);
#endif
    from.entered();
  }

  // What every fiber does first after a switch to it. The sanitizer says here where the stack left behind lies, which
  // is how the host's is known.
  void entered() {
#if defined(TEXFILTERS_EMULATOR_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack_, &left_->bottom_, &left_->size_);
#endif
  }

 private:
#if defined(TEXFILTERS_EMULATOR_ASAN)
  static constexpr std::size_t kStack = 256 << 10;
#else
  static constexpr std::size_t kStack = 64 << 10;
#endif
  static constexpr std::size_t kGuard = 64 << 10;  // a multiple of every page size

  static inline Fiber* left_ = nullptr;

  void* memory_ = nullptr;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
  void* fake_stack_ = nullptr;
#if defined(TEXFILTERS_EMULATOR_ASSEMBLY)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_{};
#endif
};

}  // namespace emulator
