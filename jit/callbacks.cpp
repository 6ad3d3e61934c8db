// What emitted code calls: slow paths of memory accesses and jumps, and the handlers of instructions. All noexcept: nothing
// unwinds through emitted code.
#include "jit/translator_impl.h"

namespace callgate::jit {

u8* Translator::Impl::read(EngineSlots* slots, u64 linear, u64 site) noexcept {
  return from_slot<Impl>(slots, kTranslator)->access(*from_slot<Cpu>(slots, kCpu), linear, site, Access::Read);
}
u8* Translator::Impl::write(EngineSlots* slots, u64 linear, u64 site) noexcept {
  return from_slot<Impl>(slots, kTranslator)->access(*from_slot<Cpu>(slots, kCpu), linear, site, Access::Write);
}

// The block at `rip` as the TLB maps it now, and its code's bytes; kNoBlock when either isn't there.
u32 Translator::Impl::find_mapped(Cpu& c, u64 rip, u32 mode_key, const u8*& bytes) {
  bytes = c.tlb.find_exec(c.data_context(), code_linear(c, rip), 1);
  const u32 frame = bytes != nullptr ? memory.ram().frame_of(bytes) : kNoFrame;
  return frame != kNoFrame ? blocks.find({rip, frame, mode_key, 0, segment}) : kNoBlock;
}

// A group's bytes lie in two pages, or may not be written yet: a block in which every access probes for itself goes on.
u8* Translator::Impl::detour(Cpu& c, const Site& site) {
  auto& slot = c.engine.slot;
  const u8* p = nullptr;
  u32 number = find_mapped(c, site.rip, static_cast<u32>(slot[kModeKey]) | kModeUngrouped, p);
  // A checked block that has no variant for the bytes that are there would come back for one, and be sent here again.
  if (number != kNoBlock && blocks.block(number).checked != nullptr) number = blocks.find_variant(number, p);
  const u8* code = number != kNoBlock ? blocks.block(number).entry : nullptr;
  detour_wanted = code == nullptr;
  if (code != nullptr) {
    slot[kBudget] += site.rest;
    slot[kDetour] = to_slot(code);
  }
  return nullptr;
}

// A store in a page that has code, too: the block goes on, unless code is gone, or it is its own code.
u8* Translator::Impl::store_beside_code(Cpu& c, const Site& site, u64 linear) {
  const u8* p = c.tlb.find_read(c.data_context(), linear, site.size);
  const u32 frame = p != nullptr ? memory.ram().frame_of(p) : kNoFrame;
  if (frame == kNoFrame) return nullptr;
  const u8 flags = memory.ram().flags(frame);
  if (!(flags & kFrameCode) || (flags & kFrameTable)) return nullptr;
  const u32 offset = static_cast<u32>(linear & kPageMask);
  u8* to = memory.ram().frame(frame) + offset;
  // Whoever must know hears of a write of what is there, before anybody looks for code again.
  u8 same[256];
  std::memcpy(same, to, site.size);
  memory.write_frame(frame, offset, same, site.size);
  if (code_changed || blocks.covers(site.block, frame, offset, site.size)) return nullptr;
  checked_written = false;
  return to;
}

// The access itself is emitted code's; here the translation is found. What is no plain access to one page of RAM, and
// every fault, is the interpreter's: it executes the instruction from its start.
u8* Translator::Impl::access(Cpu& c, u64 linear, u64 number, AccessKind kind) {
  const Site& site = sites[number];
  stats.slow_accesses++;
  if (c.access_context() == AccessContext::Watched) return nullptr;
  const bool crosses = (linear & kPageMask) + site.size > kPageSize;
  if (site.grouped && (site.promoted || crosses)) return detour(c, site);
  if (crosses || (c.bits64() && !is_canonical(linear))) return leave_to_step(c);
  const u64 epoch = c.tlb.epoch(), write_epoch = c.tlb.write_epoch();
  const Translation t = c.tlb.fill(c.data_context(), linear, kind);
  fault_found = t.fault && !site.shifted;
  // Whatever kind of access it is: a group has several.
  if (c.tlb.watched(linear, t.physical, kind) && (!touches_watched || touches_watched(linear, t.physical, site.size))) return nullptr;
  // Accessed and dirty bits that the walk set, or the store itself, may change code, and other translations.
  const auto plain = [&] {
    if (t.fault || code_changed || checked_written) return false;
    if (c.tlb.epoch() == epoch && c.tlb.write_epoch() == write_epoch) return true;
    // The rest of the block is fetched from where it was, too.
    return site.single && !site.beside_groups && c.tlb.find_exec(c.data_context(), code_linear(c, site.rip), 1) != nullptr;
  };
  u8* to = plain() ? t.host : nullptr;
  if (plain() && to == nullptr && kind == Access::Write) {
    const u32 frame = memory.page(t.physical).frame;
    // The others of a group would be written without anybody hearing of it: each for itself, then.
    if (frame != kNoFrame && site.grouped && (memory.ram().flags(frame) & kFrameTable)) return detour(c, site);
    if (frame != kNoFrame && site.single)
      to = memory.table_for_writing(frame, static_cast<u32>(t.physical & kPageMask), site.size);
    if (to == nullptr) to = store_beside_code(c, site, linear);
  }
  return to != nullptr && plain() ? to : leave_to_step(c);
}

// The code of the block at `rip` in the current mode and view; only what is there: translating could empty the arena under
// the block that asks.
const void* Translator::Impl::code_at(Cpu& c, u64 rip) {
  JumpCache& cache = *from_slot<JumpCache>(&c.engine, kJumpCache);
  const JumpCache::Entry& entry = cache.entry[JumpCache::index_of(rip)];
  if (entry.rip == rip) return entry.code;
  const u8* bytes = nullptr;
  const u32 number = find_mapped(c, rip, static_cast<u32>(c.engine.slot[kModeKey]), bytes);
  if (number == kNoBlock) return nullptr;
  const u8* code = blocks.block(number).entry;
  if (code != nullptr) JumpCaches::set(cache, rip, code);
  return code;
}

u8* Translator::Impl::resolve(EngineSlots* slots, u64 target, u64) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  self.stats.slow_resolves++;
  return static_cast<u8*>(const_cast<void*>(self.code_at(*from_slot<Cpu>(slots, kCpu), target)));
}

