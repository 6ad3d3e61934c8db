// What the string instructions share: their registers by address size and direction, and the steps of a REP.
//
// The REP rule. A REP instruction retires in steps; a step counts as one retired instruction and is a function of the guest's
// state alone, so that every engine counts alike. A step processes as many iterations as fit before the next page boundary
// (or wrap of the address size, or segment limit) of its source and its destination, at least one, and CMPS and SCAS end it
// when they are done. It is one iteration while TF is set or data breakpoints or alignment checks watch memory, when an element
// crosses a page, when the page is not RAM (for reading: RAM or ROM), and for INS and OUTS. After an unfinished step the next
// RIP is the instruction itself: interrupts are taken between steps. A fault in a step leaves the iterations before it done.
// rCX = 0 retires one instruction.
//
// Between the steps RF is set: an event there pushes it (SDM 3B 17.3.1.1), so that a code breakpoint on the instruction does
// not hit once more when the rest of it is done.
#pragma once

#include <algorithm>

#include "cpu/cpu.h"

namespace callgate::helpers {

/// One string instruction at work. Copies what it needs of the Insn: a store may drop the decoded page it lives in.
class StringWork {
 public:
  StringWork(Cpu& cpu, const Insn& i, unsigned element_size)
      : c(cpu),
        source_segment(static_cast<SegReg>(i.seg)),
        rep(i.rep),
        down(cpu.s.flags.test(kDF)),
        size_(element_size),
        address_size_(i.asize),
        address_mask_(low_mask(8u * i.asize)) {}

  Cpu& c;
  const SegReg source_segment;
  const Rep rep;
  const bool down;  ///< DF

  u64 si() const { return c.s.gpr[RSI] & address_mask_; }
  u64 di() const { return c.s.gpr[RDI] & address_mask_; }
  /// Iterations left: 1 without REP.
  u64 left() const { return rep == Rep::None ? 1 : c.s.gpr[RCX] & address_mask_; }

  /// A window into memory for the iterations of one step.
  struct Window {
    u8* host = nullptr;        ///< the first element; nullptr: go by load and store
    const u8* slow = nullptr;  ///< else the first element in RAM that may be written, but not directly
    u64 iterations = 1;
  };
  /// True when a step may have more than one iteration.
  bool batch() const { return rep != Rep::None && left() > 1 && !c.s.flags.test(kTF); }
  /// The window at [seg:offset]. Raises what the access of its first element would raise.
  Window open(SegReg seg, u64 offset, Access access) const {
    const u64 lin = c.linear(seg, offset, size_, access);
    Window w;
    w.iterations = std::min({left(), until_page_end(lin), until_wrap(offset), until_limit(c.s.seg[seg], offset)});
    if (w.iterations <= 1) return {};
    w.host = c.page_pointer(lin, access);
    if (w.host == nullptr && access == Access::Write) w.slow = slow_ram(lin);
    return w.host != nullptr || w.slow != nullptr ? w : Window{};
  }

  /// Where the elements of a window at `first` begin in memory.
  const u8* low_end(const u8* first, u64 iterations) const { return down ? first - (iterations - 1) * size_ : first; }
  /// Stores the elements at `data`, as they lie in memory, through a window at [ES:rDI] that has only `slow`. False: nothing
  /// was stored, go by store.
  bool store_at_once(const u8* data, u64 iterations) const {
    if (iterations < 2 || c.watch != nullptr) return false;
    const u64 offset = down ? di() - (iterations - 1) * size_ : di();
    return c.tlb.write_at_once(c.data_context(), c.linear(ES, offset, 1, Access::Write), data,
                               static_cast<unsigned>(iterations * size_));
  }

  /// `iterations` elements were read through a window at [seg:offset].
  void note_read(SegReg seg, u64 offset, u64 iterations) const {
    const u64 bytes = iterations * size_;
    c.note_read(seg, down ? offset - (bytes - size_) : offset, bytes);
  }
  void advance_si(u64 iterations) { set_register(RSI, moved(c.s.gpr[RSI], iterations)); }
  void advance_di(u64 iterations) { set_register(RDI, moved(c.s.gpr[RDI], iterations)); }
  /// Counts iterations that are done.
  void count(u64 iterations) {
    if (rep != Rep::None) set_register(RCX, c.s.gpr[RCX] - iterations);
  }
  /// Ends the step: the instruction comes again unless it is finished.
  void finish(bool terminated = false) {
    if (rep == Rep::None || terminated || left() == 0) return;
    c.next_rip() = c.s.rip;
    c.set_flags(kRF, kRF);
  }

 private:
  u64 moved(u64 address, u64 iterations) const {
    const u64 bytes = iterations * size_;
    return down ? address - bytes : address + bytes;
  }
  void set_register(unsigned reg, u64 value) {
    switch (address_size_) {
      case 8: c.s.gpr[reg] = value; break;
      case 4: c.s.gpr[reg] = static_cast<u32>(value); break;
      default: c.set_gpr<u16>(reg, static_cast<u16>(value));
    }
  }

  u64 until_page_end(u64 lin) const {
    const u64 offset = lin & kPageMask;
    if (offset + size_ > kPageSize) return 1;
    return down ? offset / size_ + 1 : (kPageSize - offset) / size_;
  }
  u64 until_wrap(u64 offset) const {
    if (address_size_ == 8) return ~u64{0};
    if (offset + size_ > address_mask_ + 1) return 1;
    return down ? offset / size_ + 1 : (address_mask_ + 1 - offset) / size_;
  }
  /// The first element was checked already.
  u64 until_limit(const Segment& seg, u64 offset) const {
    if (c.bits64()) return ~u64{0};
    if (seg.expand_down())
      return down ? (offset - seg.limit - 1) / size_ + 1 : ((seg.big() ? 0x100000000 : 0x10000) - offset) / size_;
    return down ? ~u64{0} : (u64{seg.limit} + 1 - offset) / size_;
  }
  /// For pages that can be written but not directly: decoded code, page tables.
  const u8* slow_ram(u64 lin) const {
    if (c.access_context() != c.data_context()) return nullptr;  // watched: one iteration at a time
    const Translation t = c.tlb.fill(c.data_context(), lin, Access::Write);
    const PhysicalPage page = t.fault ? PhysicalPage{} : c.memory.page(t.physical);
    return page.frame != kNoFrame ? page.host + (t.physical & kPageMask) : nullptr;
  }

  unsigned size_;
  unsigned address_size_;
  u64 address_mask_;
};

}  // namespace callgate::helpers
