// What answers at a physical address: RAM below and above the PCI hole, ROM, device registers, or nothing. Every write
// to RAM that does not go through a soft TLB's direct pointer goes through here, which keeps code caches, translations
// and the hash right. Knows no linear addresses and no CPU.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/seam.h"
#include "base/state_io.h"
#include "base/types.h"
#include "mmu/ram.h"
#include "mmu/translation_tracker.h"

namespace callgate {

/// A cache of decoded or translated instructions, keyed by physical address.
class CodeListener {
 public:
  virtual ~CodeListener() = default;
  /// [physical, physical + size), inside one frame flagged kFrameCode, was just written.
  virtual void code_written(u64 physical, u32 size) = 0;
  /// The code at this byte is the same, but means something else from now on: forget what was made of it.
  virtual void code_forgotten(u64 physical) { code_written(physical, 1); }
  /// All of memory may have changed (a restore, a new memory map): forget all code.
  virtual void code_dropped() = 0;
  /// True while it keeps instructions of the frame.
  virtual bool has_code(u32 frame) const = 0;
};

/// What wins where regions overlap. In a layer the region with the lower base wins, then the smaller one.
enum class RegionLayer : u8 {
  Window,  ///< seen only where there is no RAM or ROM: PCI BARs, which the guest may put anywhere
  Fixed,   ///< the board's own, over RAM: the VGA hole, ROM, the I/O APIC
};

using RegionId = u32;

/// MAXPHYADDR, for CPUID leaf 8000_0008 and the MTRR masks. 40 bits (1 TiB) is what PSE-36 entries of 32-bit paging
/// reach, so every paging mode can name every physical address; and a frame number fits in 32 bits with room to spare.
constexpr unsigned kPhysicalBits = 40;
constexpr u64 kPhysicalEnd = u64{1} << kPhysicalBits;

/// A 4 KiB page of the physical address space that can be accessed through a pointer.
struct PhysicalPage {
  u8* host = nullptr;    ///< its first byte; nullptr: not plain memory, use bus_read and bus_write
  u32 frame = kNoFrame;  ///< its frame; kNoFrame when it is not RAM: then it must not be written
};

/// The physical address space of a machine.
class PhysicalMap final : public DmaMemory {
 public:
  /// RAM appears at 0 up to `low_limit` (the start of the PCI hole: page-aligned, at most 4 GiB); the rest at 4 GiB.
  PhysicalMap(std::unique_ptr<Ram> ram, u64 low_limit);
  ~PhysicalMap() override;
  PhysicalMap(const PhysicalMap&) = delete;
  PhysicalMap& operator=(const PhysicalMap&) = delete;

  // ---- layout: each change makes all TLBs and code caches start afresh ----

  /// Registers at [base, base + size), byte-granular. `target` gets offsets from `base`; nullptr: a hole, where reads
  /// give ones and writes are dropped.
  RegionId map_mmio(u64 base, u64 size, BusTarget* target, RegionLayer layer = RegionLayer::Fixed);
  /// Read-only memory with a copy of `contents`, padded with ones to a whole page. `base` page-aligned. Writes are
  /// ignored.
  RegionId map_rom(u64 base, std::span<const u8> contents);
  void unmap(RegionId id);
  /// Moves a region (a BAR that was written).
  void move(RegionId id, u64 base);

  /// The A20 gate, which masks address bit 20 of the processors' accesses (not of DMA). On at first.
  void set_a20(bool on);
  bool a20() const { return a20_mask_ == ~u64{0}; }
  /// `physical` as it leaves the processor: the page walk applies it, so that addresses from a Walk have it already.
  u64 cpu_address(u64 physical) const { return physical & a20_mask_; }

  // ---- access ----

  /// The page at `physical` (any byte in it).
  PhysicalPage page(u64 physical) const {
    for (const Direct& d : direct_) {
      if (physical - d.base < d.size) {
        const u64 frame = (physical - d.base + d.ram_offset) >> kPageShift;
        return {ram_->frame(static_cast<u32>(frame)), static_cast<u32>(frame)};
      }
    }
    return page_slow(physical);
  }

