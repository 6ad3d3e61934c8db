// Data instructions that are one C++ function for every engine: they depend on mode, privilege or several operands in ways
// that a template over a builder would only hide.
#pragma once

#include "cpu/cpu.h"

namespace callgate::helpers {

void pusha(Cpu& c, const Insn& i);
void popa(Cpu& c, const Insn& i);
void pushf(Cpu& c, const Insn& i);
void popf(Cpu& c, const Insn& i);
void cli(Cpu& c, const Insn& i);
void sti(Cpu& c, const Insn& i);
void enter(Cpu& c, const Insn& i);
void bound(Cpu& c, const Insn& i);
void cmpxchg8b(Cpu& c, const Insn& i);
void cmpxchg16b(Cpu& c, const Insn& i);
void xlat(Cpu& c, const Insn& i);
void ud0(Cpu& c, const Insn& i);
void ud1(Cpu& c, const Insn& i);
void ud2(Cpu& c, const Insn& i);

}  // namespace callgate::helpers
