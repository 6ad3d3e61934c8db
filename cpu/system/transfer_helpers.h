// The helpers behind the rows of cpu/table/transfer.cpp.
#pragma once

#include "cpu/value_builder.h"

namespace callgate::helpers {

// far_transfer.cpp
void far_jump_direct(Cpu& c, const Insn& i);
void far_jump_indirect(Cpu& c, const Insn& i);
void far_call_direct(Cpu& c, const Insn& i);
void far_call_indirect(Cpu& c, const Insn& i);
void far_return(Cpu& c, const Insn& i);

// iret.cpp
void iret(Cpu& c, const Insn& i);

// software_interrupt.cpp
void int_n(Cpu& c, const Insn& i);
void int3(Cpu& c, const Insn& i);
void into(Cpu& c, const Insn& i);
void int1(Cpu& c, const Insn& i);

// segment_moves.cpp
void mov_from_segment(Cpu& c, const Insn& i);
void mov_to_segment(Cpu& c, const Insn& i);
template <SegReg kSeg>
void push_segment(Cpu& c, const Insn& i);
template <SegReg kSeg>
void pop_segment(Cpu& c, const Insn& i);
template <SegReg kSeg>
void load_far_pointer(Cpu& c, const Insn& i);

// descriptor_queries.cpp
void sldt(Cpu& c, const Insn& i);
void str(Cpu& c, const Insn& i);
void lldt(Cpu& c, const Insn& i);
void ltr(Cpu& c, const Insn& i);
void lar(Cpu& c, const Insn& i);
void lsl(Cpu& c, const Insn& i);
void verr(Cpu& c, const Insn& i);
void verw(Cpu& c, const Insn& i);
void arpl(Cpu& c, const Insn& i);

// syscall.cpp
void syscall(Cpu& c, const Insn& i);
void sysret(Cpu& c, const Insn& i);
void sysenter(Cpu& c, const Insn& i);
void sysexit(Cpu& c, const Insn& i);
void swapgs(Cpu& c, const Insn& i);
void rdfsbase(Cpu& c, const Insn& i);
void rdgsbase(Cpu& c, const Insn& i);
void wrfsbase(Cpu& c, const Insn& i);
void wrgsbase(Cpu& c, const Insn& i);

/// The r/m operand as a 16-bit selector.
inline u16 read_selector(Cpu& c, const Insn& i) {
  if (!i.is_memory) return c.gpr<u16>(i.rm);
  return c.load<u16>(static_cast<SegReg>(i.seg), effective_address(c, i));
}

/// Writes a register of the operand size; a 16-bit one keeps the rest.
inline void write_register(Cpu& c, unsigned reg, unsigned width, u64 value) {
  switch (width) {
    case 2: c.set_gpr<u16>(reg, static_cast<u16>(value)); break;
    case 4: c.set_gpr<u32>(reg, static_cast<u32>(value)); break;
    default: c.set_gpr<u64>(reg, value);
  }
}

/// A selector to r/m: memory takes 16 bits whatever the operand size.
inline void write_selector(Cpu& c, const Insn& i, u16 value) {
  if (i.is_memory) c.store<u16>(static_cast<SegReg>(i.seg), effective_address(c, i), value);
  else write_register(c, i.rm, i.width, value);
}

}  // namespace callgate::helpers
