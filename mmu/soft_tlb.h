// One processor's cache of translations: linear page -> host pointer, probed inline by the interpreter and by emitted
// code. It is coherent with the page tables and so invisible: INVLPG, INVPCID and CR3 writes need not touch it, and any
// size gives the same results. Knows the rules of no instruction; canonical and segment checks are its caller's.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/bits.h"
#include "base/seam.h"
#include "base/types.h"
#include "mmu/page_walk.h"
#include "mmu/page_watch.h"
#include "mmu/physical_map.h"
#include "mmu/translation_tracker.h"

namespace callgate {

/// The translations of one address space as one AccessContext sees it. Direct-mapped; arrays side by side, because
/// emitted code then indexes them by a scaled register (docs: fast paths). A tag is the page's linear address: then
/// `linear ^ tag` is the offset in the page on a hit, and one unsigned compare finds misses and page crossings
/// together.
struct TlbTable {
  static constexpr unsigned kBits = 12;
  static constexpr unsigned kSlots = 1u << kBits;

  u64 read_tag[kSlots];
  u64 write_tag[kSlots];
  u64 exec_tag[kSlots];
  u64 addend[kSlots];  ///< host address = linear + addend

  // Bookkeeping for fast clearing: the slots filled since the last clear.
  u64 listed[kSlots / 64];
  u16 list[kSlots];
  u32 count;
  u32 generation;  ///< changes when the table is cleared as a whole
  u32 root;        ///< frame of the table that the walks of its translations began with, once there is one (4-level paging)

  /// Plain low bits of the page number: emitted code finds a slot in three instructions.
  static constexpr u64 slot_of(u64 linear) { return (linear >> kPageShift) & (kSlots - 1); }
  /// A tag that no address of this slot matches: the address of a page that belongs to another slot. (There is no other
  /// impossible value: addresses are probed before anybody looked whether they are canonical.)
  static constexpr u64 empty_tag(u64 slot) { return slot == 0 ? kPageSize : 0; }
};
static_assert(TlbTable::slot_of(0) == 0 && TlbTable::slot_of(kPageSize) != 0);

/// What SoftTlb::fill found.
struct Translation {
  u8* host = nullptr;  ///< the byte, good for this kind of access up to the page's end; nullptr: not directly
  u64 physical = 0;    ///< the byte's physical address (after the A20 mask)
  bool fault = false;  ///< page fault: SoftTlb::fault() says which; nothing else is valid
};

/// How much a TLB keeps. The guest can't tell; tests use it to prove that.
enum class TlbCaching : u8 { Full, OnePage, None };

class SoftTlb final : public TranslationCache {
 public:
  explicit SoftTlb(PhysicalMap& memory, TlbCaching caching = TlbCaching::Full);
  ~SoftTlb() override;
  SoftTlb(const SoftTlb&) = delete;
  SoftTlb& operator=(const SoftTlb&) = delete;

  /// Switches to an address space. Call on every change of CR0, CR3, CR4 or EFER that PagingMode has a field for; cheap
  /// when nothing changed. Recently used spaces stay warm.
  void set_mode(const PagingMode& mode);
  const PagingMode& mode() const { return mode_; }

  // ---- the fast path: a host pointer for `size` (1 to 4096) bytes at `linear`, all in one page; nullptr on a miss
  // ---- Any 64-bit value may be probed: an address that is not canonical never hits. A write pointer (and any pointer,
  // once an epoch passed) is good until the next access: don't keep it across another translation.

  const u8* find_read(AccessContext context, u64 linear, unsigned size) const {
    const TlbTable& t = *view_[static_cast<unsigned>(context)];
    return hit(t, t.read_tag, linear, size);
  }
  u8* find_write(AccessContext context, u64 linear, unsigned size) const {
    const TlbTable& t = *view_[static_cast<unsigned>(context)];
    return hit(t, t.write_tag, linear, size);
  }
  const u8* find_exec(AccessContext context, u64 linear, unsigned size) const {
    const TlbTable& t = *view_[static_cast<unsigned>(context)];
    return hit(t, t.exec_tag, linear, size);
  }

  // ---- the slow path ----
  // `linear` must be canonical in long mode and below 4 GiB otherwise: the caller has checked.

  /// Translates one byte's page: walks, sets accessed and dirty bits, and keeps the result if it may be kept.
  /// A write to a page with decoded code or page tables, to ROM or to registers gives no host pointer: use bus_write.
  /// A store over two pages: fill both first, then bus_write both parts (the second fill may take the first one's right
  /// to a direct write away).
  Translation fill(AccessContext context, u64 linear, AccessKind kind);
  /// Why the last fill, read or write failed.
  const WalkFault& fault() const { return fault_; }

  /// A whole load of any size and alignment up to 4096 bytes, registers included. False: page fault, `out` untouched.
  /// `wrap` masks the address of the second page (0xFFFFFFFF outside 64-bit mode).
  bool read(AccessContext context, u64 linear, void* out, unsigned size, u64 wrap = ~u64{0});
  /// A whole store: all pages are translated before a byte is written. False: page fault, nothing written.
  bool write(AccessContext context, u64 linear, const void* data, unsigned size, u64 wrap = ~u64{0});
  /// Many stores of one instruction, to `size` bytes in a row in one page of RAM that has been translated for them and isn't
  /// written directly. False, and nothing written, when they must be made one by one: the first ones may change what comes of
  /// the others, or are watched.
  bool write_at_once(AccessContext context, u64 linear, const void* data, unsigned size);
  /// The checks and the accessed and dirty bits of a store, without it. For instructions that must not fault later.
  bool prepare_write(AccessContext context, u64 linear, unsigned size, u64 wrap = ~u64{0});

