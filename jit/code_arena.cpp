#include "jit/code_arena.h"

#include <sys/mman.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/verify.h"

namespace callgate::jit {

CodeArena::~CodeArena() {
  if (executable_ != nullptr) munmap(executable_, size_);
  if (writable_ != nullptr) munmap(writable_, size_);
}

// Two mappings of one piece of shared memory. It has no name: perf then looks up its addresses in a perf map.
Result<> CodeArena::open(std::size_t size) {
  VERIFY(executable_ == nullptr, "the arena is open already");
  size = (size + kPage - 1) & ~(kPage - 1);
  void* const writable = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  // An old size of 0 makes a second mapping of shared pages: mremap(2).
  void* const executable = writable != MAP_FAILED ? mremap(writable, 0, size, MREMAP_MAYMOVE) : MAP_FAILED;
  const bool ready = executable != MAP_FAILED && mprotect(executable, size, PROT_READ | PROT_EXEC) == 0;
  if (!ready) {
    if (executable != MAP_FAILED) munmap(executable, size);
    if (writable != MAP_FAILED) munmap(writable, size);
    return fail(ErrorKind::Host, "the host gives no memory that can hold emitted code: use --engine interp");
  }
  executable_ = static_cast<u8*>(executable);
  writable_ = static_cast<u8*>(writable);
  size_ = size;
  return {};
}

// The host's pages one by one cost a fault each, twice: here some hundred come at once. Where the host can't, they come as
// they are touched.
void CodeArena::populate(std::size_t end) {
  constexpr std::size_t kStep = std::size_t{1} << 20;
  const std::size_t size = std::min(kStep, size_ - populated_);
  if (end <= populated_ || size == 0) return;
#ifdef MADV_POPULATE_WRITE
  madvise(writable_ + populated_, size, MADV_POPULATE_WRITE);
  madvise(executable_ + populated_, size, MADV_POPULATE_READ);
#endif
  populated_ += size;
}

void CodeArena::append(const void* code, std::size_t size) {
  VERIFY(size <= room(), "emitted code does not fit in the arena");
  populate(used_ + size);
  std::memcpy(writable_ + used_, code, size);
  used_ += (size + 15) & ~std::size_t{15};
  if (used_ > size_ - at_back_) used_ = size_ - at_back_;
}

const u8* CodeArena::append_at_back(const void* code, std::size_t size) {
  VERIFY(size + 15 <= room(), "emitted code does not fit in the arena");
  at_back_ = (at_back_ + size + 15) & ~std::size_t{15};
  std::memcpy(writable_ + size_ - at_back_, code, size);
  return executable_ + size_ - at_back_;
}

void CodeArena::patch(u8* at, i32 value) {
  VERIFY(contains(at), "a patch outside the arena");
  std::memcpy(writable_ + (at - executable_), &value, sizeof value);
}

}  // namespace callgate::jit
