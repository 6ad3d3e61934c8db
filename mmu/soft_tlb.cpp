#include "mmu/soft_tlb.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/verify.h"

namespace callgate {

void SoftTlb::Free::operator()(void* p) const { std::free(p); }

SoftTlb::SoftTlb(PhysicalMap& memory, TlbCaching caching) : memory_(memory), caching_(caching) {
  memory_.tracker().attach(this);
  spaces_.push_back(make_space());
  watched_ = make_table();
  view_[static_cast<unsigned>(AccessContext::Watched)] = watched_.get();
  select(*spaces_.back());
}

SoftTlb::~SoftTlb() { memory_.tracker().detach(this); }

// ---- address spaces ----

SoftTlb::Table SoftTlb::make_table() {
  // Zeros are empty tags everywhere but in slot 0, so that pages of the table that are never used cost nothing.
  Table table(static_cast<TlbTable*>(std::calloc(1, sizeof(TlbTable))));
  VERIFY(table != nullptr, "no host memory for a soft TLB");
  empty_slot(*table, 0);
  table->root = kNoFrame;
  return table;
}

std::unique_ptr<SoftTlb::Space> SoftTlb::make_space() {
  auto space = std::make_unique<Space>();
  space->user = make_table();
  space->supervisor_ac = make_table();
  return space;
}

void SoftTlb::select(Space& space) {
  space.last_used = ++uses_;
  mode_ = space.mode;
  kernel_ = &kernel_for(mode_);
  const auto view = [this](AccessContext context) -> TlbTable*& { return view_[static_cast<unsigned>(context)]; };
  view(AccessContext::User) = space.user.get();
  view(AccessContext::Supervisor) = kernel_->table.get();
  // Without SMAP, AC makes no difference.
  view(AccessContext::SupervisorAc) = space.mode.smap ? space.supervisor_ac.get() : kernel_->table.get();
  epoch_++;
}

// A new process's root holds the same entries of the upper half as all others, and so everything behind them is the same,
// down to the accessed bits that a walk would set. Only the root's own accessed bit is another one: where it isn't set yet, a
// walk must come first.
bool SoftTlb::may_share(const Kernel& kernel, const PagingMode& mode, const PhysicalPage& root) {
  constexpr u64 kPresentAndAccessed = 0x21;
  PagingMode like = kernel.mode;
  like.root = mode.root;
  if (kernel.has_lower || root.frame == kNoFrame || !mode.long_mode || !(like == mode)) return false;
  return std::all_of(kernel.upper.begin(), kernel.upper.end(), [&](const Kernel::RootEntry& e) {
    return (e.entry & kPresentAndAccessed) == kPresentAndAccessed && load_as<u64>(root.host + 8 * e.index) == e.entry;
  });
}

SoftTlb::Kernel& SoftTlb::kernel_for(const PagingMode& mode) {
  const PhysicalPage root = mode.long_mode ? memory_.page(memory_.cpu_address(mode.root)) : PhysicalPage{};
  Kernel *shared = nullptr, *oldest = nullptr;
  for (auto& kernel : kernels_) {
    if (kernel->mode == mode) {
      kernel->last_used = uses_;
      return *kernel;
    }
    if (caching_ == TlbCaching::Full && may_share(*kernel, mode, root) &&
        (shared == nullptr || kernel->last_used > shared->last_used))
      shared = kernel.get();
    if (oldest == nullptr || kernel->last_used < oldest->last_used) oldest = kernel.get();
  }
  Kernel* kernel = shared;
  if (shared != nullptr) {
    // From now on it depends on this root's entries.
    for (const Kernel::RootEntry& e : shared->upper)
      memory_.tracker().note_entry(root.frame, e.index, 4, 8, sign_extend(u64{e.index} << 39, kLinearBits));
  } else if (kernels_.size() < kKernels) {
    kernels_.push_back(std::make_unique<Kernel>());
    kernel = kernels_.back().get();
    kernel->table = make_table();
  } else {
    kernel = oldest;
    clear(*kernel);
    stats_.kernels_recycled++;
  }
  kernel->mode = mode;
  kernel->last_used = uses_;
  kernel->table->root = root.frame;
  return *kernel;
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
    spaces_.push_back(make_space());
    oldest = spaces_.back().get();
  } else {
    for (TlbTable* table : {oldest->user.get(), oldest->supervisor_ac.get()}) {
      clear(*table);
      table->root = kNoFrame;
    }
    stats_.spaces_recycled++;
  }
  oldest->mode = wanted;
  select(*oldest);
}

