// MOVS, CMPS, STOS, LODS, SCAS, INS and OUTS: one C++ function each for every engine. See string_work.h for the REP rule.
#pragma once

#include "cpu/cpu.h"

namespace callgate::helpers {

// The byte forms, and the forms of the operand size.
void movsb(Cpu& c, const Insn& i);
void movs(Cpu& c, const Insn& i);
void cmpsb(Cpu& c, const Insn& i);
void cmps(Cpu& c, const Insn& i);
void stosb(Cpu& c, const Insn& i);
void stos(Cpu& c, const Insn& i);
void lodsb(Cpu& c, const Insn& i);
void lods(Cpu& c, const Insn& i);
void scasb(Cpu& c, const Insn& i);
void scas(Cpu& c, const Insn& i);
void insb(Cpu& c, const Insn& i);
void ins(Cpu& c, const Insn& i);
void outsb(Cpu& c, const Insn& i);
void outs(Cpu& c, const Insn& i);

}  // namespace callgate::helpers
