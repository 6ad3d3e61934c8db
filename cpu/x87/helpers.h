// The x87 instructions: one C++ function each, called by every engine (CG_HELPER rows of cpu/table/x87.cpp). A function
// that serves several encodings tells them apart by Insn::opcode and the form of its operand.
#pragma once

#include "cpu/insn.h"

namespace callgate::helpers {

// arithmetic.cpp
void fadd(Cpu& c, const Insn& i);
void fmul(Cpu& c, const Insn& i);
void fsub(Cpu& c, const Insn& i);
void fsubr(Cpu& c, const Insn& i);
void fdiv(Cpu& c, const Insn& i);
void fdivr(Cpu& c, const Insn& i);
void fchs(Cpu& c, const Insn& i);
void fabs(Cpu& c, const Insn& i);
void fsqrt(Cpu& c, const Insn& i);
void frndint(Cpu& c, const Insn& i);
void fprem(Cpu& c, const Insn& i);
void fprem1(Cpu& c, const Insn& i);
void fscale(Cpu& c, const Insn& i);
void fxtract(Cpu& c, const Insn& i);

// compare.cpp
void fcom(Cpu& c, const Insn& i);
void fcomp(Cpu& c, const Insn& i);
void fcompp(Cpu& c, const Insn& i);
void fucom(Cpu& c, const Insn& i);
void fucomp(Cpu& c, const Insn& i);
void fucompp(Cpu& c, const Insn& i);
void fcomi(Cpu& c, const Insn& i);
void fcomip(Cpu& c, const Insn& i);
void fucomi(Cpu& c, const Insn& i);
void fucomip(Cpu& c, const Insn& i);
void ftst(Cpu& c, const Insn& i);
void fxam(Cpu& c, const Insn& i);
void fcmov(Cpu& c, const Insn& i);

// move.cpp
void fld_m32(Cpu& c, const Insn& i);
void fld_m64(Cpu& c, const Insn& i);
void fld_m80(Cpu& c, const Insn& i);
void fild_m16(Cpu& c, const Insn& i);
void fild_m32(Cpu& c, const Insn& i);
void fild_m64(Cpu& c, const Insn& i);
void fbld(Cpu& c, const Insn& i);
void fst_m32(Cpu& c, const Insn& i);
void fstp_m32(Cpu& c, const Insn& i);
void fst_m64(Cpu& c, const Insn& i);
void fstp_m64(Cpu& c, const Insn& i);
void fstp_m80(Cpu& c, const Insn& i);
void fist_m16(Cpu& c, const Insn& i);
void fistp_m16(Cpu& c, const Insn& i);
void fist_m32(Cpu& c, const Insn& i);
void fistp_m32(Cpu& c, const Insn& i);
void fistp_m64(Cpu& c, const Insn& i);
void fisttp_m16(Cpu& c, const Insn& i);
void fisttp_m32(Cpu& c, const Insn& i);
void fisttp_m64(Cpu& c, const Insn& i);
void fbstp(Cpu& c, const Insn& i);
void fld_sti(Cpu& c, const Insn& i);
void fst_sti(Cpu& c, const Insn& i);
void fstp_sti(Cpu& c, const Insn& i);
void fstp_unchecked(Cpu& c, const Insn& i);
void fld_constant(Cpu& c, const Insn& i);
void fxch(Cpu& c, const Insn& i);
void ffree(Cpu& c, const Insn& i);
void ffreep(Cpu& c, const Insn& i);
void fincstp(Cpu& c, const Insn& i);
void fdecstp(Cpu& c, const Insn& i);
void fnop(Cpu& c, const Insn& i);

// transcendental.cpp
void f2xm1(Cpu& c, const Insn& i);
void fyl2x(Cpu& c, const Insn& i);
void fyl2xp1(Cpu& c, const Insn& i);
void fpatan(Cpu& c, const Insn& i);
void fptan(Cpu& c, const Insn& i);
void fsin(Cpu& c, const Insn& i);
void fcos(Cpu& c, const Insn& i);
void fsincos(Cpu& c, const Insn& i);

// control.cpp
void fninit(Cpu& c, const Insn& i);
void fnclex(Cpu& c, const Insn& i);
void fn_nothing(Cpu& c, const Insn& i);
void fldcw(Cpu& c, const Insn& i);
void fnstcw(Cpu& c, const Insn& i);
void fnstsw(Cpu& c, const Insn& i);
void fnstenv(Cpu& c, const Insn& i);
void fldenv(Cpu& c, const Insn& i);
void fnsave(Cpu& c, const Insn& i);
void frstor(Cpu& c, const Insn& i);
void fwait(Cpu& c, const Insn& i);

}  // namespace callgate::helpers
