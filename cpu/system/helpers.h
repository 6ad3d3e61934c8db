// The system instructions that are one C++ function each, called by every engine (CG_HELPER rows of
// cpu/table/system.cpp).
#pragma once

#include "cpu/value_builder.h"

namespace callgate::helpers {

// control.cpp
void mov_from_cr(Cpu& c, const Insn& i);
void mov_to_cr(Cpu& c, const Insn& i);
void lmsw(Cpu& c, const Insn& i);
void smsw(Cpu& c, const Insn& i);
void clts(Cpu& c, const Insn& i);
void stac(Cpu& c, const Insn& i);
void clac(Cpu& c, const Insn& i);

// tables.cpp
void lgdt(Cpu& c, const Insn& i);
void lidt(Cpu& c, const Insn& i);
void sgdt(Cpu& c, const Insn& i);
void sidt(Cpu& c, const Insn& i);
void invlpg(Cpu& c, const Insn& i);
void invpcid(Cpu& c, const Insn& i);
void invd(Cpu& c, const Insn& i);
void wbinvd(Cpu& c, const Insn& i);

// identity.cpp
void cpuid(Cpu& c, const Insn& i);
void rdtsc(Cpu& c, const Insn& i);
void rdtscp(Cpu& c, const Insn& i);
void rdpmc(Cpu& c, const Insn& i);
void vmcall(Cpu& c, const Insn& i);
void xgetbv(Cpu& c, const Insn& i);
void xsetbv(Cpu& c, const Insn& i);

// random.cpp
void rdrand(Cpu& c, const Insn& i);
void rdseed(Cpu& c, const Insn& i);

// idle.cpp
void hlt(Cpu& c, const Insn& i);
void monitor(Cpu& c, const Insn& i);
void mwait(Cpu& c, const Insn& i);

// msr.cpp
void rdmsr(Cpu& c, const Insn& i);
void wrmsr(Cpu& c, const Insn& i);

// debug.cpp
void mov_from_dr(Cpu& c, const Insn& i);
void mov_to_dr(Cpu& c, const Insn& i);

// io.cpp
void in(Cpu& c, const Insn& i);
void out(Cpu& c, const Insn& i);

}  // namespace callgate::helpers
