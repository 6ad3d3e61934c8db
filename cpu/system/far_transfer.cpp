// JMP, CALL and RET far: direct, through call gates with their stack switch, and to tasks, in every mode.
// Ref: SDM 2, JMP, CALL, RET, "Operation"; SDM 3A 5.8 "Privilege Level Checking When Transferring Program Control".
#include "cpu/system/returns.h"
#include "cpu/system/task_switch.h"
#include "cpu/system/transfer_helpers.h"

namespace callgate::helpers {

namespace {

struct FarPointer {
  u16 selector;
  u64 offset;  ///< cut to the operand size
};

FarPointer direct_pointer(const Insn& i) { return {i.imm2, i.imm & low_mask(8 * i.width)}; }

FarPointer indirect_pointer(Cpu& c, const Insn& i) {
  const auto seg = static_cast<SegReg>(i.seg);
  const u64 at = effective_address(c, i);
  const u64 selector_at = (at + i.width) & low_mask(8 * i.asize);
  u64 offset = 0;
  switch (i.width) {
    case 2: offset = c.load<u16>(seg, at); break;
    case 4: offset = c.load<u32>(seg, at); break;
    default: offset = c.load<u64>(seg, at);
  }
  return {c.load<u16>(seg, selector_at), offset};
}

/// Checks a code segment that JMP or CALL names itself, without a gate.
void check_direct_code(Cpu& c, const Descriptor& d, u16 selector) {
  const u32 error = selector_error(selector);
  const unsigned rpl = selector & 3, cpl = c.cpl();
  check_code_size(c, d);
  if (d.conforming()) {
    if (d.dpl() > cpl)
      raise(Vector::GP, error, "conforming code segment {0:#x} has DPL {1} > CPL {2}", selector, d.dpl(), cpl);
  } else {
    if (rpl > cpl) raise(Vector::GP, error, "code selector {0:#x} has RPL {1} > CPL {2}", selector, rpl, cpl);
    if (d.dpl() != cpl)
      raise(Vector::GP, error, "code segment {0:#x} has DPL {1}, not CPL {2}", selector, d.dpl(), cpl);
  }
  if (!d.present()) raise(Vector::NP, error, "code segment {0:#x} is not present", selector);
}

/// Commits CS, CPL and RIP; the accessed bit must be set already.
void commit_code(Cpu& c, const Descriptor& d, unsigned cpl, u64 rip) {
  c.s.seg[CS] = d.segment();
  c.s.seg[CS].selector = static_cast<u16>((d.selector & ~3) | cpl);
  c.s.cpl = static_cast<u8>(cpl);
  c.next_rip() = rip;
  c.refresh();
}

/// A call gate, with the code segment behind it checked but for its privilege.
struct CallGate {
  u64 offset;
  unsigned size;        ///< of what is pushed: 2, 4 or 8
  unsigned parameters;  ///< to copy to an inner stack
  Descriptor code;
};

CallGate open_call_gate(Cpu& c, const Descriptor& gate) {
  const u32 error = selector_error(gate.selector);
  const unsigned rpl = gate.selector & 3;
  if (gate.dpl() < c.cpl() || gate.dpl() < rpl)
    raise(Vector::GP, error, "call gate {0:#x} has DPL {1}: closed to CPL or RPL {2}", gate.selector, gate.dpl(),
          c.cpl() > rpl ? c.cpl() : rpl);
  if (!gate.present()) raise(Vector::NP, error, "call gate {0:#x} is not present", gate.selector);
  CallGate g{gate.gate_offset(), 4, gate.high & 31, {}};
  if (c.long_mode()) {
    g.offset |= u64{fetch_upper_half(c, gate)} << 32;
    g.size = 8;
    g.parameters = 0;
  } else if (gate.type() == kCallGate16) {
    g.offset &= 0xFFFF;
    g.size = 2;
  }
  const u16 selector = gate.gate_selector();
  if (is_null(selector)) raise(Vector::GP, 0, "call gate {0:#x} has a null code selector", gate.selector);
  g.code = fetch_descriptor(c, selector, Vector::GP);
  if (!g.code.is_code())
    raise(Vector::GP, selector_error(selector), "call gate {0:#x} names {1:#x}, which is no code segment",
          gate.selector, selector);
  if (g.code.dpl() > c.cpl())
    raise(Vector::GP, selector_error(selector), "call gate {0:#x}: its code segment has DPL {1} > CPL {2}",
          gate.selector, g.code.dpl(), c.cpl());
  if (c.long_mode() && (!g.code.long_mode() || g.code.big()))
    raise(Vector::GP, selector_error(selector), "call gate {0:#x} names {1:#x}, which is no 64-bit code segment",
          gate.selector, selector);
  return g;
}

void check_gate_code_present(const CallGate& g) {
  if (!g.code.present())
    raise(Vector::NP, selector_error(g.code.selector), "the call gate's code segment {0:#x} is not present",
          g.code.selector);
}

/// What a far pointer that names no code segment leads to. Raises for what JMP and CALL can't use.
enum class SystemTarget : u8 { CallGate, TaskGate, Tss };

SystemTarget classify(Cpu& c, const Descriptor& d) {
  if (d.is_system()) {
    if (d.type() == kCallGate) return SystemTarget::CallGate;
    if (!c.long_mode()) {
      switch (d.type()) {
        case kCallGate16: return SystemTarget::CallGate;
        case kTaskGate: return SystemTarget::TaskGate;
        case kTss16Available:
        case kTssAvailable: return SystemTarget::Tss;
        default: break;
      }
    }
  }
  raise(Vector::GP, selector_error(d.selector),
        "a far transfer to {0:#x}: no code, gate or available TSS (type {1:#x})", d.selector, d.high >> 8 & 31);
}

void transfer_to_task(Cpu& c, const Descriptor& d, SystemTarget kind, TaskSwitch how) {
  const u32 error = selector_error(d.selector);
  const unsigned rpl = d.selector & 3;
  if (d.dpl() < c.cpl() || d.dpl() < rpl)
    raise(Vector::GP, error, "task gate or TSS {0:#x} has DPL {1}: closed to CPL or RPL {2}", d.selector, d.dpl(),
          c.cpl() > rpl ? c.cpl() : rpl);
  if (!d.present()) raise(Vector::NP, error, "task gate or TSS {0:#x} is not present", d.selector);
  switch_task(c, kind == SystemTarget::Tss ? d : fetch_available_tss(c, d.gate_selector()), how, c.next_rip());
}

// --- JMP
// --------------------------------------------------------------------------------------------------------------

void jump_through_gate(Cpu& c, const Descriptor& gate) {
  CallGate g = open_call_gate(c, gate);
  if (!g.code.conforming() && g.code.dpl() != c.cpl())
    raise(Vector::GP, selector_error(g.code.selector), "a jump through a gate to {0:#x} with DPL {1}, not CPL {2}",
          g.code.selector, g.code.dpl(), c.cpl());
  check_gate_code_present(g);
  c.check_target(g.code.segment(), g.offset);
  mark_accessed(c, g.code);
  commit_code(c, g.code, c.cpl(), g.offset);
}

void far_jump(Cpu& c, const FarPointer& p) {
  if (c.real_or_v86()) {
    c.check_target(c.s.seg[CS], p.offset);
    c.load_segment_real(CS, p.selector);
    c.next_rip() = p.offset;
    return;
  }
  if (is_null(p.selector)) raise(Vector::GP, 0, "a far jump to a null selector");
  Descriptor d = fetch_descriptor(c, p.selector, Vector::GP);
  if (d.is_code()) {
    check_direct_code(c, d, p.selector);
    c.check_target(d.segment(), p.offset);
    mark_accessed(c, d);
    commit_code(c, d, c.cpl(), p.offset);
    return;
  }
  const SystemTarget kind = classify(c, d);
  if (kind == SystemTarget::CallGate) jump_through_gate(c, d);
  else transfer_to_task(c, d, kind, TaskSwitch::Jump);
}

// --- CALL
// -------------------------------------------------------------------------------------------------------------

/// The return address on the current stack.
StackFrame return_frame(Cpu& c, unsigned stack_size, unsigned size) {
  StackFrame frame(c, c.s.seg[SS], c.s.gpr[RSP], stack_size, false, 0);
  frame.push(c.s.seg[CS].selector, size);
  frame.push(c.next_rip(), size);
  frame.check();
  return frame;
}

void call_inner_ring(Cpu& c, CallGate& g) {
  const unsigned cpl = g.code.dpl();
  Segment ss = null_segment(static_cast<u16>(cpl), cpl);
  Descriptor ss_descriptor;
  u64 rsp = 0;
  const bool wide = c.long_mode();
  if (wide) {
    rsp = rsp_from_tss64(c, tss64_rsp(cpl), 0);
  } else {
    const InnerStack stack = stack_from_tss(c, cpl, 0);
    ss_descriptor = fetch_stack_segment(c, stack.ss, cpl, Vector::TS);
    ss = ss_descriptor.segment();
    rsp = stack.rsp;
  }
  StackFrame frame(c, ss, rsp, wide ? 8 : stack_bytes(ss), true, wide ? 0 : selector_error(ss.selector));
  frame.push(c.s.seg[SS].selector, g.size);
  frame.push(c.s.gpr[RSP], g.size);
  for (unsigned n = g.parameters; n-- > 0;) frame.push(c.peek_stack(n * g.size, g.size), g.size);
  frame.push(c.s.seg[CS].selector, g.size);
  frame.push(c.next_rip(), g.size);
  frame.check();
  c.check_target(g.code.segment(), g.offset);
  mark_accessed(c, g.code);
  if (!wide) {
    mark_accessed(c, ss_descriptor);
    ss = ss_descriptor.segment();
  }
  frame.write();
  c.s.seg[SS] = ss;
  c.s.gpr[RSP] = frame.rsp();
  commit_code(c, g.code, cpl, g.offset);
}

void call_through_gate(Cpu& c, const Descriptor& gate) {
  CallGate g = open_call_gate(c, gate);
  check_gate_code_present(g);
  if (!g.code.conforming() && g.code.dpl() < c.cpl()) {
    call_inner_ring(c, g);
    return;
  }
  // 64-bit code has a 64-bit stack, also when compatibility mode calls it.
  StackFrame frame = return_frame(c, c.long_mode() ? 8 : c.stack_size(), g.size);
  c.check_target(g.code.segment(), g.offset);
  mark_accessed(c, g.code);
  frame.write();
  c.s.gpr[RSP] = frame.rsp();
  commit_code(c, g.code, c.cpl(), g.offset);
}

void far_call(Cpu& c, const FarPointer& p, unsigned size) {
  if (c.real_or_v86()) {
    StackFrame frame = return_frame(c, c.stack_size(), size);
    c.check_target(c.s.seg[CS], p.offset);
    frame.write();
    c.s.gpr[RSP] = frame.rsp();
    c.load_segment_real(CS, p.selector);
    c.next_rip() = p.offset;
    return;
  }
  if (is_null(p.selector)) raise(Vector::GP, 0, "a far call to a null selector");
  Descriptor d = fetch_descriptor(c, p.selector, Vector::GP);
  if (d.is_code()) {
    check_direct_code(c, d, p.selector);
    StackFrame frame = return_frame(c, c.stack_size(), size);
    c.check_target(d.segment(), p.offset);
    mark_accessed(c, d);
    frame.write();
    c.s.gpr[RSP] = frame.rsp();
    commit_code(c, d, c.cpl(), p.offset);
    return;
  }
  const SystemTarget kind = classify(c, d);
  if (kind == SystemTarget::CallGate) call_through_gate(c, d);
  else transfer_to_task(c, d, kind, TaskSwitch::Call);
}

}  // namespace

void far_jump_direct(Cpu& c, const Insn& i) { far_jump(c, direct_pointer(i)); }
void far_jump_indirect(Cpu& c, const Insn& i) { far_jump(c, indirect_pointer(c, i)); }
void far_call_direct(Cpu& c, const Insn& i) { far_call(c, direct_pointer(i), i.width); }
void far_call_indirect(Cpu& c, const Insn& i) { far_call(c, indirect_pointer(c, i), i.width); }

// --- RET
// --------------------------------------------------------------------------------------------------------------

void far_return(Cpu& c, const Insn& i) {
  const unsigned size = i.width;
  const u64 released = i.imm & 0xFFFF;  // 0 for the form without an immediate
  const u64 rip = c.peek_stack(0, size);
  const u16 selector = static_cast<u16>(c.peek_stack(size, size));
  if (c.real_or_v86()) {
    c.check_target(c.s.seg[CS], rip);
    c.set_rsp(c.s.gpr[RSP] + 2 * size + released);
    c.load_segment_real(CS, selector);
    c.next_rip() = rip;
    return;
  }
  Descriptor cs = fetch_return_code(c, selector);
  const unsigned cpl = selector & 3;
  if (cpl == c.cpl()) {
    c.check_target(cs.segment(), rip);
    mark_accessed(c, cs);
    c.set_rsp(c.s.gpr[RSP] + 2 * size + released);
    c.s.seg[CS] = cs.segment();
  } else {
    const u64 rsp = c.peek_stack(2 * size + released, size);
    const u16 ss_selector = static_cast<u16>(c.peek_stack(3 * size + released, size));
    auto ss = fetch_return_stack(c, ss_selector, cs, cpl);
    c.check_target(cs.segment(), rip);
    commit_return(c, cs, ss, ss_selector, rsp + released, cpl);
  }
  c.next_rip() = rip;
  c.refresh();
}

}  // namespace callgate::helpers
