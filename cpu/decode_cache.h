// Decoded instructions, kept by physical page and code size, and dropped by any write to their bytes: stores, DMA, page
// walks, aliases. One cache serves all processors of a machine. It is invisible: the guest can't tell that it is there.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cpu/insn.h"
#include "mmu/physical_map.h"

namespace callgate {

/// The decoded instructions of one frame for one code size. An instruction stays where it is until drop(): the engine may
/// hold a reference while it executes, even if the instruction overwrites itself.
class DecodedPage {
 public:
  /// The instruction that starts at `offset` of the page, or nullptr when it is not decoded yet.
  const Insn* find(unsigned offset) const {
    const u16 at = index_[offset];
    return at != 0 ? &insns_[at - 1] : nullptr;
  }
  /// Keeps `insn`, which lies in this page entirely. The reference is good until the next add() or drop().
  const Insn& add(unsigned offset, const Insn& insn);
  /// Forgets the instructions that have a byte in [offset, offset + size).
  void invalidate(unsigned offset, unsigned size);
  bool full() const { return insns_.size() >= kMost; }
  /// Counts a write to the page; true when there were so many since the last add() that it looks like data.
  bool written() { return ++writes_ >= kWritesUntilRelease; }
  void drop();

 private:
  static constexpr std::size_t kMost = 16384;  ///< garbage of rewritten code included
  static constexpr std::size_t kFirst = 16;    ///< room that a page begins with, so that its first ones are not moved again and again
  std::array<u16, kPageSize> index_{};
  static constexpr unsigned kWritesUntilRelease = 32;
  std::vector<Insn> insns_;
  unsigned writes_ = 0;
};

class DecodeCache final : public CodeListener {
 public:
  explicit DecodeCache(PhysicalMap& memory);
  ~DecodeCache() override;

  /// The page of decoded instructions for a frame of RAM; made when missing (the frame is then watched for writes).
  DecodedPage& page(u32 frame, CodeSize size) {
    DecodedPage* p = pages_[slot(frame, size)];
    return p != nullptr ? *p : make(frame, size);
  }

  void code_written(u64 physical, u32 size) override;
  void code_dropped() override;
  bool has_code(u32 frame) const override;

  struct Stats {
    u64 decoded = 0;        ///< instructions decoded
    u64 invalidations = 0;  ///< writes that hit decoded bytes' pages
  } stats;

 private:
  static std::size_t slot(u32 frame, CodeSize size) { return std::size_t{frame} * 3 + static_cast<unsigned>(size); }
  DecodedPage& make(u32 frame, CodeSize size);

  PhysicalMap& memory_;
  /// Zero memory that the host gives where it is touched: a machine's start costs no walk over all frames.
  struct Free {
    void operator()(DecodedPage** pages) const { std::free(pages); }
  };
  std::unique_ptr<DecodedPage*[], Free> pages_;  ///< owned; nullptr: nothing decoded
  std::vector<std::size_t> made_;  ///< the slots that have, or had, a page
  std::size_t tidy_at_ = 1 << 16;  ///< when it has so many, each is left in once
  std::vector<std::unique_ptr<DecodedPage>> graveyard_;  ///< dropped while an engine may still be inside
};

}  // namespace callgate
