// The bytes of kernels and initial RAM disks: vectors whose memory comes in the host's large pages when it is much. A fresh
// 4 KiB page costs the host a fault of a microsecond and more, and a kernel has ten thousand of them.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "base/types.h"

namespace callgate::boot {

template <class T>
struct LargePageAllocator {
  using value_type = T;
  LargePageAllocator() = default;
  template <class U>
  LargePageAllocator(const LargePageAllocator<U>&) {}

  T* allocate(std::size_t n) {
    if (n < kLarge / sizeof(T)) return static_cast<T*>(::operator new(n * sizeof(T)));
    if (n > (~std::size_t{0} >> 1) / sizeof(T)) throw std::bad_alloc();
    void* const p = mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    (void)madvise(p, n * sizeof(T), MADV_HUGEPAGE);  // a wish
#endif
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t n) {
    if (n < kLarge / sizeof(T)) ::operator delete(p);
    else munmap(p, n * sizeof(T));
  }
  bool operator==(const LargePageAllocator&) const { return true; }

 private:
  static constexpr std::size_t kLarge = std::size_t{4} << 20;
};

using FileBytes = std::vector<u8, LargePageAllocator<u8>>;

/// Bytes that are kept together with the rest of their file: a kernel's segments need no copies.
class FilePart {
 public:
  FilePart(FileBytes bytes) : whole_(std::make_shared<const FileBytes>(std::move(bytes))), part_(*whole_) {}
  FilePart(std::shared_ptr<const FileBytes> whole, std::span<const u8> part) : whole_(std::move(whole)), part_(part) {}

  std::size_t size() const { return part_.size(); }
  u8 operator[](std::size_t n) const { return part_[n]; }
  operator std::span<const u8>() const { return part_; }
  bool operator==(const FilePart& other) const { return std::ranges::equal(part_, other.part_); }

 private:
  std::shared_ptr<const FileBytes> whole_;
  std::span<const u8> part_;
};

}  // namespace callgate::boot
