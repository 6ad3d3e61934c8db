// Keeps the soft TLBs coherent: knows which page-table entries cached translations came through, and under which linear
// addresses frames are mapped for direct writes. It tells the caches what to drop; it knows nothing of how they work.
//
// The ground rule is that the guest can't see a TLB: a cached translation goes away the moment an entry it came through
// changes. So a frame whose entries were used is flagged kFrameTable and its writes take the slow path, which ends
// here.
#pragma once

#include <bitset>
#include <memory>
#include <vector>

#include "base/types.h"
#include "mmu/ram.h"

namespace callgate {

class PhysicalMap;

/// A cache of translations (a soft TLB) as the tracker sees it. Linear addresses are page-aligned.
class TranslationCache {
 public:
  virtual ~TranslationCache() = default;
  /// Forgets one linear page in all address spaces.
  virtual void drop_page(u64 linear) = 0;
  /// Forgets [linear, linear + size) in all address spaces. size is a power of two of at least a page.
  virtual void drop_range(u64 linear, u64 size) = 0;
  /// Forgets [linear, linear + size) in the address spaces whose walks begin with the table in frame `root`.
  virtual void drop_range_of(u32 root, u64 linear, u64 size) = 0;
  /// Forgets these address spaces altogether.
  virtual void drop_space(u32 root) = 0;
  /// Forgets everything.
  virtual void drop_all() = 0;
  /// Forgets direct writes to one linear page.
  virtual void drop_write_page(u64 linear) = 0;
  /// Forgets direct writes to the 4 KiB of host memory at `host`, under whatever address.
  virtual void drop_write_host(const u8* host) = 0;
  /// Forgets all direct writes.
  virtual void drop_all_writes() = 0;
  /// True when a direct write mapping of `linear` to `host` is cached.
  virtual bool has_write(u64 linear, const u8* host) const = 0;
};

/// The dependencies of all caches of a machine.
class TranslationTracker {
 public:
  TranslationTracker(const PhysicalMap& memory, Ram& ram);
  ~TranslationTracker();
  TranslationTracker(const TranslationTracker&) = delete;
  TranslationTracker& operator=(const TranslationTracker&) = delete;

  void attach(TranslationCache* cache);
  void detach(TranslationCache* cache);

  /// A cache is about to keep a translation of `linear` that came through entry `index` (of `entry_bytes`) of the table
  /// in `frame` at `level`.
  void note_entry(u32 frame, unsigned index, unsigned level, unsigned entry_bytes, u64 linear);

  /// A cache keeps a direct write mapping of `frame` at the page `linear`.
  void note_write(u32 frame, u64 linear);

  /// Makes all caches forget direct writes to `frame`, because it is about to get one of kFrameSlowWrite.
  void drop_write(u32 frame);

  /// Writes into a frame flagged kFrameTable and drops what depended on the entries that changed.
  void write_table(u32 frame, u32 offset, const u8* data, u32 size);

  /// True when a cached translation may have come through one of the entries in [offset, offset + size) of a frame flagged
  /// kFrameTable.
  bool entries_in_use(u32 frame, u32 offset, u32 size) const;

  /// Somebody is about to write into a frame flagged kFrameTable by himself, before anything else happens: drops what
  /// depended on the entries there, whatever is going to be written.
  void forget_entries(u32 frame, u32 offset, u32 size);

  /// Forgets all translations in all caches.
  void drop_all();
  /// Forgets all direct writes in all caches (the frames' kFrameWriteCached flags are the caller's).
  void drop_all_writes();

 private:
  static constexpr unsigned kRoles = 4;  ///< enough for a root that maps itself: it serves at every level
  /// Slow writes in a row, with no walk through the table in between, after which it is taken for plain memory again.
  static constexpr u32 kWritesUntilRelease = 128;

  /// What is cached through one table.
  struct Table {
    u64 role[kRoles] = {};  ///< linear base | level: the places where it was used
    u8 roles = 0;
    bool everywhere = false;  ///< more places than roles
    u8 entry_bytes = 8;
    u32 writes = 0;  ///< since the last walk through it
    u32 frame = kNoFrame;
    std::bitset<1024> cached;  ///< entries that cached translations may depend on
  };
  /// Up to two pages that map a frame for direct writes; a third live one makes it `several`.
  struct WriteMaps;
  struct Free {
    void operator()(void* p) const;
  };

  static unsigned entry_shift(unsigned level, unsigned entry_bytes);
  void drop_page(u64 linear);
  void drop_range(u64 linear, u64 size);
  /// Drops what came through entry `index` of a table of level 4: only the spaces that it is the root of have that.
  void drop_root_entry(const Table& table, unsigned index);
  /// Drops what came through entry `index`, whose value was `before`.
  void drop_entry(Table& table, unsigned index, u64 before);
  /// Drops what came through the page table below a level 2 entry that maps [linear, ...). False: ask for the whole
  /// range.
  bool drop_below(u64 linear, u64 entry, unsigned entry_bytes);
  /// Drops what came through any entry of the table at one of its places.
  void drop_cached(const Table& table, u64 role);
  /// Drops everything that came through the table and takes it for plain memory.
  void release(Table& table);

  const PhysicalMap& memory_;
  Ram& ram_;
  std::vector<TranslationCache*> caches_;
  std::unique_ptr<u32[], Free> table_of_;          ///< by frame: index into tables_, plus 1; 0 for none
  std::unique_ptr<WriteMaps[], Free> write_maps_;  ///< by frame; means something while kFrameWriteCached is set
  std::vector<std::unique_ptr<Table>> tables_;
  std::vector<u32> free_;
};

}  // namespace callgate