// The state is that behind the block, but for what Exit::Done leaves to enter().
u8* Translator::Impl::transfer(EngineSlots* slots, u64 target) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  Cpu& c = *from_slot<Cpu>(slots, kCpu);
  self.stats.slow_resolves++;
  c.s.rip = c.next_rip() = target;
  c.s.retired = slots->slot[kEnd] - slots->slot[kBudget];
  return self.code_after(c);
}

// Between two instructions, when nothing that was emitted is returned to: the code at RIP, translated if need be. nullptr when
// there is none, or when the run() that is on ends before it or in its first block.
u8* Translator::Impl::code_after(Cpu& c) {
  const auto& slot = c.engine.slot;
  if (flush_pending || c.s.retired >= slot[kEnd]) return nullptr;
  const u32 mode_key = static_cast<u32>(slot[kModeKey]);
  const void* code = code_at(c, c.s.rip);
  if (code == nullptr) {
    set_from_image(c.s.flags, slot[kFlagsImage]);
    const u32 number = lookup(c, mode_key, mode_of(c));
    if (number == kNoBlock) return nullptr;
    const TranslatedBlock& b = blocks.block(number);
    if (b.entry == nullptr || slot[kEnd] - c.s.retired < b.insns) return nullptr;
    code = blocks.entry_of(number).entry;
    JumpCaches::set(*from_slot<JumpCache>(&c.engine, kJumpCache), c.s.rip, code);
  }
  code_changed = checked_written = false;
  return static_cast<u8*>(const_cast<void*>(code));
}

// The instruction goes to the interpreter, and emitted code goes on behind it.
u8* Translator::Impl::leave_to_step(Cpu& c) {
  c.engine.slot[kDetour] = to_slot(thunks.step);
  return nullptr;
}

// Makes a link whose target is translated already. What needs translating (and may empty the arena) is done outside.
u8* Translator::Impl::follow(EngineSlots* slots, u64 link) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  Cpu& c = *from_slot<Cpu>(slots, kCpu);
  const Link& l = self.blocks.link(static_cast<u32>(link));
  if (l.mismatch || (l.counter != nullptr && *l.counter == 0)) return nullptr;
  // A run that ends here fetches nothing: the target's page is not accessed yet.
  if (slots->slot[kBudget] == 0) return nullptr;
  const u64 linear = code_linear(c, l.target);
  if (c.bits64() && !is_canonical(linear)) return nullptr;
  if (c.tlb.find_exec(c.data_context(), linear, 1) == nullptr) c.tlb.fill(c.data_context(), linear, Access::Execute);
  if (self.flush_pending) return nullptr;
  const u8* bytes = nullptr;
  const u32 number = self.find_mapped(c, l.target, static_cast<u32>(slots->slot[kModeKey]), bytes);
  if (number == kNoBlock || self.blocks.block(number).entry == nullptr) return nullptr;
  JumpCaches::set(*from_slot<JumpCache>(slots, kJumpCache), l.target, self.blocks.block(number).entry);
  if (self.options.chaining) self.blocks.connect(static_cast<u32>(link), number);
  return const_cast<u8*>(self.blocks.block(number).entry);
}

u8* Translator::Impl::step(EngineSlots* slots, u64 number) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  return self.step(*from_slot<Cpu>(slots, kCpu), self.sites[number]);
}

