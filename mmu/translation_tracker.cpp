#include "mmu/translation_tracker.h"

#include <algorithm>
#include <cstdlib>

#include "base/bits.h"
#include "base/verify.h"
#include "mmu/page_walk.h"
#include "mmu/physical_map.h"

namespace callgate {

namespace {
// Page-table entry bits. SDM 3A, "Formats of CR3 and Paging-Structure Entries".
constexpr u64 kPresent = 1;
constexpr u64 kAccessedAndDirty = 0x60;
constexpr u64 kPageSizeBit = 0x80;
// PWT, PCD, G and the bits left to software: no translation depends on them.
constexpr u64 kIrrelevant = 0xF18;
/// With more translations than this to drop from one table, its whole range goes at once.
constexpr unsigned kDropOneByOne = 32;

/// True when a translation that came through `before` may differ with `after`.
bool matters(u64 before, u64 after) {
  u64 changed = (before ^ after) & ~kIrrelevant;
  changed &= ~(after & kAccessedAndDirty);  // a flag that got set takes no right away
  return (before & kPresent) != 0 && changed != 0;
}
}  // namespace

// Linear pages, with bit 0 set; 0 = none. `several`: look at everything.
struct TranslationTracker::WriteMaps {
  u64 page[2];
};
namespace {
constexpr u64 kSeveral = 2;  // no page address with bit 0 set
}

void TranslationTracker::Free::operator()(void* p) const { std::free(p); }

TranslationTracker::TranslationTracker(const PhysicalMap& memory, Ram& ram)
    : memory_(memory),
      ram_(ram),
      table_of_(static_cast<u32*>(std::calloc(ram.frames(), sizeof(u32)))),
      write_maps_(static_cast<WriteMaps*>(std::calloc(ram.frames(), sizeof(WriteMaps)))) {
  VERIFY(table_of_ && write_maps_, "no host memory for the page-table tracker");
}

TranslationTracker::~TranslationTracker() = default;

void TranslationTracker::attach(TranslationCache* cache) { caches_.push_back(cache); }
void TranslationTracker::detach(TranslationCache* cache) { std::erase(caches_, cache); }

unsigned TranslationTracker::entry_shift(unsigned level, unsigned entry_bytes) {
  return kPageShift + (level - 1) * (entry_bytes == 8 ? 9 : 10);
}

void TranslationTracker::note_entry(u32 frame, unsigned index, unsigned level, unsigned entry_bytes, u64 linear) {
  Table* table;
  if (u32 id = table_of_[frame]; id != 0) {
    table = tables_[id - 1].get();
    if (table->entry_bytes != entry_bytes) [[unlikely]] {  // used by two kinds of paging: one at a time
      release(*table);
      return note_entry(frame, index, level, entry_bytes, linear);
    }
  } else {
    if (free_.empty()) {
      tables_.push_back(std::make_unique<Table>());
      id = static_cast<u32>(tables_.size());
    } else {
      id = free_.back() + 1;
      free_.pop_back();
    }
    table_of_[frame] = id;
    table = tables_[id - 1].get();
    *table = Table{};
    table->frame = frame;
    table->entry_bytes = static_cast<u8>(entry_bytes);
    drop_write(frame);
    ram_.set_flags(frame, kFrameTable);
  }
  // A table of level 4 covers all that there is, the upper half included: its base is 0.
  const unsigned covered = entry_shift(level + 1, entry_bytes);
  const u64 role = (level == 4 ? 0 : linear & ~low_mask(covered)) | level;
  table->writes = 0;
  table->cached.set(index);
  unsigned i = 0;
  while (i < table->roles && table->role[i] != role) i++;
  if (i == table->roles && !table->everywhere) {
    if (i == kRoles) {
      table->everywhere = true;
    } else {
      table->role[table->roles++] = role;
    }
  }
}

void TranslationTracker::note_write(u32 frame, u64 linear) {
  WriteMaps& maps = write_maps_[frame];
  const u64 page = linear | 1;
  if (!(ram_.flags(frame) & kFrameWriteCached)) {
    ram_.set_flags(frame, kFrameWriteCached);
    maps = {{page, 0}};
    return;
  }
  if (maps.page[0] == page || maps.page[1] == page || maps.page[0] == kSeveral) return;
  const u8* host = ram_.frame(frame);
  for (u64& known : maps.page) {
    // A mapping that no cache has any longer (the page had another owner before) makes room.
    const bool live = known != 0 && std::any_of(caches_.begin(), caches_.end(), [&](const TranslationCache* cache) {
                        return cache->has_write(known & ~u64{1}, host);
                      });
    if (!live) {
      known = page;
      return;
    }
  }
  maps.page[0] = kSeveral;
}

void TranslationTracker::drop_write(u32 frame) {
  if (!(ram_.flags(frame) & kFrameWriteCached)) return;
  ram_.clear_flags(frame, kFrameWriteCached);
  const WriteMaps& maps = write_maps_[frame];
  if (maps.page[0] == kSeveral) {
    for (TranslationCache* cache : caches_) cache->drop_write_host(ram_.frame(frame));
    return;
  }
  for (const u64 page : maps.page) {
    if (page == 0) continue;
    for (TranslationCache* cache : caches_) cache->drop_write_page(page & ~u64{1});
  }
}

void TranslationTracker::write_table(u32 frame, u32 offset, const u8* data, u32 size) {
  u8* const page = ram_.frame(frame);
  VERIFY(table_of_[frame] != 0, "a frame flagged as a page table without a record");
  Table& table = *tables_[table_of_[frame] - 1];
  const u32 entry_bytes = table.entry_bytes;
  u32 done = 0;
  if (size > entry_bytes && !entries_in_use(frame, offset, size)) {
    std::memcpy(page + offset, data, size);
    done = size;
  }
  while (done < size) {
    const u32 at = offset + done;
    const u32 index = at / entry_bytes;
    const u32 chunk = std::min(size - done, (index + 1) * entry_bytes - at);
    if (!table.cached.test(index)) {
      std::memcpy(page + at, data + done, chunk);
    } else {
      const u8* entry = page + index * entry_bytes;
      const u64 before = entry_bytes == 8 ? load_as<u64>(entry) : load_as<u32>(entry);
      std::memcpy(page + at, data + done, chunk);
      const u64 after = entry_bytes == 8 ? load_as<u64>(entry) : load_as<u32>(entry);
      if (matters(before, after)) {
        // The entry's old value leads to the tables below it, which know what was really cached.
        drop_entry(table, index, before);
        table.cached.reset(index);
      }
    }
    done += chunk;
  }
  // By entries: a page that is written as a whole has another owner from now on.
  table.writes += (size + entry_bytes - 1) / entry_bytes;
  if (table.writes >= kWritesUntilRelease) release(table);
}

bool TranslationTracker::entries_in_use(u32 frame, u32 offset, u32 size) const {
  VERIFY(table_of_[frame] != 0, "a frame flagged as a page table without a record");
  const Table& table = *tables_[table_of_[frame] - 1];
  const u32 last = (offset + size - 1) / table.entry_bytes;
  for (u32 index = offset / table.entry_bytes; index <= last; index++)
    if (table.cached.test(index)) return true;
  return false;
}

void TranslationTracker::forget_entries(u32 frame, u32 offset, u32 size) {
  VERIFY(table_of_[frame] != 0, "a frame flagged as a page table without a record");
  Table& table = *tables_[table_of_[frame] - 1];
  const u32 entry_bytes = table.entry_bytes;
  for (u32 index = offset / entry_bytes; index <= (offset + size - 1) / entry_bytes; index++) {
    if (!table.cached.test(index)) continue;
    const u8* entry = ram_.frame(frame) + index * entry_bytes;
    const u64 before = entry_bytes == 8 ? load_as<u64>(entry) : load_as<u32>(entry);
    if (before & kPresent) drop_entry(table, index, before);
    table.cached.reset(index);
  }
  if (++table.writes >= kWritesUntilRelease) release(table);
}

void TranslationTracker::drop_entry(Table& table, unsigned index, u64 before) {
  if (table.everywhere) {
    drop_all();
    return;
  }
  for (unsigned i = 0; i < table.roles; i++) {
    const unsigned level = static_cast<unsigned>(table.role[i] & kPageMask);
    if (level == 4) {
      drop_root_entry(table, index);
      continue;
    }
    const unsigned shift = entry_shift(level, table.entry_bytes);
    const u64 linear = sign_extend((table.role[i] & ~kPageMask) + (u64{index} << shift), kLinearBits);
    if (level == 1) {
      drop_page(linear);
    } else if (level > 2 || !drop_below(linear, before, table.entry_bytes)) {
      drop_range(linear, u64{1} << shift);
    }
  }
}

void TranslationTracker::drop_root_entry(const Table& table, unsigned index) {
  const unsigned shift = entry_shift(4, table.entry_bytes);
  const u64 linear = sign_extend(u64{index} << shift, kLinearBits);
  for (TranslationCache* cache : caches_) cache->drop_range_of(table.frame, linear, u64{1} << shift);
}

bool TranslationTracker::drop_below(u64 linear, u64 entry, unsigned entry_bytes) {
  if (entry & kPageSizeBit) return false;
  const u64 address = entry & (entry_bytes == 8 ? low_mask(kPhysicalBits) : low_mask(32)) & ~kPageMask;
  const u32 frame = memory_.page(memory_.cpu_address(address)).frame;
  if (frame == kNoFrame) return false;
  // Every cached translation is on record at each table it came through, so without a record there is none.
  if (table_of_[frame] == 0) return true;
  Table& below = *tables_[table_of_[frame] - 1];
  if (below.everywhere || below.entry_bytes != entry_bytes) return false;
  const u64 role = linear | 1;
  if (std::find(below.role, below.role + below.roles, role) == below.role + below.roles) return true;
  drop_cached(below, role);
  if (below.roles == 1) below.cached.reset();  // dropped in every space, so whoever else shares the table
  return true;
}

void TranslationTracker::drop_cached(const Table& table, u64 role) {
  const unsigned level = static_cast<unsigned>(role & kPageMask);
  const u64 base = role & ~kPageMask;
  if (level == 4) {
    for (TranslationCache* cache : caches_) cache->drop_space(table.frame);
    return;
  }
  const unsigned shift = entry_shift(level, table.entry_bytes);
  if (table.cached.count() > kDropOneByOne) {
    drop_range(base, u64{1} << entry_shift(level + 1, table.entry_bytes));
    return;
  }
  for (unsigned i = 0; i < table.cached.size(); i++) {
    if (!table.cached.test(i)) continue;
    const u64 linear = base + (u64{i} << shift);
    level == 1 ? drop_page(linear) : drop_range(linear, u64{1} << shift);
  }
}

void TranslationTracker::release(Table& table) {
  if (table.cached.any()) {
    if (table.everywhere) {
      drop_all();
    } else {
      for (unsigned i = 0; i < table.roles; i++) drop_cached(table, table.role[i]);
    }
  }
  ram_.clear_flags(table.frame, kFrameTable);
  free_.push_back(table_of_[table.frame] - 1);
  table_of_[table.frame] = 0;
}

void TranslationTracker::drop_page(u64 linear) {
  for (TranslationCache* cache : caches_) cache->drop_page(linear);
}

void TranslationTracker::drop_range(u64 linear, u64 size) {
  for (TranslationCache* cache : caches_) cache->drop_range(linear, size);
}

void TranslationTracker::drop_all() {
  for (TranslationCache* cache : caches_) cache->drop_all();
}

void TranslationTracker::drop_all_writes() {
  for (TranslationCache* cache : caches_) cache->drop_all_writes();
}

}  // namespace callgate
