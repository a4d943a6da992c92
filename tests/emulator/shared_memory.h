// Shared memory of one block: taken from the heap in its exact size, so that AddressSanitizer sees an overrun, and
// poisoned, so that reading what nobody wrote gives NaN.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace emulator {

constexpr std::size_t kSharedAlignment = 128;
constexpr std::size_t kSharedByDefault = 48 << 10;
constexpr std::size_t kSharedAtMost = 227 << 10;

struct FreeShared {
  void operator()(unsigned char* memory) const { ::operator delete(memory, std::align_val_t{kSharedAlignment}); }
};
using SharedMemory = std::unique_ptr<unsigned char[], FreeShared>;

inline SharedMemory poisoned(std::size_t size) {
  SharedMemory memory(static_cast<unsigned char*>(::operator new(size, std::align_val_t{kSharedAlignment})));
  std::memset(memory.get(), 0xff, size);
  return memory;
}

class BlockMemory {
 public:
  explicit BlockMemory(std::size_t dynamic_size) : dynamic_(poisoned(dynamic_size)), dynamic_size_(dynamic_size) {}

  unsigned char* dynamic() { return dynamic_.get(); }

  // The array of the declaration that `key` names: the block's first thread there makes it.
  void* array(const void* key, std::size_t size) {
    for (const auto& [known, memory] : arrays_) {
      if (known == key) return memory.get();
    }
    static_size_ += size;
    if (static_size_ > kSharedByDefault) refuse("static shared memory of a kernel", kSharedByDefault, static_size_);
    const std::size_t sum = static_size_ + dynamic_size_;
    if (sum > kSharedAtMost) refuse("static and dynamic shared memory of a block", kSharedAtMost, sum);
    return arrays_.emplace_back(key, poisoned(size)).second.get();
  }

 private:
  static void refuse(const char* what, std::size_t limit, std::size_t size) {
    throw std::runtime_error(std::string(what) + " must not pass " + std::to_string(limit) + " bytes, got " +
                             std::to_string(size));
  }

  SharedMemory dynamic_;
  std::size_t dynamic_size_;
  std::size_t static_size_ = 0;
  std::vector<std::pair<const void*, SharedMemory>> arrays_;
};

}  // namespace emulator
