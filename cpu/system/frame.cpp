#include "cpu/system/frame.h"

#include "base/verify.h"
#include "cpu/system/segments.h"

namespace callgate {

u64 merge_stack_pointer(u64 old, u64 value, unsigned stack_size) {
  switch (stack_size) {
    case 8: return value;
    case 4: return static_cast<u32>(value);
    default: return (old & ~u64{0xFFFF}) | static_cast<u16>(value);
  }
}

bool inside_limit(const Segment& s, u64 offset, unsigned size) {
  const u64 last = offset + size - 1;
  if (!s.expand_down()) return last <= s.limit;
  return offset > s.limit && last <= (s.big() ? 0xFFFFFFFFu : 0xFFFFu);
}

void StackFrame::push(u64 value, unsigned size) {
  VERIFY(count_ < kMaxSlots, "a stack frame has at most 40 slots");
  const u64 offset = (rsp_ - size) & low_mask(8 * stack_size_);
  const u64 linear = stack_size_ == 8 ? offset : (ss_.base + offset) & 0xFFFFFFFF;
  slots_[count_++] = {linear, offset, value, static_cast<u8>(size)};
  rsp_ = merge_stack_pointer(rsp_, offset, stack_size_);
}

void StackFrame::check() {
  for (unsigned n = 0; n < count_; n++) {
    const Slot& slot = slots_[n];
    if (stack_size_ == 8) {
      if (!is_canonical(slot.linear) || !is_canonical(slot.linear + slot.size - 1))
        raise(Vector::SS, error_, "a stack frame at the non-canonical address {0:#x}", slot.linear);
    } else if (!inside_limit(ss_, slot.offset, slot.size)) {
      raise(Vector::SS, error_, "a stack frame at {0:#x} is outside stack segment {1:#x} with limit {2:#x}",
            slot.offset, ss_.selector, ss_.limit);
    }
    c_.probe_linear(slot.linear, slot.size, Access::Write, supervisor_);
  }
}

void StackFrame::write() {
  for (unsigned n = 0; n < count_; n++) {
    const Slot& slot = slots_[n];
    c_.store_linear_bytes(slot.linear, &slot.value, slot.size, supervisor_);
  }
}

InnerStack stack_from_tss(Cpu& c, unsigned level, u32 ext) {
  const bool wide = c.s.tr.type() & 8;
  const u32 offset = wide ? 4 + 8 * level : 2 + 4 * level;
  const u32 last = offset + (wide ? 5 : 3);
  if (last > c.s.tr.limit)
    raise(Vector::TS, selector_error(c.s.tr.selector) | ext,
          "the stack for CPL {0} is beyond the limit {1:#x} of TSS {2:#x}", level, c.s.tr.limit, c.s.tr.selector);
  const u64 at = system_linear(c, c.s.tr.base, offset);
  if (wide) return {c.load_linear<u16>(system_linear(c, at, 4), true), c.load_linear<u32>(at, true)};
  return {c.load_linear<u16>(system_linear(c, at, 2), true), c.load_linear<u16>(at, true)};
}

u64 rsp_from_tss64(Cpu& c, u32 offset, u32 ext) {
  if (offset + 7 > c.s.tr.limit)
    raise(Vector::TS, selector_error(c.s.tr.selector) | ext,
          "the stack pointer at {0:#x} is beyond the limit {1:#x} of TSS {2:#x}", offset, c.s.tr.limit,
          c.s.tr.selector);
  const u64 rsp = c.load_linear<u64>(system_linear(c, c.s.tr.base, offset, ext), true);
  if (!is_canonical(rsp)) raise(Vector::SS, ext, "the TSS's stack pointer {0:#x} is not canonical", rsp);
  return rsp;
}

}  // namespace callgate