// ---- filling ----

// While no translation was dropped, a second walk would find, and set, the same. (What isn't written slowly any more goes the
// usual way, to be written directly.)
bool SoftTlb::still_holds(const Walked& walked, AccessContext context, u64 linear) const {
  return walked.page == (linear & ~kPageMask) && walked.epoch == epoch_ && walked.context == context &&
         (walked.registers || (memory_.ram().flags(memory_.page(walked.physical).frame) & kFrameSlowWrite));
}

Translation SoftTlb::fill(AccessContext context, u64 linear, AccessKind kind) {
  VERIFY(context != AccessContext::Watched, "nothing may be cached for watched accesses");
  Walked& known = walked(linear, kind);
  if (kind != AccessKind::Execute && still_holds(known, context, linear)) return {nullptr, known.physical + (linear & kPageMask), false};
  stats_.fills++;
  const Walk w = walk(memory_, mode_, linear, context, kind);
  if (!w.ok) {
    fault_ = w.fault;
    return {nullptr, 0, true};
  }
  Translation t{nullptr, w.physical, false};
  const bool remembers = caching_ == TlbCaching::Full && kind != AccessKind::Execute;
  const auto remember = [&](bool registers) { known = {linear & ~kPageMask, w.physical & ~kPageMask, epoch_, context, registers}; };
  const PhysicalPage page = memory_.page(w.physical);
  if (page.host == nullptr || (local_ != nullptr && (w.physical & ~kPageMask) == local_page_)) {
    if (remembers) {
      note_entries(linear, w);
      remember(true);
    }
    return t;
  }
  if (kind == AccessKind::Write) {
    if (page.frame == kNoFrame) return t;
    memory_.ram().mark_dirty(page.frame);
  }
  if (caching_ != TlbCaching::None) insert(context, linear, w, page);
  if (kind != AccessKind::Write || !(memory_.ram().flags(page.frame) & kFrameSlowWrite))
    t.host = page.host + (w.physical & kPageMask);
  else if (remembers && w.dirty)
    remember(false);
  return t;
}

// Whoever changes one of the entries on the way drops what came of them.
void SoftTlb::note_entries(u64 linear, const Walk& w) {
  // An entry of a table that is no RAM never changes (or reads as ones, and then there is no translation).
  for (unsigned i = 0; i < w.count; i++) {
    const WalkStep& step = w.step[i];
    if (step.frame == kNoFrame) continue;
    const u64 index = (step.address & kPageMask) / w.entry_bytes;
    memory_.tracker().note_entry(step.frame, static_cast<unsigned>(index), step.level, w.entry_bytes, linear);
  }
}

