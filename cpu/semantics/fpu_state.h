// The work of instructions that save, load or reset the floating-point units' state as a whole. The layouts are in
// fpu_state.cpp.
#pragma once

#include "cpu/cpu.h"

namespace callgate {

/// Where the upper halves of the YMM registers lie in XSAVE's area, and its size without and with them. CPUID leaf 0Dh.
constexpr unsigned kXsaveAvxOffset = 576, kXsaveAvxSize = 256;

}  // namespace callgate

namespace callgate::helpers {

void emms(Cpu& c, const Insn& i);
void ldmxcsr(Cpu& c, const Insn& i);
void stmxcsr(Cpu& c, const Insn& i);
void fxsave(Cpu& c, const Insn& i);
void fxrstor(Cpu& c, const Insn& i);
void xsave(Cpu& c, const Insn& i);
void xsaveopt(Cpu& c, const Insn& i);
void xsavec(Cpu& c, const Insn& i);
void xrstor(Cpu& c, const Insn& i);
// The forms with REX.W differ in nothing but the pointers' format, which the instruction says.
inline void fxsave64(Cpu& c, const Insn& i) { fxsave(c, i); }
inline void fxrstor64(Cpu& c, const Insn& i) { fxrstor(c, i); }
inline void xsave64(Cpu& c, const Insn& i) { xsave(c, i); }
inline void xsaveopt64(Cpu& c, const Insn& i) { xsaveopt(c, i); }
inline void xsavec64(Cpu& c, const Insn& i) { xsavec(c, i); }
inline void xrstor64(Cpu& c, const Insn& i) { xrstor(c, i); }

/// XINUSE: the components of extended state that are not in their initial state.
u64 components_in_use(const Cpu& c);

}  // namespace callgate::helpers