  /// This processor's access to a physical address from a Translation: its local APIC page, or the bus.
  u64 bus_read(u64 physical, unsigned size);
  void bus_write(u64 physical, unsigned size, u64 value);
  void bus_read(u64 physical, std::span<u8> out);
  void bus_write(u64 physical, std::span<const u8> data);

  /// Puts registers that only this processor sees (its local APIC) over the 4 KiB page at `physical`; nullptr: none.
  void set_local_page(u64 physical, BusTarget* target);

  /// Accesses to pages that `watch` watches are not cached, so that they miss; nullptr: none. Drops what is cached: call it
  /// again whenever the watched pages change.
  void set_watch(const PageWatch* watch);
  /// True when accesses of this kind to these pages must not be made through a pointer.
  bool watched(u64 linear, u64 physical, AccessKind kind) const {
    return watch_ != nullptr && watch_->watches(linear & ~kPageMask, physical & ~kPageMask, kind);
  }

  /// Changes whenever a cached translation was dropped or the address space switched: a caller may keep a read or
  /// execute pointer, and what it derived from it, while the epoch stays.
  u64 epoch() const { return epoch_; }
  /// Changes whenever a right to write directly was taken away while the translation stayed.
  u64 write_epoch() const { return write_epoch_; }

  /// The table of a context, for emitted code. Changes with set_mode.
  const TlbTable* table(AccessContext context) const { return view_[static_cast<unsigned>(context)]; }

  struct Stats {
    u64 fills = 0, page_drops = 0, range_drops = 0, space_drops = 0, flushes = 0, spaces_recycled = 0, kernels_recycled = 0;
  };
  const Stats& stats() const { return stats_; }

  // TranslationCache: how coherence is kept.
  void drop_page(u64 linear) override;
  void drop_range(u64 linear, u64 size) override;
  void drop_range_of(u32 root, u64 linear, u64 size) override;
  void drop_space(u32 root) override;
  void drop_all() override;
  void drop_write_page(u64 linear) override;
  void drop_write_host(const u8* host) override;
  void drop_all_writes() override;
  bool has_write(u64 linear, const u8* host) const override;

 private:
  static constexpr unsigned kSpaces = 8, kKernels = 8;

  struct Free {
    void operator()(void* p) const;
  };
  using Table = std::unique_ptr<TlbTable, Free>;
  /// What the spaces with the same upper half share: a process's kernel is every process's kernel. Whatever is cached here
  /// came through these entries of the root, so it is as good in each space whose root holds the same ones. Once it has
  /// translations of the lower half it belongs to the one space that it was used for last.
  struct Kernel {
    struct RootEntry {
      unsigned index;
      u64 entry;
    };
    PagingMode mode;  ///< of the space that it was used for last
    u64 last_used = 0;
    Table table;  ///< of AccessContext::Supervisor
    std::vector<RootEntry> upper;
    bool has_lower = false;
  };
  struct Space {
    PagingMode mode;
    u64 last_used = 0;
    Table user, supervisor_ac;
  };

  template <class Tag>
  static u8* hit(const TlbTable& t, const Tag& tag, u64 linear, unsigned size) {
    const u64 slot = TlbTable::slot_of(linear);
    if ((linear ^ tag[slot]) > kPageSize - size) [[unlikely]]
      return nullptr;
    return reinterpret_cast<u8*>(static_cast<std::uintptr_t>(linear + t.addend[slot]));
  }

  bool translate(AccessContext context, u64 linear, unsigned size, u64 wrap, AccessKind kind, Translation (&parts)[2]);
  void insert(AccessContext context, u64 linear, const Walk& walk, const PhysicalPage& page);
  void note_entries(u64 linear, const Walk& walk);
  void select(Space& space);
  /// The kernel that a space may share, or an empty one.
  Kernel& kernel_for(const PagingMode& mode);
  static bool may_share(const Kernel& kernel, const PagingMode& mode, const PhysicalPage& root);
  /// A translation is about to be kept that supervisors may use to find code or data.
  void note_kernel(AccessContext context, u64 linear, const Walk& walk);
  static Table make_table();
  static std::unique_ptr<Space> make_space();
  static void empty_slot(TlbTable& table, u64 slot);
  static void clear(TlbTable& table);
  static void clear(Kernel& kernel);
  static void drop_range(TlbTable& table, u64 linear, u64 size);
  /// The tables that may have something of `linear`: a kernel that has nothing of the lower half is left out.
  template <class F>
  void each_table(u64 linear, F&& f) const;
  template <class F>
  void each_table(F&& f) const;

  /// A page that has been walked for, and that no pointer is kept for: registers, which drivers poll, and what may not be
  /// written directly. Page tables are written again and again.
  struct Walked {
    u64 page = ~u64{0}, physical = 0, epoch = 0;
    AccessContext context = AccessContext::User;
    bool registers = false;
  };
  static constexpr unsigned kWalked = 64;
  Walked& walked(u64 linear, AccessKind kind) { return walked_[kind == AccessKind::Write][(linear >> kPageShift) % kWalked]; }
  bool still_holds(const Walked& walked, AccessContext context, u64 linear) const;

  PhysicalMap& memory_;
  Walked walked_[2][kWalked];  ///< for loads, for stores
  TlbTable* view_[kAccessContexts + 1] = {};  ///< the last one, of Watched, stays empty
  PagingMode mode_;
  WalkFault fault_;
  u64 epoch_ = 0, write_epoch_ = 0;
  u64 uses_ = 0;
  u64 local_page_ = ~u64{0};
  BusTarget* local_ = nullptr;
  const PageWatch* watch_ = nullptr;
  TlbCaching caching_;
  std::vector<std::unique_ptr<Space>> spaces_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  Kernel* kernel_ = nullptr;  ///< of the current space
  Table watched_;
  Stats stats_;
};

}  // namespace callgate
