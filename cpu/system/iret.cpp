// IRET in every mode. All of the frame is read and all checks are made before anything changes.
// Ref: SDM 2, IRET/IRETD/IRETQ, "Operation".
#include "cpu/system/returns.h"
#include "cpu/system/task_switch.h"
#include "cpu/system/transfer_helpers.h"

namespace callgate::helpers {

namespace {

constexpr u32 kAlways = kArithmetic | kTF | kDF | kNT;
constexpr u32 kUpperHalf = 0xFFFF0000;

void set_flags(Cpu& c, u32 value, u32 mask) { c.set_flags(value, mask); }

/// The three slots that every form pops.
struct Popped {
  u64 rip;
  u16 cs;
  u32 flags;
};

Popped pop_three(Cpu& c, unsigned size) {
  return {c.peek_stack(0, size), static_cast<u16>(c.peek_stack(size, size)),
          static_cast<u32>(c.peek_stack(2 * size, size))};
}

/// In real-address mode, and in v86 mode with IOPL 3: `mask` are the flags that may change.
void return_real(Cpu& c, unsigned size, u32 mask) {
  const Popped p = pop_three(c, size);
  c.check_target(c.s.seg[CS], p.rip);
  c.add_rsp(3 * size);
  c.load_segment_real(CS, p.cs);
  c.next_rip() = p.rip;
  set_flags(c, p.flags, size == 2 ? mask & 0xFFFF : mask);
}

/// CR4.VME with IOPL < 3: the v86 task's IF is VIF.
void return_virtual_interrupts(Cpu& c) {
  const Popped p = pop_three(c, 2);
  if (p.flags & kTF) raise(Vector::GP, 0, "IRET in v86 mode with IOPL < 3 would set TF");
  if (p.flags & kIF && c.s.flags.test(kVIP))
    raise(Vector::GP, 0, "IRET in v86 mode would set VIF while an interrupt waits (VIP)");
  c.check_target(c.s.seg[CS], p.rip);
  c.add_rsp(6);
  c.load_segment_real(CS, p.cs);
  c.next_rip() = p.rip;
  set_flags(c, p.flags, kAlways);
  set_flags(c, p.flags & kIF ? u32{kVIF} : 0, kVIF);
}

void return_v86(Cpu& c, unsigned size) {
  if (c.s.flags.iopl() == 3) {
    return_real(c, size, kAlways | kIF | kRF | kAC | kID);
  } else if (c.s.cr4 & kCr4Vme && size == 2) {
    return_virtual_interrupts(c);
  } else {
    raise(Vector::GP, 0, "IRET in v86 mode needs IOPL 3, not {0}", c.s.flags.iopl());
  }
}

/// From ring 0 to a virtual-8086 task: nine doublewords.
void return_to_v86(Cpu& c, const Popped& p) {
  const u64 esp = c.peek_stack(12, 4);
  u16 seg[kSegCount] = {};
  constexpr SegReg kOrder[] = {SS, ES, DS, FS, GS};
  for (unsigned n = 0; n < 5; n++) seg[kOrder[n]] = static_cast<u16>(c.peek_stack(16 + 4 * n, 4));
  seg[CS] = p.cs;
  if (p.rip > 0xFFFF) raise(Vector::GP, 0, "IRET to v86 mode at {0:#x}, beyond 64 KiB", p.rip);
  c.s.flags.set_value(p.flags);
  for (unsigned n = 0; n < kSegCount; n++) c.s.seg[n] = v86_segment(seg[n]);
  c.s.cpl = 3;
  c.s.gpr[RSP] = esp;
  c.next_rip() = p.rip;
  c.refresh();
}

void return_protected(Cpu& c, unsigned size, const Popped& p) {
  Descriptor cs = fetch_return_code(c, p.cs);
  const unsigned cpl = p.cs & 3;
  const unsigned old_cpl = c.cpl();
  u32 mask = kAlways | kRF | kAC | kID;
  if (old_cpl <= c.s.flags.iopl()) mask |= kIF;
  if (old_cpl == 0) mask |= kIOPL | kVIF | kVIP;
  if (size == 2) mask &= ~kUpperHalf;

  if (cpl == old_cpl && !c.bits64()) {
    c.check_target(cs.segment(), p.rip);
    mark_accessed(c, cs);
    c.add_rsp(3 * size);
    c.s.seg[CS] = cs.segment();
  } else {  // 64-bit mode pops SS:RSP even when the ring stays the same
    const u64 rsp = c.peek_stack(3 * size, size);
    const u16 ss_selector = static_cast<u16>(c.peek_stack(4 * size, size));
    auto ss = fetch_return_stack(c, ss_selector, cs, cpl);
    c.check_target(cs.segment(), p.rip);
    commit_return(c, cs, ss, ss_selector, rsp, cpl);
  }
  c.next_rip() = p.rip;
  c.refresh();
  set_flags(c, p.flags, mask);
}

}  // namespace

void iret(Cpu& c, const Insn& i) {
  // Even an IRET that faults lets NMIs in again. SDM 3A 6.7.1.
  c.s.nmi_blocked = false;
  if (c.s.nmi_pending) c.request_attention();
  const unsigned size = i.width;
  if (!c.protected_mode()) {
    return_real(c, size, kAlways | kIF | kIOPL | kRF | kAC | kID);
  } else if (c.v86()) {
    return_v86(c, size);
  } else if (c.s.flags.test(kNT)) {
    if (c.long_mode()) raise(Vector::GP, 0, "IRET with NT set in long mode");
    return_to_previous_task(c, c.next_rip());
  } else {
    const Popped p = pop_three(c, size);
    if (p.flags & kVM && c.cpl() == 0 && size == 4 && !c.long_mode()) return_to_v86(c, p);
    else return_protected(c, size, p);
  }
}

}  // namespace callgate::helpers