  /// A processor's access of 1 to 8 bytes: RAM, ROM or registers. What is no naturally aligned access of 1, 2, 4 or 8
  /// bytes reaches registers in ascending, naturally aligned pieces, the largest that fit.
  u64 bus_read(u64 physical, unsigned size);
  void bus_write(u64 physical, unsigned size, u64 value);
  /// The same for any length.
  void bus_read(u64 physical, std::span<u8> out);
  void bus_write(u64 physical, std::span<const u8> data);

  /// DMA: RAM and ROM only. Registers read as ones and are not written, so that a device can't reach itself.
  void read(u64 physical, std::span<u8> out) override;
  void write(u64 physical, std::span<const u8> data) override;

  /// Host memory of the page at `physical` for reading or writing it as a whole, or nullptr when it must go slow. A
  /// write pointer is good until the next access by anybody.
  const u8* page_for_reading(u64 physical) const { return page(physical).host; }
  u8* page_for_writing(u64 physical);

  /// Writes inside one frame of RAM: every write that doesn't go through a direct pointer ends here.
  void write_frame(u32 frame, u32 offset, const void* data, u32 size);
  /// Where to write `size` bytes of a frame directly, at once, although page-table entries are there; nullptr: it has to be
  /// write_frame.
  u8* table_for_writing(u32 frame, u32 offset, u32 size);
  /// The page walk sets accessed and dirty bits in an entry.
  void set_entry_bits(u64 physical, u64 entry, unsigned entry_bytes);

  // ---- what others keep ----

  Ram& ram() { return *ram_; }
  const Ram& ram() const { return *ram_; }
  TranslationTracker& tracker() { return tracker_; }
  /// The physical address of a frame of RAM.
  u64 physical_of(u32 frame) const;

  void add_code_listener(CodeListener* listener) { listeners_.push_back(listener); }
  void remove_code_listener(CodeListener* listener);
  /// Instructions of the frame are about to be kept: from now on the listeners hear of every write to it.
  void mark_code(u32 frame);
  /// What was made of the code at this byte is to be made anew, though nobody wrote to it.
  void forget_code(u64 physical) {
    for (CodeListener* listener : listeners_) listener->code_forgotten(physical);
  }
  /// A listener keeps no instruction of the frame any longer: unless another one does, writes to it may be direct again.
  void release_code(u32 frame);

  // ---- state ----

  /// A hash of all of RAM; costs a walk over the frames written since the last one.
  u64 hash();
  /// RAM and A20. A StateHasher gets hash() instead of the contents. Restoring drops all cached code and translations.
  void sync(StateIo& io);

 private:
  enum class Kind : u8 { Nothing, Ram, Rom, Mmio };
  struct Region;
  /// A piece of the address space with one answer; pieces are sorted and disjoint.
  struct Piece {
    u64 base = 0, end = 0;
    Kind kind = Kind::Nothing;
    u64 offset = 0;     ///< of `base`, in RAM or in the target
    u8* rom = nullptr;  ///< the byte at `base`
    BusTarget* target = nullptr;
  };
  /// A stretch of whole pages of RAM, looked at before anything else.
  struct Direct {
    u64 base = 0, size = 0, ram_offset = 0;
  };

  PhysicalPage page_slow(u64 physical) const;
  /// The piece at `physical`, which is below kPhysicalEnd.
  Piece find(u64 physical) const;
  void rebuild();
  void layout_changed();
  void read_bytes(u64 physical, std::span<u8> out, bool registers);
  void write_bytes(u64 physical, std::span<const u8> data, bool registers);

  std::unique_ptr<Ram> ram_;
  u64 low_size_;
  u64 a20_mask_ = ~u64{0};
  Direct direct_[2];
  TranslationTracker tracker_;
  std::vector<CodeListener*> listeners_;
  std::vector<std::unique_ptr<Region>> regions_;  ///< by id; nullptr: unmapped
  std::vector<Piece> pieces_;
};

}  // namespace callgate
