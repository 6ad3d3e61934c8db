#include "mmu/ram.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/bits.h"
#include "base/state_io.h"
#include "base/verify.h"

namespace callgate {

namespace {
constexpr u64 kMostRam = u64{512} << 30;

void* map_zero_pages(void* at, u64 size) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | (at != nullptr ? MAP_FIXED : 0);
#ifdef MAP_NORESERVE
  flags |= MAP_NORESERVE;
#endif
  void* const data = mmap(at, size, PROT_READ | PROT_WRITE, flags, -1, 0);
#ifdef MADV_HUGEPAGE
  // A wish: a guest touches most of its memory, and the host's TLB is short.
  if (data != MAP_FAILED) (void)madvise(data, size, MADV_HUGEPAGE);
#endif
  return data;
}

bool all_zero(const u8* frame) {
  // Equal to itself shifted by one word, and the first word zero: memcmp is as fast as the host can read.
  return load_as<u64>(frame) == 0 && std::memcmp(frame, frame + 8, kPageSize - 8) == 0;
}
}  // namespace

void Ram::Free::operator()(void* p) const { std::free(p); }

Result<std::unique_ptr<Ram>> Ram::create(u64 size) {
  if (size == 0 || size % kPageSize != 0 || size > kMostRam)
    return fail(ErrorKind::BadArgument,
                "the guest's memory size must be a multiple of 4 KiB, at least 4 KiB and at most 512 GiB");
  void* data = map_zero_pages(nullptr, size);
  auto* hashes = static_cast<u64*>(std::calloc(size / kPageSize, sizeof(u64)));
  if (data == MAP_FAILED || hashes == nullptr) {
    const int error = errno;
    if (data != MAP_FAILED) munmap(data, size);
    std::free(hashes);
    return fail(ErrorKind::Host, "the host gives no " + std::to_string(size >> 20) + " MiB for the guest's memory (" +
                                     std::strerror(error) + "): use a smaller -m");
  }
  return std::unique_ptr<Ram>(new Ram(static_cast<u8*>(data), hashes, size));
}

// All-zero RAM is its own hash of zero, so every frame starts clean and an untouched one is never looked at.
Ram::Ram(u8* data, u64* hashes, u64 size)
    : data_(data), size_(size), flags_(size / kPageSize, kFrameClean), hashes_(hashes) {}

Ram::~Ram() { munmap(data_, size_); }

bool Ram::is_zero(u32 f) const { return all_zero(frame(f)); }

u64 Ram::hash_of(u32 frame, const u8* contents) {
  return all_zero(contents) ? 0 : hash_bytes({contents, kPageSize}, u64{frame} + 1);
}

void Ram::make_absent(u32 f, u64 hash) {
  VERIFY((flags_[f] & (kFrameSlowWrite | kFrameAbsent)) == kFrameClean, "a frame in use was made absent");
  hash_ += hash - hashes_[f];
  hashes_[f] = hash;
  set_flags(f, kFrameAbsent);
}

void Ram::put_absent(u32 f, const u8* contents) {
  VERIFY(absent(f), "a frame that is there was brought");
  std::memcpy(data_ + (u64{f} << kPageShift), contents, kPageSize);
  clear_flags(f, kFrameAbsent);
}

u64 Ram::hash_and_clean() {
  for (const u32 f : dirty_) {
    const u64 now = hash_of(f, frame(f));
    hash_ += now - hashes_[f];
    hashes_[f] = now;
    set_flags(f, kFrameClean);
    clear_flags(f, kFrameWriteCached);
  }
  dirty_.clear();
  return hash_;
}

void Ram::clear() {
  VERIFY(map_zero_pages(data_, size_) == data_, "the host took the guest's memory away");
  for (u32 f = 0; f < frames(); f++) {
    hashes_[f] = 0;
    set_flags(f, kFrameClean);
    clear_flags(f, kFrameAbsent);
  }
  source_ = nullptr;
  dirty_.clear();
  hash_ = 0;
}

}  // namespace callgate
