// Event delivery: interrupts, exceptions and INT n through the IVT or IDT, in every mode. The frame is checked
// completely before any of it is written, and registers change last. Which event comes, and what a fault in here leads
// to, is events.cpp's and exceptions.cpp's business. Ref: SDM 3A, chapter 6; SDM 2, INT n.
#include "cpu/system/frame.h"
#include "cpu/system/segments.h"
#include "cpu/system/task_switch.h"

namespace callgate {

namespace {

/// One event on its way in.
struct Event {
  u8 vector;
  bool has_error_code;
  u32 error_code;
  u64 return_rip;
  bool check_dpl;  ///< INT n, INT3, INTO: the gate's DPL must allow the caller
  u32 ext;         ///< of faults during delivery
  /// The error code of faults that are about the IDT entry itself.
  u32 idt_error() const { return u32{vector} * 8 + 2 + ext; }
};

/// An IDT entry.
struct Gate {
  u32 low = 0, high = 0, upper = 0;
  unsigned type() const { return high >> 8 & 31; }  ///< S included: valid gates have it 0
  unsigned dpl() const { return high >> 13 & 3; }
  bool present() const { return high >> 15 & 1; }
  u16 selector() const { return static_cast<u16>(low >> 16); }
  u64 offset() const { return u64{upper} << 32 | (high & 0xFFFF0000) | (low & 0xFFFF); }
  unsigned ist() const { return high & 7; }
  bool is_trap() const { return type() & 1; }
  bool is_wide() const { return type() & 8; }
};

Gate fetch_gate(Cpu& c, const Event& e) {
  const u32 size = c.long_mode() ? 16 : 8;
  const u32 offset = e.vector * size;
  if (offset + size - 1 > c.s.idtr.limit)
    raise(Vector::GP, e.idt_error(), "vector {0:#x} is beyond the IDT's limit {1:#x}", e.vector, c.s.idtr.limit);
  const u64 raw = c.load_linear<u64>(system_linear(c, c.s.idtr.base, offset, e.ext), true);
  Gate g{static_cast<u32>(raw), static_cast<u32>(raw >> 32), 0};
  if (size == 16) g.upper = c.load_linear<u32>(system_linear(c, c.s.idtr.base, offset + 8, e.ext), true);
  const bool known = g.type() == kInterruptGate || g.type() == kTrapGate ||
                     (size == 8 && (g.type() == kTaskGate || g.type() == kInterruptGate16 || g.type() == kTrapGate16));
  if (!known) raise(Vector::GP, e.idt_error(), "IDT entry {0:#x} is no gate (type {1:#x})", e.vector, g.type());
  if (e.check_dpl && g.dpl() < c.cpl())
    raise(Vector::GP, e.idt_error(), "software interrupt {0:#x}: the gate has DPL {1} < CPL {2}", e.vector, g.dpl(),
          c.cpl());
  if (!g.present()) raise(Vector::NP, e.idt_error(), "IDT entry {0:#x} is not present", e.vector);
  return g;
}

/// The code segment that a gate names.
Descriptor fetch_handler_segment(Cpu& c, const Gate& g, const Event& e) {
  const u16 selector = g.selector();
  const u32 error = selector_error(selector) | e.ext;
  if (is_null(selector)) raise(Vector::GP, e.ext, "IDT entry {0:#x} has a null code selector", e.vector);
  const Descriptor d = fetch_descriptor(c, selector, Vector::GP, e.ext);
  if (!d.is_code())
    raise(Vector::GP, error, "IDT entry {0:#x} names {1:#x}, which is no code segment", e.vector, selector);
  if (d.dpl() > c.cpl())
    raise(Vector::GP, error, "IDT entry {0:#x}: handler segment has DPL {1} > CPL {2}", e.vector, d.dpl(), c.cpl());
  if (c.long_mode() && (!d.long_mode() || d.big()))
    raise(Vector::GP, error, "IDT entry {0:#x} names {1:#x}, which is no 64-bit code segment", e.vector, selector);
  if (c.v86() && (d.conforming() || d.dpl() != 0))
    raise(Vector::GP, error, "IDT entry {0:#x}: the handler of a v86 task must be at DPL 0, not {1}", e.vector,
          d.dpl());
  if (!d.present())
    raise(Vector::NP, error, "IDT entry {0:#x}: code segment {1:#x} is not present", e.vector, selector);
  return d;
}

/// Flags that every event through a gate clears.
constexpr u32 kClearedByGate = kTF | kNT | kRF | kVM;

void commit_code(Cpu& c, const Descriptor& cs, unsigned new_cpl, u64 rip) {
  c.s.seg[CS] = cs.segment();
  c.s.seg[CS].selector = static_cast<u16>((cs.selector & ~3) | new_cpl);
  c.s.cpl = static_cast<u8>(new_cpl);
  c.next_rip() = rip;
}

// --- real-address mode, and v86 tasks that handle their own interrupts
// ------------------------------------------------

void push_real_frame(Cpu& c, u16 flags, const Event& e, StackFrame& frame) {
  frame.push(flags, 2);
  frame.push(c.s.seg[CS].selector, 2);
  frame.push(static_cast<u16>(e.return_rip), 2);
  frame.check();
}

void deliver_real(Cpu& c, const Event& e) {
  const u32 offset = e.vector * 4u;
  if (offset + 3 > c.s.idtr.limit)
    raise(Vector::GP, e.idt_error(), "vector {0:#x} is beyond the interrupt table's limit {1:#x}", e.vector,
          c.s.idtr.limit);
  const u32 entry = c.load_linear<u32>(system_linear(c, c.s.idtr.base, offset), true);
  StackFrame frame(c, c.s.seg[SS], c.s.gpr[RSP], stack_bytes(c.s.seg[SS]), true, e.ext);
  push_real_frame(c, static_cast<u16>(c.s.flags.value()), e, frame);
  frame.write();
  c.s.gpr[RSP] = frame.rsp();
  c.s.flags.assign(kIF | kTF | kAC | kRF, false);
  c.load_segment_real(CS, static_cast<u16>(entry >> 16));
  c.next_rip() = entry & 0xFFFF;
}

/// CR4.VME: true when the TSS's redirection bitmap sends INT `vector` to the v86 task's own handler. SDM 3B 21.3.3.
bool redirected_to_v86(Cpu& c, u8 vector) {
  const Segment& tr = c.s.tr;
  if (!(tr.type() & 8) || tr.limit < 103)
    raise(Vector::GP, 0, "INT {0:#x} in v86 mode: TSS {1:#x} has no redirection bitmap", vector, tr.selector);
  const u16 io_map = c.load_linear<u16>(system_linear(c, tr.base, 102), true);
  const u32 at = static_cast<u32>(io_map - 32 + vector / 8);
  if (at > tr.limit)
    raise(Vector::GP, 0, "INT {0:#x} in v86 mode: the redirection bitmap at {1:#x} is beyond the TSS's limit {2:#x}",
          vector, at, tr.limit);
  return !(c.load_linear<u8>(system_linear(c, tr.base, at), true) >> (vector & 7) & 1);
}

void deliver_inside_v86(Cpu& c, const Event& e) {
  const u32 entry = c.load_linear<u32>(e.vector * 4u, true);
  u32 flags = c.s.flags.value();
  const bool virtual_if = c.s.flags.iopl() < 3;
  if (virtual_if) flags = (flags & ~u32{kIF}) | kIOPL | (c.s.flags.test(kVIF) ? u32{kIF} : 0);
  StackFrame frame(c, c.s.seg[SS], c.s.gpr[RSP], 2, false, 0);
  push_real_frame(c, static_cast<u16>(flags), e, frame);
  frame.write();
  c.s.gpr[RSP] = frame.rsp();
  c.s.flags.assign(kTF | kRF | (virtual_if ? u32{kVIF} : u32{kIF}), false);
  c.s.seg[CS] = v86_segment(static_cast<u16>(entry >> 16));
  c.next_rip() = entry & 0xFFFF;
}

// --- protected mode
// ---------------------------------------------------------------------------------------------------

void deliver_protected(Cpu& c, const Event& e) {
  const Gate g = fetch_gate(c, e);
  if (g.type() == kTaskGate) {
    const Descriptor tss = fetch_available_tss(c, g.selector(), e.ext);
    switch_task(c, tss, TaskSwitch::Event, e.return_rip, e.ext,
                e.has_error_code ? std::optional<u32>(e.error_code) : std::nullopt);
    return;
  }
  Descriptor cs = fetch_handler_segment(c, g, e);
  const unsigned size = g.is_wide() ? 4 : 2;
  const u32 offset = static_cast<u32>(g.is_wide() ? g.offset() : g.offset() & 0xFFFF);
  const bool inner = !cs.conforming() && cs.dpl() < c.cpl();
  const unsigned new_cpl = inner ? cs.dpl() : c.cpl();
  const bool from_v86 = c.v86();

  Segment ss = c.s.seg[SS];
  u64 rsp = c.s.gpr[RSP];
  u32 error = e.ext;
  Descriptor ss_descriptor;
  if (inner) {
    const InnerStack stack = stack_from_tss(c, new_cpl, e.ext);
    ss_descriptor = fetch_stack_segment(c, stack.ss, new_cpl, Vector::TS, e.ext);
    ss = ss_descriptor.segment();
    rsp = stack.rsp;
    error = selector_error(stack.ss) | e.ext;
  }
  StackFrame frame(c, ss, rsp, stack_bytes(ss), new_cpl < 3, error);
  if (from_v86)
    for (const SegReg seg : {GS, FS, DS, ES}) frame.push(c.s.seg[seg].selector, size);
  if (inner) {
    frame.push(c.s.seg[SS].selector, size);
    frame.push(c.s.gpr[RSP], size);
  }
  frame.push(c.s.flags.value(), size);
  frame.push(c.s.seg[CS].selector, size);
  frame.push(e.return_rip, size);
  if (e.has_error_code) frame.push(e.error_code, size);
  frame.check();
  if (offset > cs.limit())
    raise(Vector::GP, e.ext, "IDT entry {0:#x}: the handler at {1:#x} is beyond its segment's limit {2:#x}", e.vector,
          offset, cs.limit());
  mark_accessed(c, cs);
  if (inner) {
    mark_accessed(c, ss_descriptor);
    ss = ss_descriptor.segment();
  }
  frame.write();

  if (inner) c.s.seg[SS] = ss;
  c.s.gpr[RSP] = frame.rsp();
  if (from_v86)
    for (const SegReg seg : {ES, DS, FS, GS}) c.s.seg[seg] = null_segment(0);
  c.s.flags.assign(kClearedByGate | (g.is_trap() ? 0 : u32{kIF}), false);
  commit_code(c, cs, new_cpl, offset);
}

// --- long mode
// --------------------------------------------------------------------------------------------------------

void deliver_long(Cpu& c, const Event& e) {
  const Gate g = fetch_gate(c, e);
  Descriptor cs = fetch_handler_segment(c, g, e);
  const bool inner = !cs.conforming() && cs.dpl() < c.cpl();
  const unsigned new_cpl = inner ? cs.dpl() : c.cpl();
  u64 rsp = c.s.gpr[RSP];
  if (g.ist() != 0) rsp = rsp_from_tss64(c, tss64_ist(g.ist()), e.ext);
  else if (inner) rsp = rsp_from_tss64(c, tss64_rsp(new_cpl), e.ext);
  rsp &= ~u64{15};  // SDM 3A 6.14.2: the frame is aligned whether the stack switches or not

  StackFrame frame(c, c.s.seg[SS], rsp, 8, new_cpl < 3, e.ext);
  frame.push(c.s.seg[SS].selector, 8);
  frame.push(c.s.gpr[RSP], 8);
  frame.push(c.s.flags.value(), 8);
  frame.push(c.s.seg[CS].selector, 8);
  frame.push(e.return_rip, 8);
  if (e.has_error_code) frame.push(e.error_code, 8);
  frame.check();
  if (!is_canonical(g.offset()))
    raise(Vector::GP, e.ext, "IDT entry {0:#x}: the handler's address {1:#x} is not canonical", e.vector, g.offset());
  mark_accessed(c, cs);
  frame.write();

  if (inner) c.s.seg[SS] = null_segment(static_cast<u16>(new_cpl), new_cpl);
  c.s.gpr[RSP] = frame.rsp();
  c.s.flags.assign(kClearedByGate | (g.is_trap() ? 0 : u32{kIF}), false);
  commit_code(c, cs, new_cpl, g.offset());
}

}  // namespace

void Cpu::deliver_event(u8 vector, EventKind kind, bool has_error_code, u32 error_code, u64 return_rip) {
  const bool software = kind == EventKind::Software || kind == EventKind::IntN3;
  const Event e{vector, has_error_code, error_code, return_rip, software, software ? 0 : kExt};
  if (!protected_mode()) {
    deliver_real(*this, e);
  } else if (long_mode()) {
    deliver_long(*this, e);
  } else if (v86() && kind == EventKind::Software && s.cr4 & kCr4Vme && redirected_to_v86(*this, vector)) {
    deliver_inside_v86(*this, e);
  } else {
    if (v86() && kind == EventKind::Software && s.flags.iopl() < 3)
      raise(Vector::GP, 0, "INT {0:#x} in v86 mode needs IOPL 3, not {1}", vector, s.flags.iopl());
    deliver_protected(*this, e);
  }
  s.sti_shadow = s.mov_ss_shadow = false;
  suppress_single_step = true;  // an INT n that was single-stepped: its trap would belong to the handler
  refresh();
}

}  // namespace callgate
