// The AVX instructions whose work is one C++ function, called by every engine.
#pragma once

#include "cpu/cpu.h"

namespace callgate::helpers {

void gather(Cpu& c, const Insn& i);
void vzeroupper(Cpu& c, const Insn& i);
void vzeroall(Cpu& c, const Insn& i);

}  // namespace callgate::helpers
