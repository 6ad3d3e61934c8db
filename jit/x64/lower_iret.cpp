// IRETQ in its usual case: in ring 0, to 64-bit code of ring 0 or 3, by the flat descriptors that every kernel has, with
// nothing in the flags that changes how code is executed. All of it is looked at before anything changes; else the handler
// does it. See lower_system.cpp for what holds while emitted code runs.
#include "cpu/system/segments.h"
#include "cpu/system/syscall.h"
#include "jit/x64/emitter.h"

namespace callgate::jit::x64 {

namespace {

constexpr u32 kUnusual = kTF | kNT | kAC | kVIF | kVIP;
/// What IRET takes from the frame at CPL 0 and kUnusual leaves, but RF: it covers the next instruction only, and nobody sees
/// that it went one instruction early when no event waits and that instruction belongs to this run.
constexpr u32 kTaken = kArithmetic | kDF | kIF | kIOPL | kID;

/// A flat, present and accessed segment as the GDT has it. SDM 3A 3.4.5.
constexpr u64 flat_descriptor(unsigned dpl, bool code) {
  constexpr u64 kCode = 0x00AF9B000000FFFF, kStack = 0x00CF93000000FFFF;
  return (code ? kCode : kStack) | u64{dpl} << 45;
}
static_assert((flat_descriptor(3, true) >> 40 & 0xF0FF) == flat_code_rights(3, kRightsL));
static_assert((flat_descriptor(0, false) >> 40 & 0xF0FF) == flat_stack_rights(0));

// The frame, SDM 3A 6.14.
constexpr i32 kRip = 0, kCs = 8, kFlags = 16, kRsp = 24, kSs = 32, kFrameBytes = 40;

}  // namespace

// rax: a linear address, and then the host's of `size` bytes there that may be read. rcx and rdx are overwritten.
void Emitter::look_up_read(unsigned size, const asmjit::Label& otherwise) {
  a_.rorx(x86::ecx, x86::eax, kPageShift - 3);
  a_.and_(x86::ecx, (TlbTable::kSlots - 1) << 3);
  a_.mov(x86::rdx, x86::ptr(kTlb, x86::rcx, 0, static_cast<i32>(offsetof(TlbTable, read_tag))));
  a_.xor_(x86::rdx, x86::rax);
  a_.cmp(x86::rdx, static_cast<i32>(kPageSize - size));
  a_.ja(otherwise);
  a_.add(x86::rax, x86::ptr(kTlb, x86::rcx, 0, static_cast<i32>(offsetof(TlbTable, addend))));
}

// The selector at `offset` of the frame (kTemp0) is one of the GDT's flat segments for privilege level `dpl`.
void Emitter::require_flat(i32 offset, unsigned dpl, bool code, const asmjit::Label& slow) {
  a_.mov(x86::rax, slot(kTemp0));
  a_.movzx(x86::eax, x86::ptr(x86::rax, offset, 2));
  a_.mov(x86::ecx, x86::eax);
  a_.and_(x86::ecx, 7);  // the LDT's bit, too
  a_.cmp(x86::ecx, dpl);
  a_.jne(slow);
  a_.mov(x86::ecx, x86::eax);
  a_.or_(x86::ecx, 7);
  a_.cmp(x86::cx, field(offsetof(CpuState, gdtr) + offsetof(TableRegister, limit), 2));
  a_.ja(slow);
  a_.and_(x86::eax, ~7u);
  a_.add(x86::rax, field(offsetof(CpuState, gdtr) + offsetof(TableRegister, base), 8));
  look_up_read(8, slow);
  a_.mov(x86::rcx, flat_descriptor(dpl, code));
  a_.cmp(x86::ptr(x86::rax, 0, 8), x86::rcx);
  a_.jne(slow);
}

void Emitter::return_by_frame(unsigned dpl, const asmjit::Label& slow) {
  require_flat(kCs, dpl, true, slow);
  // Ring 0 may have a null stack segment, and Linux has.
  asmjit::Label stack_known = a_.newLabel();
  if (dpl == 0) {
    a_.mov(x86::rax, slot(kTemp0));
    a_.cmp(x86::ptr(x86::rax, kSs, 2), 0);
    a_.je(stack_known);
  }
  require_flat(kSs, dpl, false, slow);
  a_.bind(stack_known);
  if (dpl == 3) {  // data segments of inner rings become null: all four are already
    for (const SegReg seg : {ES, DS, FS, GS}) {
      a_.cmp(segment_field(seg, offsetof(Segment, selector), 2), 0);
      a_.jne(slow);
      a_.test(segment_field(seg, offsetof(Segment, rights), 4), kRightsUnusable);
      a_.jz(slow);
    }
  }
  a_.mov(x86::rax, slot(kTemp0));
  const auto keep = [&](Slot s, i32 offset, bool selector) {
    if (selector) a_.movzx(x86::ecx, x86::ptr(x86::rax, offset, 2));
    else a_.mov(x86::rcx, x86::ptr(x86::rax, offset, 8));
    a_.mov(slot(s), x86::rcx);
  };
  keep(kTemp1, kRip, false);
  keep(kTemp2, kCs, true);
  keep(kTemp3, kSs, true);
  a_.mov(gp(kHostOf[RSP], 8), x86::ptr(x86::rax, kRsp, 8));
  a_.mov(x86::eax, x86::ptr(x86::rax, kFlags, 4));
  a_.and_(x86::eax, kTaken);
  write_flags_from_eax();
  a_.mov(x86::rax, slot(kTemp2));
  a_.mov(x86::rdx, slot(kTemp3));
  load_flat_segments(dpl);
  if (dpl == 0) {
    asmjit::Label flat = a_.newLabel();
    a_.cmp(slot(kTemp3, 2), 0);
    a_.jne(flat);
    a_.mov(x86::rcx, u64{null_segment(0).rights} << 32 | null_segment(0).limit);
    a_.mov(segment_field(SS, offsetof(Segment, limit), 8), x86::rcx);
    a_.bind(flat);
  }
  if (dpl == 3) enter_context(AccessContext::User);
  a_.mov(x86::rax, slot(kTemp1));
  a_.jmp(reinterpret_cast<u64>(context_.thunks.transfer));
}
static_assert(is_pinned(RSP));

void Emitter::emit_iretq(const asmjit::Label& slow) {
  asmjit::Label outer = a_.newLabel();
  require_ring0(slow);
  a_.test(field(offsetof(CpuState, flags) + Flags::other_offset(), 4), kNT | kAC);
  a_.jnz(slow);
  a_.cmp(field(offsetof(CpuState, nmi_blocked), 1), 0);
  a_.jne(slow);
  a_.cmp(far_slot(kEventsWait, 1), 0);
  a_.jne(slow);
  a_.cmp(slot(kBudget), 0);
  a_.je(slow);
  a_.mov(x86::rax, gp(kHostOf[RSP], 8));
  look_up_read(kFrameBytes, slow);
  a_.mov(slot(kTemp0), x86::rax);
  a_.test(x86::ptr(x86::rax, kFlags, 4), kUnusual);
  a_.jnz(slow);
  a_.mov(x86::rcx, x86::ptr(x86::rax, kRip, 8));
  a_.mov(x86::rdx, x86::rcx);
  a_.shl(x86::rdx, 64 - kLinearBits);
  a_.sar(x86::rdx, 64 - kLinearBits);
  a_.cmp(x86::rdx, x86::rcx);
  a_.jne(slow);
  a_.test(x86::ptr(x86::rax, kCs, 1), 3);
  a_.jnz(outer);
  return_by_frame(0, slow);
  a_.bind(outer);
  return_by_frame(3, slow);
}

}  // namespace callgate::jit::x64