void SoftTlb::insert(AccessContext context, u64 linear, const Walk& w, const PhysicalPage& page) {
  note_entries(linear, w);
  if (caching_ == TlbCaching::OnePage) drop_all();

  TlbTable& t = *view_[static_cast<unsigned>(context)];
  if (w.count != 0 && w.step[0].level == 4) {
    t.root = w.step[0].frame;
    if (context != AccessContext::User) note_kernel(context, linear, w);
  }
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

// Jumps of both supervisor contexts are kept with the kernel's table (jit/jump_caches.h).
void SoftTlb::note_kernel(AccessContext context, u64 linear, const Walk& w) {
  constexpr u64 kAccessed = 0x20;
  if (linear >> 63 == 0) {
    kernel_->has_lower |= view_[static_cast<unsigned>(context)] == kernel_->table.get() ||
                          access_allowed(mode_, w, context, AccessKind::Execute);
    return;
  }
  const unsigned index = linear >> 39 & 511;
  const u64 entry = w.step[0].entry | kAccessed;
  for (Kernel::RootEntry& known : kernel_->upper) {
    if (known.index != index) continue;
    known.entry = entry;
    return;
  }
  kernel_->upper.push_back({index, entry});
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

void SoftTlb::clear(Kernel& kernel) {
  clear(*kernel.table);
  kernel.upper.clear();
  kernel.has_lower = false;
}

template <class F>
void SoftTlb::each_table(u64 linear, F&& f) const {
  const auto visit = [&f](TlbTable& table) {
    if (table.count != 0) f(table);
  };
  const bool lower = linear >> 63 == 0;
  for (const auto& space : spaces_) {
    visit(*space->user);
    visit(*space->supervisor_ac);
  }
  for (const auto& kernel : kernels_)
    if (!lower || kernel->has_lower || !kernel->mode.long_mode) visit(*kernel->table);
}
template <class F>
void SoftTlb::each_table(F&& f) const {
  each_table(~u64{0}, f);
}

// True when the slot was filled since the table was cleared: one cache line to look at where the tags are three.
static bool was_filled(const TlbTable& t, u64 slot) { return bit(t.listed[slot / 64], slot % 64); }

void SoftTlb::drop_page(u64 linear) {
  stats_.page_drops++;
  epoch_++;
  const u64 slot = TlbTable::slot_of(linear);
  each_table(linear, [&](TlbTable& t) {
    if (!was_filled(t, slot)) return;
    if (t.read_tag[slot] == linear || t.exec_tag[slot] == linear || t.write_tag[slot] == linear) empty_slot(t, slot);
  });
}

void SoftTlb::drop_range(TlbTable& t, u64 linear, u64 size) {
  const u64 pages = size >> kPageShift;
  const auto drop = [&](u64 slot) {
    // What may not be executed, say, has an empty tag for that, which is an address, too.
    const auto in_range = [&, empty = TlbTable::empty_tag(slot)](u64 tag) { return tag - linear < size && tag != empty; };
    if (in_range(t.read_tag[slot]) || in_range(t.exec_tag[slot]) || in_range(t.write_tag[slot])) empty_slot(t, slot);
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
  each_table(linear, [&](TlbTable& t) { drop_range(t, linear, size); });
}

void SoftTlb::drop_range_of(u32 root, u64 linear, u64 size) {
  stats_.range_drops++;
  epoch_++;
  each_table(linear, [&](TlbTable& t) {
    if (t.root == root) drop_range(t, linear, size);
  });
}

void SoftTlb::drop_space(u32 root) {
  stats_.space_drops++;
  epoch_++;
  for (auto& kernel : kernels_)
    if (kernel->table->root == root) clear(*kernel);
  each_table([&](TlbTable& t) {
    if (t.root == root) clear(t);
  });
}

void SoftTlb::drop_all() {
  stats_.flushes++;
  epoch_++;
  for (auto& kernel : kernels_) clear(*kernel);
  each_table([](TlbTable& t) { clear(t); });
}

void SoftTlb::drop_write_page(u64 linear) {
  write_epoch_++;
  const u64 slot = TlbTable::slot_of(linear);
  each_table(linear, [&](TlbTable& t) {
    if (was_filled(t, slot) && t.write_tag[slot] == linear) t.write_tag[slot] = TlbTable::empty_tag(slot);
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
  const auto has = [&](const Table& t) { return t->write_tag[slot] == linear && t->addend[slot] == addend && was_filled(*t, slot); };
  const bool lower = linear >> 63 == 0;
  // Most often it is the kernel's view of all memory that has it.
  for (const auto& kernel : kernels_)
    if ((!lower || kernel->has_lower || !kernel->mode.long_mode) && has(kernel->table)) return true;
  return std::any_of(spaces_.begin(), spaces_.end(), [&](const auto& space) { return has(space->user) || has(space->supervisor_ac); });
}

}  // namespace callgate
