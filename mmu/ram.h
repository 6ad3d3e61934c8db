// Guest RAM: host pages behind it, a byte of flags for every 4 KiB frame, and an incremental hash of the contents.
// Knows frames (numbers from 0 in RAM), never where the guest sees them: that is PhysicalMap's.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "mmu/page_source.h"

namespace callgate {

// Flags of a frame. A direct write (through a soft-TLB entry) is allowed only while none of the first three is set.
constexpr u8 kFrameCode = 1;   ///< instructions of the frame are decoded somewhere: CodeListener must hear of writes
constexpr u8 kFrameTable = 2;  ///< cached translations came through page-table entries of the frame
constexpr u8 kFrameClean = 4;  ///< not written since the last hash
constexpr u8 kFrameWriteCached = 8;  ///< some soft TLB may hold a direct write mapping of the frame
constexpr u8 kFrameAbsent = 16;      ///< its contents are still with the PageSource
constexpr u8 kFrameSlowWrite = kFrameCode | kFrameTable | kFrameClean;

/// No frame: the address is not RAM.
constexpr u32 kNoFrame = ~u32{0};

/// The guest's RAM. Zero at first; untouched frames cost no host memory.
class Ram {
 public:
  /// `size` in bytes: a multiple of 4096, at least one frame, at most 512 GiB.
  static Result<std::unique_ptr<Ram>> create(u64 size);
  ~Ram();
  Ram(const Ram&) = delete;
  Ram& operator=(const Ram&) = delete;

  u64 size() const { return size_; }
  u32 frames() const { return static_cast<u32>(size_ >> kPageShift); }
  /// The whole of RAM, of which absent frames are not there. Whoever writes goes through PhysicalMap.
  u8* data() const { return data_; }
  /// A frame's first byte. Reading is always fine.
  u8* frame(u32 frame) const {
    if (flags_[frame] & kFrameAbsent) [[unlikely]] source_->bring(frame, const_cast<Ram&>(*this));
    return data_ + (u64{frame} << kPageShift);
  }
  /// The frame of a host pointer, or kNoFrame when it points elsewhere (ROM).
  u32 frame_of(const u8* host) const {
    const u64 offset =
        static_cast<u64>(reinterpret_cast<std::uintptr_t>(host) - reinterpret_cast<std::uintptr_t>(data_));
    return offset < size_ ? static_cast<u32>(offset >> kPageShift) : kNoFrame;
  }

  u8 flags(u32 frame) const { return flags_[frame]; }
  void set_flags(u32 frame, u8 mask) { flags_[frame] = static_cast<u8>(flags_[frame] | mask); }
  void clear_flags(u32 frame, u8 mask) { flags_[frame] = static_cast<u8>(flags_[frame] & ~mask); }

  bool is_zero(u32 frame) const;

  /// The frame is about to be written.
  void mark_dirty(u32 frame) {
    if (flags_[frame] & kFrameClean) {
      clear_flags(frame, kFrameClean);
      dirty_.push_back(frame);
    }
  }
  /// The frames written since the last hash, each once, in the order of their first write.
  const std::vector<u32>& dirty() const { return dirty_; }

  /// Hashes the dirty frames and marks them clean and not write-cached. Only PhysicalMap::hash calls this: it also
  /// makes the TLBs forget their write mappings. Equal contents give equal hashes, whatever was written in between.
  u64 hash_and_clean();

  /// From now on absent frames come from `source`, which must outlive them; nullptr: there are none.
  void bring_from(PageSource* source) { source_ = source; }
  /// A frame that was not written since the last hash has contents of the source's from now on. `hash`: hash_of them.
  void make_absent(u32 frame, u64 hash);
  /// The contents of an absent frame, which is there from now on.
  void put_absent(u32 frame, const u8* contents);
  bool absent(u32 frame) const { return flags_[frame] & kFrameAbsent; }
  /// What contents add to the hash of RAM: 0 when they are all zero.
  static u64 hash_of(u32 frame, const u8* contents);
  /// The same of the frame as of the last hash.
  u64 hash_of(u32 frame) const { return hashes_[frame]; }

  /// Zeroes everything and gives the host its memory back. Keeps the flags but Clean. Only PhysicalMap calls this.
  void clear();

 private:
  struct Free {
    void operator()(void* p) const;
  };

  Ram(u8* data, u64* hashes, u64 size);

  u8* data_;
  u64 size_;
  std::vector<u8> flags_;
  std::unique_ptr<u64[], Free> hashes_;  ///< of each frame as of the last hash; an all-zero frame has 0
  std::vector<u32> dirty_;
  u64 hash_ = 0;  ///< the sum of hashes_
  PageSource* source_ = nullptr;
};

}  // namespace callgate
