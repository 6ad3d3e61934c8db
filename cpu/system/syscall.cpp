// Fast system calls, SWAPGS and the FS and GS base instructions, by Intel's rules (model.h: kIntelVendor): SYSCALL and
// SYSRET exist in 64-bit mode only, SYSENTER and SYSEXIT in every protected mode. Ref: SDM 2, the instructions' pages.
#include "cpu/model.h"
#include "cpu/system/debug.h"
#include "cpu/system/segments.h"
#include "cpu/system/syscall.h"
#include "cpu/system/transfer_helpers.h"

namespace callgate::helpers {

namespace {

static_assert(kIntelVendor,
              "AMD differs: SYSCALL in compatibility mode, no SYSENTER in long mode, SYSRET's canonical check");

enum class Code : u8 { Bits32, Bits64 };

/// A flat segment as these instructions make it, without looking at a descriptor table.
Segment flat_segment(u16 selector, u32 rights) { return {0, 0xFFFFFFFF, rights, selector}; }

void set_flat(Cpu& c, u16 cs, u16 ss, unsigned dpl, Code code) {
  c.s.seg[CS] = flat_segment(cs, flat_code_rights(dpl, code == Code::Bits64 ? kRightsL : kRightsDb));
  c.s.seg[SS] = flat_segment(ss, flat_stack_rights(dpl));
  c.s.cpl = static_cast<u8>(dpl);
}

void check_syscall_mode(Cpu& c) {
  if (!c.bits64()) raise_plain(Vector::UD, "SYSCALL or SYSRET outside 64-bit mode");
  if (!(c.s.msr.efer & kEferSce)) raise_plain(Vector::UD, "SYSCALL or SYSRET with EFER.SCE clear");
}

u16 sysenter_selector(Cpu& c) {
  if (!c.protected_mode()) raise(Vector::GP, 0, "SYSENTER or SYSEXIT in real-address mode");
  const u16 cs = static_cast<u16>(c.s.msr.sysenter_cs);
  if (is_null(cs)) raise(Vector::GP, 0, "SYSENTER or SYSEXIT with a null IA32_SYSENTER_CS");
  return cs;
}

}  // namespace

void syscall(Cpu& c, const Insn&) {
  check_syscall_mode(c);
  const u16 selector = static_cast<u16>(c.s.msr.star >> 32);
  const u32 flags = c.s.flags.value();
  c.s.gpr[RCX] = c.next_rip();
  c.s.gpr[R11] = flags;
  c.next_rip() = c.s.msr.lstar;
  set_flat(c, selector & 0xFFFC, static_cast<u16>(selector + 8), 0, Code::Bits64);
  c.s.flags.set_value(flags & ~static_cast<u32>(c.s.msr.sfmask));
  // Single-stepping looks at TF after the instruction: a kernel that masks TF is not stepped into.
  if (!c.s.flags.test(kTF)) c.suppress_single_step = true;
  c.refresh();
}

void sysret(Cpu& c, const Insn& i) {
  check_syscall_mode(c);
  if (c.cpl() != 0) raise(Vector::GP, 0, "SYSRET at CPL {0}", c.cpl());
  const bool to64 = i.width == 8;
  const u64 rip = to64 ? c.s.gpr[RCX] : static_cast<u32>(c.s.gpr[RCX]);
  if (!is_canonical(rip)) raise(Vector::GP, 0, "SYSRET to the non-canonical address {0:#x}", rip);
  const u16 selector = static_cast<u16>(c.s.msr.star >> 48);
  set_flat(c, static_cast<u16>((to64 ? selector + 16 : selector) | 3), static_cast<u16>((selector + 8) | 3), 3,
           to64 ? Code::Bits64 : Code::Bits32);
  c.next_rip() = rip;
  c.s.flags.set_value(static_cast<u32>(c.s.gpr[R11]) & kSysretFlags);
  // As for SYSCALL: the step that was due after the program's SYSCALL is taken when it has returned.
  c.suppress_single_step = true;
  if (c.s.flags.test(kTF)) c.pend_debug_trap(kDr6Bs);
  c.refresh();
}

void sysenter(Cpu& c, const Insn&) {
  const u16 selector = sysenter_selector(c) & 0xFFFC;
  const bool wide = c.long_mode();
  c.next_rip() = wide ? c.s.msr.sysenter_eip : static_cast<u32>(c.s.msr.sysenter_eip);
  c.s.gpr[RSP] = wide ? c.s.msr.sysenter_esp : static_cast<u32>(c.s.msr.sysenter_esp);
  c.s.flags.assign(kVM | kIF, false);
  set_flat(c, selector, static_cast<u16>(selector + 8), 0, wide ? Code::Bits64 : Code::Bits32);
  c.refresh();
}

void sysexit(Cpu& c, const Insn& i) {
  const u16 selector = sysenter_selector(c);
  if (c.cpl() != 0) raise(Vector::GP, 0, "SYSEXIT at CPL {0}", c.cpl());
  const bool to64 = i.width == 8;
  const u64 rip = to64 ? c.s.gpr[RDX] : static_cast<u32>(c.s.gpr[RDX]);
  const u64 rsp = to64 ? c.s.gpr[RCX] : static_cast<u32>(c.s.gpr[RCX]);
  if (!is_canonical(rip)) raise(Vector::GP, 0, "SYSEXIT to the non-canonical address {0:#x}", rip);
  if (!is_canonical(rsp)) raise(Vector::GP, 0, "SYSEXIT with the non-canonical stack pointer {0:#x}", rsp);
  const u16 cs = static_cast<u16>((selector + (to64 ? 32 : 16)) | 3);
  set_flat(c, cs, static_cast<u16>(cs + 8), 3, to64 ? Code::Bits64 : Code::Bits32);
  c.next_rip() = rip;
  c.s.gpr[RSP] = rsp;
  c.refresh();
}

void swapgs(Cpu& c, const Insn&) {
  const u64 base = c.s.seg[GS].base;
  c.set_base64(GS, c.s.msr.kernel_gs_base);
  c.s.msr.kernel_gs_base = base;
}

namespace {

void check_fsgsbase(Cpu& c) {
  if (!(c.s.cr4 & kCr4Fsgsbase)) raise_plain(Vector::UD, "RDFSBASE and its kin with CR4.FSGSBASE clear");
}

void read_base(Cpu& c, const Insn& i, SegReg seg) {
  check_fsgsbase(c);
  write_register(c, i.rm, i.width == 8 ? 8 : 4, c.s.seg[seg].base);
}

void write_base(Cpu& c, const Insn& i, SegReg seg) {
  check_fsgsbase(c);
  const u64 base = i.width == 8 ? c.s.gpr[i.rm] : static_cast<u32>(c.s.gpr[i.rm]);
  if (!is_canonical(base)) raise(Vector::GP, 0, "a segment base of {0:#x} is not canonical", base);
  c.s.seg[seg].base = base;
  c.refresh();
}

}  // namespace

void rdfsbase(Cpu& c, const Insn& i) { read_base(c, i, FS); }
void rdgsbase(Cpu& c, const Insn& i) { read_base(c, i, GS); }
void wrfsbase(Cpu& c, const Insn& i) { write_base(c, i, FS); }
void wrgsbase(Cpu& c, const Insn& i) { write_base(c, i, GS); }

}  // namespace callgate::helpers