u8* Translator::Impl::step(Cpu& c, const Site& site) {
  auto& slot = c.engine.slot;
  stats.interpreted++;
  site.counts->bails++;
  slot[kBudget] += site.rest;
  c.s.rip = c.next_rip() = site.rip;
  c.s.retired = slot[kEnd] - slot[kBudget];
  set_from_image(c.s.flags, slot[kFlagsImage]);
  const unsigned units = unit_modes(c.s);
  c.set_limit(1);
  if (fault_found) {
    fault_found = false;
    c.note_on_trail(c.s.rip);
    c.deliver_fault(Cpu::page_fault(c.tlb.fault()));
  } else {
    interpreter.advance(c, c.s.retired + 1);
  }
  slot[kFlagsImage] = flags_image(c.s.flags);
  if (c.limit() == 0 ? !can_go_on(c) : unit_modes(c.s) != units) return nullptr;
  c.set_limit(1);
  slot[kBudget] = slot[kEnd] - c.s.retired;
  return code_after(c);
}

u64 Translator::Impl::execute(EngineSlots* slots, u64 number) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  return self.execute(*from_slot<Cpu>(slots, kCpu), self.sites[number]);
}

// An instruction asked for attention. True when there is nothing to attend to: no event, the same mode. The view of memory
// may be another one from now on.
bool Translator::Impl::can_go_on(Cpu& c) {
  if (*running_until != c.engine.slot[kEnd] || *running_stop) return false;
  // The shadow of an STI is over after the next instruction, whose code is here and which this run still retires. No event
  // waits, so nobody sees that it ends one instruction early.
  if (c.s.sti_shadow && !c.s.mov_ss_shadow && c.s.retired < c.engine.slot[kEnd] && code_at(c, c.s.rip) != nullptr) {
    c.s.sti_shadow = false;
    if (c.event_ready()) {
      c.s.sti_shadow = true;
      return false;
    }
  }
  if (c.s.activity != Activity::Running || c.careful()) return false;
  if (mode_key(c) != c.engine.slot[kModeKey] || c.event_ready()) return false;
  enter_view(c);
  return true;
}

u64 Translator::Impl::execute(Cpu& c, const Site& site) {
  auto& slot = c.engine.slot;
  stats.handler_calls++;
  site.counts->handler_calls++;
  const Insn& insn = *site.insn;
  c.s.rip = site.rip;
  c.next_rip() = site.next_rip;
  c.s.retired = slot[kEnd] - slot[kBudget] - site.rest;
  c.note_on_trail(site.rip);
  const Before before{c.tlb.epoch(), unit_modes(c.s), segment};
  c.set_limit(1);
  return perform(c, site, insn, before);
}

u64 Translator::Impl::perform(Cpu& c, const Site& site, const Insn& insn, const Before& before) {
  auto& slot = c.engine.slot;
  if (site.flags_in) set_from_image(c.s.flags, slot[kFlagsImage]);
  bool faulted = false;
  try {
    insn.exec(c, insn);
    if (site.flags_out) slot[kFlagsImage] = flags_image(c.s.flags);
    c.s.rip = c.next_rip();
    c.s.retired++;
  } catch (const Fault& fault) {
    faulted = true;
    if (!site.flags_in) set_from_image(c.s.flags, slot[kFlagsImage]);
    c.deliver_fault(fault);
    slot[kFlagsImage] = flags_image(c.s.flags);
  }
  return go_on_behind(c, site, before, faulted);
}

// An instruction was executed for emitted code, or delivered a fault: what comes next.
u64 Translator::Impl::go_on_behind(Cpu& c, const Site& site, const Before& before, bool faulted) {
  auto& slot = c.engine.slot;
  if (flush_pending) return x64::kLeave;
  if (c.limit() == 0 ? !can_go_on(c) : unit_modes(c.s) != before.units) return x64::kLeave;
  if (!faulted && c.s.rip == site.next_rip && segment == before.segment && !code_changed && !checked_written &&
      c.tlb.epoch() == before.epoch)
    return x64::kGoOn;
  // Somewhere else, or here but looked up anew. The rest of the block doesn't happen.
  slot[kBudget] = slot[kEnd] - c.s.retired;
  const u8* code = code_after(c);
  return code != nullptr ? to_slot(code) : x64::kLeave;
}

u64 Translator::Impl::port_call(EngineSlots* slots, u64 number) noexcept {
  Impl& self = *from_slot<Impl>(slots, kTranslator);
  return self.port_call(*from_slot<Cpu>(slots, kCpu), self.sites[number]);
}

// No debug register is on while emitted code runs, ring 0 may use every port, and a call neither faults nor knows the arithmetic
// flags: nothing of what IN looks at is left.
u64 Translator::Impl::port_call(Cpu& c, const Site& site) {
  auto& slot = c.engine.slot;
  if (c.hypervisor == nullptr) return execute(c, site);
  c.s.rip = site.rip;
  c.next_rip() = site.next_rip;
  c.s.retired = slot[kEnd] - slot[kBudget] - site.rest;
  const Before before{c.tlb.epoch(), unit_modes(c.s), segment};
  c.set_limit(1);
  if (!c.hypervisor->port_call(c, static_cast<u8>(site.insn->imm), 4)) return execute(c, site);
  stats.handler_calls++;
  site.counts->handler_calls++;
  c.note_on_trail(site.rip);
  c.s.rip = site.next_rip;
  c.s.retired++;
  return go_on_behind(c, site, before, false);
}

}  // namespace callgate::jit
