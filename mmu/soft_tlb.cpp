#include "mmu/soft_tlb.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/verify.h"

namespace callgate {

void SoftTlb::Free::operator()(void* p) const { std::free(p); }

SoftTlb::SoftTlb(PhysicalMap& memory, TlbCaching caching) : memory_(memory), caching_(caching) {
  memory_.tracker().attach(this);
  spaces_.push_back(std::make_unique<Space>());
  make_tables(*spaces_.back());
  watched_.reset(static_cast<TlbTable*>(std::calloc(1, sizeof(TlbTable))));
  VERIFY(watched_ != nullptr, "no host memory for a soft TLB");
  empty_slot(*watched_, 0);
  view_[static_cast<unsigned>(AccessContext::Watched)] = watched_.get();
  select(*spaces_.back());
}

SoftTlb::~SoftTlb() { memory_.tracker().detach(this); }

// ---- address spaces ----

void SoftTlb::make_tables(Space& space) {
  for (auto& table : space.table) {
    // Zeros are empty tags everywhere but in slot 0, so that pages of the table that are never used cost nothing.
    table.reset(static_cast<TlbTable*>(std::calloc(1, sizeof(TlbTable))));
    VERIFY(table != nullptr, "no host memory for a soft TLB");
    empty_slot(*table, 0);
    table->root = kNoFrame;
  }
}

void SoftTlb::select(Space& space) {
  space.last_used = ++uses_;
  for (unsigned i = 0; i < kAccessContexts; i++) view_[i] = space.table[i].get();
  // Without SMAP, AC makes no difference.
  constexpr unsigned kPlain = static_cast<unsigned>(AccessContext::Supervisor);
  if (!space.mode.smap) view_[static_cast<unsigned>(AccessContext::SupervisorAc)] = view_[kPlain];
  mode_ = space.mode;
  if (current_ != nullptr && space.table[kPlain]->count == 0) inherit(space, *current_);
  current_ = &space;
  epoch_++;
}

// A new process shares the kernel's half with all others: its root holds the same entries, and so everything behind them is
// the same, down to the accessed bits that a walk would set. Only the root's own accessed bit is another one: where it isn't
// set yet, a walk must come first.
void SoftTlb::inherit(Space& space, const Space& from) {
  constexpr u64 kPresentAndAccessed = 0x21;
  if (caching_ != TlbCaching::Full || !space.mode.long_mode) return;
  PagingMode like = from.mode;
  like.root = space.mode.root;
  if (!(like == space.mode)) return;
  const PhysicalPage root = memory_.page(memory_.cpu_address(space.mode.root)),
                     from_root = memory_.page(memory_.cpu_address(from.mode.root));
  if (root.frame == kNoFrame || from_root.frame == kNoFrame) return;
  bool shared[512] = {};
  for (unsigned i = 256; i < 512; i++) {
    const u64 entry = load_as<u64>(root.host + 8 * i);
    shared[i] = (entry & kPresentAndAccessed) == kPresentAndAccessed && entry == load_as<u64>(from_root.host + 8 * i);
  }
  for (const AccessContext context : {AccessContext::Supervisor, AccessContext::SupervisorAc}) {
    const TlbTable& source = *from.table[static_cast<unsigned>(context)];
    TlbTable& t = *space.table[static_cast<unsigned>(context)];
    for (u32 i = 0; i < source.count; i++) {
      const u64 slot = source.list[i], empty = TlbTable::empty_tag(slot);
      const u64 tags[] = {source.read_tag[slot], source.exec_tag[slot], source.write_tag[slot]};
      const u64* known = std::find_if(std::begin(tags), std::end(tags), [&](u64 tag) { return tag != empty; });
      if (known == std::end(tags) || *known >> 63 == 0) continue;
      const unsigned index = *known >> 39 & 511;
      if (!shared[index]) continue;
      memory_.tracker().note_entry(root.frame, index, 4, 8, *known);
      t.root = root.frame;
      t.listed[slot / 64] |= u64{1} << (slot % 64);
      t.list[t.count++] = static_cast<u16>(slot);
      t.read_tag[slot] = tags[0];
      t.exec_tag[slot] = tags[1];
      t.write_tag[slot] = tags[2];
      t.addend[slot] = source.addend[slot];
      stats_.inherited++;
    }
  }
}

void SoftTlb::set_mode(const PagingMode& mode) {
  const PagingMode wanted = normalized(mode);
  if (wanted == mode_) return;
  Space* oldest = nullptr;
  for (auto& space : spaces_) {
    if (space->mode == wanted) return select(*space);
    if (oldest == nullptr || space->last_used < oldest->last_used) oldest = space.get();
  }
  if (spaces_.size() < kSpaces) {
    spaces_.push_back(std::make_unique<Space>());
    oldest = spaces_.back().get();
    make_tables(*oldest);
  } else {
    for (auto& table : oldest->table) {
      clear(*table);
      table->root = kNoFrame;
    }
    stats_.spaces_recycled++;
  }
  oldest->mode = wanted;
  select(*oldest);
}

// ---- filling ----

Translation SoftTlb::fill(AccessContext context, u64 linear, AccessKind kind) {
  VERIFY(context != AccessContext::Watched, "nothing may be cached for watched accesses");
  // While no translation was dropped, a second walk would find, and set, the same. (What isn't written slowly any more goes
  // the usual way, to be written directly.)
  SlowWrite& slow = slow_writes_[(linear >> kPageShift) % kSlowWrites];
  if (kind == AccessKind::Write && slow.page == (linear & ~kPageMask) && slow.epoch == epoch_ && slow.context == context &&
      (memory_.ram().flags(memory_.page(slow.physical).frame) & kFrameSlowWrite))
    return {nullptr, slow.physical + (linear & kPageMask), false};
  stats_.fills++;
  const Walk w = walk(memory_, mode_, linear, context, kind);
  if (!w.ok) {
    fault_ = w.fault;
    return {nullptr, 0, true};
  }
  Translation t{nullptr, w.physical, false};
  if (local_ != nullptr && (w.physical & ~kPageMask) == local_page_) return t;
  const PhysicalPage page = memory_.page(w.physical);
  if (page.host == nullptr) return t;
  if (kind == AccessKind::Write) {
    if (page.frame == kNoFrame) return t;
    memory_.ram().mark_dirty(page.frame);
  }
  if (caching_ != TlbCaching::None) insert(context, linear, w, page);
  if (kind != AccessKind::Write || !(memory_.ram().flags(page.frame) & kFrameSlowWrite)) {
    t.host = page.host + (w.physical & kPageMask);
  } else if (caching_ == TlbCaching::Full && w.dirty) {
    slow = {linear & ~kPageMask, w.physical & ~kPageMask, epoch_, context};
  }
  return t;
}

void SoftTlb::insert(AccessContext context, u64 linear, const Walk& w, const PhysicalPage& page) {
  // An entry of a table that is no RAM never changes (or reads as ones, and then there is no translation).
  for (unsigned i = 0; i < w.count; i++) {
    const WalkStep& step = w.step[i];
    if (step.frame == kNoFrame) continue;
    const u64 index = (step.address & kPageMask) / w.entry_bytes;
    memory_.tracker().note_entry(step.frame, static_cast<unsigned>(index), step.level, w.entry_bytes, linear);
  }
  if (caching_ == TlbCaching::OnePage) drop_all();

  TlbTable& t = *view_[static_cast<unsigned>(context)];
  // Jumps of both supervisor contexts are kept under one of the two tables (jit/jump_caches.h).
  if (w.count != 0 && w.step[0].level == 4)
    t.root = view_[static_cast<unsigned>(AccessContext::Supervisor)]->root = w.step[0].frame;
  const u64 tag = linear & ~kPageMask;
  const u64 slot = TlbTable::slot_of(linear);
  if (!bit(t.listed[slot / 64], slot % 64)) {
    t.listed[slot / 64] |= u64{1} << (slot % 64);
    t.list[t.count++] = static_cast<u16>(slot);
  }
  const u64 empty = TlbTable::empty_tag(slot);
  t.read_tag[slot] =
      access_allowed(mode_, w, context, AccessKind::Read) && !watched(linear, w.physical, AccessKind::Read) ? tag : empty;
  t.exec_tag[slot] = access_allowed(mode_, w, context, AccessKind::Execute) ? tag : empty;
  t.write_tag[slot] = empty;
  t.addend[slot] = static_cast<u64>(reinterpret_cast<std::uintptr_t>(page.host)) - tag;
  // The tables were flagged above: the page may be one of them.
  if (w.dirty && page.frame != kNoFrame && !(memory_.ram().flags(page.frame) & kFrameSlowWrite) &&
      access_allowed(mode_, w, context, AccessKind::Write) && !watched(linear, w.physical, AccessKind::Write)) {
    t.write_tag[slot] = tag;
    memory_.tracker().note_write(page.frame, tag);
  }
}

void SoftTlb::set_local_page(u64 physical, BusTarget* target) {
  local_page_ = physical & ~kPageMask;
  local_ = target;
  drop_all();
}

void SoftTlb::set_watch(const PageWatch* watch) {
  watch_ = watch;
  drop_all();
}

// ---- dropping ----

void SoftTlb::empty_slot(TlbTable& t, u64 slot) {
  t.read_tag[slot] = t.write_tag[slot] = t.exec_tag[slot] = TlbTable::empty_tag(slot);
}

void SoftTlb::clear(TlbTable& t) {
  for (u32 i = 0; i < t.count; i++) {
    empty_slot(t, t.list[i]);
    t.listed[t.list[i] / 64] = 0;
  }
  t.count = 0;
  t.generation++;
}

template <class F>
void SoftTlb::each_table(F&& f) const {
  for (const auto& space : spaces_) {
    for (const auto& table : space->table) {
      if (table->count != 0) f(*table);
    }
  }
}

void SoftTlb::drop_page(u64 linear) {
  stats_.page_drops++;
  epoch_++;
  const u64 slot = TlbTable::slot_of(linear);
  each_table([&](TlbTable& t) {
    if (t.read_tag[slot] == linear || t.exec_tag[slot] == linear || t.write_tag[slot] == linear) empty_slot(t, slot);
  });
}

void SoftTlb::drop_range(TlbTable& t, u64 linear, u64 size) {
  const u64 pages = size >> kPageShift;
  const auto drop = [&](u64 slot) {
    // Emptying a slot that is empty already does no harm.
    if (t.read_tag[slot] - linear < size || t.exec_tag[slot] - linear < size || t.write_tag[slot] - linear < size)
      empty_slot(t, slot);
  };
  if (pages < t.count) {
    for (u64 page = 0; page < pages; page++) drop(TlbTable::slot_of(linear + (page << kPageShift)));
  } else {
    for (u32 i = 0; i < t.count; i++) drop(t.list[i]);
  }
}

void SoftTlb::drop_range(u64 linear, u64 size) {
  stats_.range_drops++;
  epoch_++;
  each_table([&](TlbTable& t) { drop_range(t, linear, size); });
}

void SoftTlb::drop_range_of(u32 root, u64 linear, u64 size) {
  stats_.range_drops++;
  epoch_++;
  each_table([&](TlbTable& t) {
    if (t.root == root) drop_range(t, linear, size);
  });
}

void SoftTlb::drop_space(u32 root) {
  stats_.space_drops++;
  epoch_++;
  each_table([&](TlbTable& t) {
    if (t.root == root) clear(t);
  });
}

void SoftTlb::drop_all() {
  stats_.flushes++;
  epoch_++;
  each_table([](TlbTable& t) { clear(t); });
}

void SoftTlb::drop_write_page(u64 linear) {
  write_epoch_++;
  const u64 slot = TlbTable::slot_of(linear);
  each_table([&](TlbTable& t) {
    if (t.write_tag[slot] == linear) t.write_tag[slot] = TlbTable::empty_tag(slot);
  });
}

void SoftTlb::drop_write_host(const u8* host) {
  write_epoch_++;
  const u64 at = static_cast<u64>(reinterpret_cast<std::uintptr_t>(host));
  each_table([&](TlbTable& t) {
    for (u32 i = 0; i < t.count; i++) {
      const u64 slot = t.list[i];
      if (t.write_tag[slot] + t.addend[slot] == at) t.write_tag[slot] = TlbTable::empty_tag(slot);
    }
  });
}

void SoftTlb::drop_all_writes() {
  write_epoch_++;
  each_table([](TlbTable& t) {
    for (u32 i = 0; i < t.count; i++) t.write_tag[t.list[i]] = TlbTable::empty_tag(t.list[i]);
  });
}

bool SoftTlb::has_write(u64 linear, const u8* host) const {
  const u64 slot = TlbTable::slot_of(linear);
  const u64 addend = static_cast<u64>(reinterpret_cast<std::uintptr_t>(host)) - linear;
  bool found = false;
  each_table([&](const TlbTable& t) { found = found || (t.write_tag[slot] == linear && t.addend[slot] == addend); });
  return found;
}

}  // namespace callgate
