#include "jit/code_arena.h"

#include <cstring>

#include "base/verify.h"

namespace callgate::jit {

CodeArena::~CodeArena() {
  if (executable_ != nullptr) asmjit::VirtMem::releaseDualMapping(&mapping_, size_);
}

Result<> CodeArena::open(std::size_t size) {
  using asmjit::VirtMem::MemoryFlags;
  if (asmjit::VirtMem::allocDualMapping(&mapping_, size, MemoryFlags::kAccessRWX) != asmjit::kErrorOk)
    return fail(ErrorKind::BadArgument,
                "the host gives no memory that can hold emitted code (is vm.memfd_noexec set?): use --engine interp");
  executable_ = static_cast<u8*>(mapping_.rx);
  writable_ = static_cast<u8*>(mapping_.rw);
  size_ = size;
  return {};
}

void CodeArena::append(const void* code, std::size_t size) {
  VERIFY(size <= room(), "emitted code does not fit in the arena");
  std::memcpy(writable_ + used_, code, size);
  used_ += (size + 15) & ~std::size_t{15};
  if (used_ > size_) used_ = size_;
}

void CodeArena::patch(u8* at, i32 value) {
  VERIFY(contains(at), "a patch outside the arena");
  std::memcpy(writable_ + (at - executable_), &value, sizeof value);
}

}  // namespace callgate::jit
