#include "cpu/system/debug.h"

#include "cpu/system/helpers.h"

namespace callgate {

namespace {

constexpr u32 kDr6Writable = 0xE00F;      // B0 to B3, BD, BS, BT
constexpr u32 kDr7Writable = 0xFFFF23FF;  // without the fixed bit 10 and the reserved 11, 12, 14, 15
constexpr unsigned kBreakpoints = 4;

bool enabled(u64 dr7, unsigned n) { return dr7 >> (2 * n) & 3; }
BreakOn kind_of(u64 dr7, unsigned n) { return static_cast<BreakOn>(dr7 >> (16 + 4 * n) & 3); }
u64 length_of(u64 dr7, unsigned n) {
  constexpr u64 kBytes[4] = {1, 2, 8, 4};
  return kBytes[dr7 >> (18 + 4 * n) & 3];
}

/// True when breakpoint `n`'s bytes, aligned down to its length, overlap [address, address + size).
bool overlaps(const Cpu& c, unsigned n, u64 address, unsigned size) {
  const u64 length = length_of(c.s.dr7, n);
  const u64 start = c.s.dr[n] & ~(length - 1);
  return address - start < length || start - address < size;
}

}  // namespace

bool breakpoints_enabled(const Cpu& c, BreakOn kind) {
  if ((c.s.dr7 & 0xFF) == 0) return false;
  for (unsigned n = 0; n < kBreakpoints; n++) {
    const BreakOn k = kind_of(c.s.dr7, n);
    const bool wanted = k == kind || (kind == BreakOn::ReadWrite && k == BreakOn::Write);
    if (enabled(c.s.dr7, n) && wanted) return true;
  }
  return false;
}

bool code_breakpoint_hit(const Cpu& c, u64 linear, u32& dr6_bits) {
  dr6_bits = 0;
  if (c.s.flags.test(kRF)) return false;
  for (unsigned n = 0; n < kBreakpoints; n++)
    if (enabled(c.s.dr7, n) && kind_of(c.s.dr7, n) == BreakOn::Execute && c.s.dr[n] == linear) dr6_bits |= 1u << n;
  return dr6_bits != 0;
}

void raise_debug_fault(Cpu& c, u32 dr6_bits, const char* reason) {
  take_debug_trap(c, dr6_bits);
  raise_plain(Vector::DB, reason);
}

void check_data_breakpoints(Cpu& c, u64 linear, unsigned size, Access access) {
  if (access == Access::Execute || (c.s.dr7 & 0xFF) == 0) return;
  u32 hits = 0;
  for (unsigned n = 0; n < kBreakpoints; n++) {
    if (!enabled(c.s.dr7, n)) continue;
    const BreakOn k = kind_of(c.s.dr7, n);
    if (k != BreakOn::ReadWrite && !(k == BreakOn::Write && access == Access::Write)) continue;
    if (overlaps(c, n, linear, size)) hits |= 1u << n;
  }
  if (hits) c.pend_debug_trap(hits);
}

void check_io_breakpoints(Cpu& c, u16 port, unsigned size) {
  if (!(c.s.cr4 & kCr4De) || (c.s.dr7 & 0xFF) == 0) return;
  u32 hits = 0;
  for (unsigned n = 0; n < kBreakpoints; n++)
    if (enabled(c.s.dr7, n) && kind_of(c.s.dr7, n) == BreakOn::Io && overlaps(c, n, port, size)) hits |= 1u << n;
  if (hits) c.pend_debug_trap(hits);
}

bool single_step_traps(const Cpu& c, const Insn& i) {
  if (!(c.s.msr.debugctl & kDebugctlBtf)) return true;
  u64 next = c.s.rip + i.length;
  if (!c.bits64()) next &= 0xFFFFFFFF;
  return c.s.gpr[kGprRip] != next;
}

void take_debug_trap(Cpu& c, u32 dr6_bits) {
  c.s.dr6 |= dr6_bits;
  c.s.dr7 &= ~u64{kDr7Gd};
  c.s.msr.debugctl &= ~kDebugctlBtf;
}

namespace helpers {

namespace {

/// The number of the debug register, DR4 and DR5 resolved; with every check of an access to it.
unsigned debug_register(Cpu& c, const Insn& i) {
  unsigned reg = i.reg;
  if (reg > 7) raise_plain(Vector::UD, "there is no DR{0}", reg);
  if (reg == 4 || reg == 5) {
    if (c.s.cr4 & kCr4De) raise_plain(Vector::UD, "DR{0} with CR4.DE", reg);
    reg += 2;
  }
  if (c.cpl() != 0) raise(Vector::GP, 0, "a debug register moved at CPL {0}", c.cpl());
  if (c.s.dr7 & kDr7Gd) raise_debug_fault(c, kDr6Bd, "a debug register was accessed while DR7.GD was set");
  return reg;
}

}  // namespace

void mov_from_dr(Cpu& c, const Insn& i) {
  const unsigned reg = debug_register(c, i);
  const u64 value = reg == 6 ? c.s.dr6 : reg == 7 ? c.s.dr7 : c.s.dr[reg];
  c.set_gpr<u64>(i.rm, c.bits64() ? value : static_cast<u32>(value));
}

void mov_to_dr(Cpu& c, const Insn& i) {
  const unsigned reg = debug_register(c, i);
  const u64 value = c.bits64() ? c.s.gpr[i.rm] : static_cast<u32>(c.s.gpr[i.rm]);
  if (reg < 4) {
    c.s.dr[reg] = value;
    return;
  }
  if (value >> 32) raise(Vector::GP, 0, "DR{0} := {1:#x} sets reserved bits 63:32", reg, value);
  if (reg == 6) {
    c.s.dr6 = (value & kDr6Writable) | kDr6Fixed;
  } else {
    c.s.dr7 = (value & kDr7Writable) | kDr7Fixed;
    c.refresh();
  }
}

}  // namespace helpers
}  // namespace callgate
