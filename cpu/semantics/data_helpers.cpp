#include "cpu/semantics/data_helpers.h"

#include "cpu/value_builder.h"

namespace callgate::helpers {

namespace {

u64 memory_address(const Cpu& c, const Insn& i) { return effective_address(c, i); }
SegReg segment_of(const Insn& i) { return static_cast<SegReg>(i.seg); }

u64 load_sized(Cpu& c, SegReg seg, u64 offset, unsigned size) {
  switch (size) {
    case 8: return c.load<u64>(seg, offset);
    case 4: return c.load<u32>(seg, offset);
    default: return c.load<u16>(seg, offset);
  }
}

void store_sized(Cpu& c, SegReg seg, u64 offset, u64 value, unsigned size) {
  switch (size) {
    case 8: c.store<u64>(seg, offset, value); break;
    case 4: c.store<u32>(seg, offset, static_cast<u32>(value)); break;
    default: c.store<u16>(seg, offset, static_cast<u16>(value));
  }
}

void set_gpr_sized(Cpu& c, unsigned reg, u64 value, unsigned size) {
  switch (size) {
    case 8: c.set_gpr<u64>(reg, value); break;
    case 4: c.set_gpr<u32>(reg, static_cast<u32>(value)); break;
    default: c.set_gpr<u16>(reg, static_cast<u16>(value));
  }
}

/// The address of the `n`th value of `size` bytes pushed from here (from 1).
u64 pushed_offset(const Cpu& c, unsigned n, unsigned size) {
  return (c.s.gpr[RSP] - u64{n} * size) & low_mask(8 * c.stack_size());
}

}  // namespace

// All eight places are checked before the first is written.
void pusha(Cpu& c, const Insn& i) {
  const unsigned size = i.width;
  for (unsigned n = 1; n <= 8; n++) c.probe_write(SS, pushed_offset(c, n, size), size);
  for (unsigned n = 1; n <= 8; n++) store_sized(c, SS, pushed_offset(c, n, size), c.s.gpr[n - 1], size);
  c.add_rsp(-i64{8} * size);
}

void popa(Cpu& c, const Insn& i) {
  const unsigned size = i.width;
  u64 value[8];
  for (unsigned n = 0; n < 8; n++) value[n] = c.peek_stack(u64{n} * size, size);
  for (unsigned n = 0; n < 8; n++)
    if (7 - n != RSP) set_gpr_sized(c, 7 - n, value[n], size);
  c.add_rsp(i64{8} * size);
}

// SDM 2, PUSHF: in virtual-8086 mode below IOPL 3 only the 16-bit form works, with VME, and shows VIF in IF's place.
void pushf(Cpu& c, const Insn& i) {
  u32 value = c.s.flags.value() & ~u32{kVM | kRF};
  if (c.v86() && c.s.flags.iopl() < 3) {
    if (!(c.s.cr4 & kCr4Vme) || i.width != 2)
      raise(Vector::GP, 0, "PUSHF in virtual-8086 mode with IOPL {0} < 3", c.s.flags.iopl());
    value = (value & ~u32{kIF}) | kIOPL | (c.s.flags.test(kVIF) ? u32{kIF} : 0);
  }
  c.push(value, i.width);
}

// SDM 2, POPF, with its table of what each mode may change.
void popf(Cpu& c, const Insn& i) {
  u32 mask = kArithmetic | kTF | kDF | kNT;
  if (i.width != 2) mask |= kAC | kID;
  const unsigned iopl = c.s.flags.iopl();
  if (c.v86()) {
    if (iopl < 3) {
      if (!(c.s.cr4 & kCr4Vme) || i.width != 2)
        raise(Vector::GP, 0, "POPF in virtual-8086 mode with IOPL {0} < 3", iopl);
      const u32 value = static_cast<u32>(c.peek_stack(0, i.width));
      if (value & kTF) raise(Vector::GP, 0, "POPF would set TF in virtual-8086 mode with IOPL {0} < 3", iopl);
      if ((value & kIF) && c.s.flags.test(kVIP))
        raise(Vector::GP, 0, "POPF would set VIF while a virtual interrupt is pending");
      c.add_rsp(i.width);
      c.set_flags(value & kIF ? value | kVIF : value & ~u32{kVIF}, mask | kVIF);
      return;
    }
    mask |= kIF;
  } else {
    if (!c.protected_mode() || c.cpl() == 0) mask |= kIOPL | kIF;
    else if (c.cpl() <= iopl) mask |= kIF;
  }
  const u32 value = static_cast<u32>(c.pop(i.width));
  c.set_flags(value & ~u32{kRF}, mask | kRF);
}

namespace {

/// What CLI and STI change. SDM 2, CLI: the table of actions.
enum class InterruptFlag { Real, Virtual };
InterruptFlag controlled_flag(const Cpu& c, const char* reason) {
  if (!c.protected_mode()) return InterruptFlag::Real;
  const unsigned iopl = c.s.flags.iopl();
  if (c.cpl() <= iopl) return InterruptFlag::Real;  // virtual-8086 mode runs at CPL 3
  if (c.v86() ? c.s.cr4 & kCr4Vme : c.cpl() == 3 && (c.s.cr4 & kCr4Pvi)) return InterruptFlag::Virtual;
  raise(Vector::GP, 0, reason, c.cpl(), iopl);
}

}  // namespace

void cli(Cpu& c, const Insn&) {
  if (controlled_flag(c, "CLI at CPL {0} > IOPL {1}") == InterruptFlag::Real) c.set_flags(0, kIF);
  else c.set_flags(0, kVIF);
}

void sti(Cpu& c, const Insn&) {
  if (controlled_flag(c, "STI at CPL {0} > IOPL {1}") == InterruptFlag::Real) {
    if (!c.s.flags.test(kIF)) c.s.sti_shadow = true;
    c.set_flags(kIF, kIF);
  } else {
    if (c.s.flags.test(kVIP)) raise(Vector::GP, 0, "STI while a virtual interrupt is pending");
    c.set_flags(kVIF, kVIF);
  }
}

// SDM 2, ENTER. The pointers of outer frames are read as they are pushed, so that overlapping frames work; every place is
// checked before the first write, the one that the new stack pointer shows included.
void enter(Cpu& c, const Insn& i) {
  const unsigned size = i.width, level = i.imm2 & 31;
  const u64 stack_mask = low_mask(8 * c.stack_size());
  const unsigned pushes = level == 0 ? 1 : level + 1;
  for (unsigned n = 1; n <= pushes; n++) c.probe_write(SS, pushed_offset(c, n, size), size);
  const u64 frame = pushed_offset(c, 1, size);
  const u64 top = (pushed_offset(c, pushes, size) - static_cast<u16>(i.imm)) & stack_mask;
  c.probe_write(SS, top, size);
  for (unsigned n = 1; n < level; n++)
    load_sized(c, SS, (c.s.gpr[RBP] - u64{n} * size) & stack_mask, size);
  store_sized(c, SS, frame, c.s.gpr[RBP], size);
  for (unsigned n = 1; n < level; n++) {
    const u64 outer = load_sized(c, SS, (c.s.gpr[RBP] - u64{n} * size) & stack_mask, size);
    store_sized(c, SS, pushed_offset(c, n + 1, size), outer, size);
  }
  // A frame pointer is as wide as the operand: with a 16-bit stack its upper part is ESP's.
  const u64 frame_pointer = (c.s.gpr[RSP] & ~stack_mask) | frame;
  if (level != 0) store_sized(c, SS, pushed_offset(c, pushes, size), frame_pointer, size);
  set_gpr_sized(c, RBP, frame_pointer, size);
  c.set_rsp(top);
}

void bound(Cpu& c, const Insn& i) {
  const u64 at = memory_address(c, i);
  u8 bounds[8];
  c.load_bytes(segment_of(i), at, bounds, 2u * i.width);
  const i64 index = static_cast<i64>(sign_extend(c.s.gpr[i.reg], 8u * i.width));
  const i64 lower = i.width == 2 ? load_as<i16>(bounds) : load_as<i32>(bounds);
  const i64 upper = i.width == 2 ? load_as<i16>(bounds + 2) : load_as<i32>(bounds + 4);
  if (index < lower || index > upper)
    raise_plain(Vector::BR, "BOUND: {0:#x} is not in {1:#x} to {2:#x}", index, lower, upper);
}

// Memory is always written, with what was there when the comparison fails.
void cmpxchg8b(Cpu& c, const Insn& i) {
  const u64 at = memory_address(c, i);
  c.probe_write(segment_of(i), at, 8);
  const u64 old = c.load<u64>(segment_of(i), at);
  const u64 expected = static_cast<u32>(c.s.gpr[RAX]) | c.s.gpr[RDX] << 32;
  const bool equal = old == expected;
  c.store<u64>(segment_of(i), at, equal ? static_cast<u32>(c.s.gpr[RBX]) | c.s.gpr[RCX] << 32 : old);
  c.s.flags.set_arithmetic((c.s.flags.arithmetic() & ~u32{kZF}) | (equal ? u32{kZF} : 0));
  if (!equal) {
    c.set_gpr<u32>(RAX, static_cast<u32>(old));
    c.set_gpr<u32>(RDX, static_cast<u32>(old >> 32));
  }
}

void cmpxchg16b(Cpu& c, const Insn& i) {
  const u64 at = memory_address(c, i);
  const u64 lin = c.linear(segment_of(i), at, 16, Access::Write);
  if (lin & 15) raise(Vector::GP, 0, "CMPXCHG16B of the address {0:#x}, which is not 16-byte aligned", lin);
  c.probe_write(segment_of(i), at, 16);
  V128 old;
  c.load_bytes(segment_of(i), at, &old, sizeof old);
  const bool equal = old.q[0] == c.s.gpr[RAX] && old.q[1] == c.s.gpr[RDX];
  const u64 replacement[2] = {equal ? c.s.gpr[RBX] : old.q[0], equal ? c.s.gpr[RCX] : old.q[1]};
  c.store_bytes(segment_of(i), at, replacement, sizeof replacement);
  c.s.flags.set_arithmetic((c.s.flags.arithmetic() & ~u32{kZF}) | (equal ? u32{kZF} : 0));
  if (!equal) {
    c.s.gpr[RAX] = old.q[0];
    c.s.gpr[RDX] = old.q[1];
  }
}

void xlat(Cpu& c, const Insn& i) {
  const u64 at = (c.s.gpr[RBX] + static_cast<u8>(c.s.gpr[RAX])) & low_mask(8u * i.asize);
  c.set_gpr<u8>(RAX, c.load<u8>(segment_of(i), at));
}

void ud0(Cpu&, const Insn&) { raise_plain(Vector::UD, "UD0"); }
void ud1(Cpu&, const Insn&) { raise_plain(Vector::UD, "UD1"); }
void ud2(Cpu&, const Insn&) { raise_plain(Vector::UD, "UD2"); }

}  // namespace callgate::helpers
