// Semantics of SSE3 and SSSE3, for MMX and xmm registers alike: a row's operands say which. Templates over a builder: see
// cpu/value_builder.h.
#pragma once

#include "cpu/semantics/sse_move.h"
#include "cpu/value_builder.h"
#include "cpu/vec/arithmetic.h"
#include "cpu/vec/horizontal.h"
#include "cpu/vec/shuffle.h"

namespace callgate::semantics {

#define CG_BINARY(NAME, OPERATION)                                          \
  template <class B>                                                        \
  void NAME(B& b) {                                                         \
    b.write(dst, b.op(vec::OPERATION, b.read(dst), b.read(src)));           \
  }
CG_BINARY(addsubps, addsub_f32)
CG_BINARY(addsubpd, addsub_f64)
CG_BINARY(haddps, hadd_f32)
CG_BINARY(haddpd, hadd_f64)
CG_BINARY(hsubps, hsub_f32)
CG_BINARY(hsubpd, hsub_f64)
CG_BINARY(pshufb, pshufb)
CG_BINARY(phaddw, phaddw)
CG_BINARY(phaddd, phaddd)
CG_BINARY(phaddsw, phaddsw)
CG_BINARY(phsubw, phsubw)
CG_BINARY(phsubd, phsubd)
CG_BINARY(phsubsw, phsubsw)
CG_BINARY(pmaddubsw, pmaddubsw)
CG_BINARY(pmulhrsw, pmulhrsw)
CG_BINARY(psignb, psignb)
CG_BINARY(psignw, psignw)
CG_BINARY(psignd, psignd)
#undef CG_BINARY

#define CG_UNARY(NAME)                                   \
  template <class B>                                     \
  void NAME(B& b) {                                      \
    b.write(dst, b.op(vec::NAME, b.read(src)));          \
  }
CG_UNARY(pabsb)
CG_UNARY(pabsw)
CG_UNARY(pabsd)
CG_UNARY(movsldup)
CG_UNARY(movshdup)
#undef CG_UNARY

// The source has 64 bits: the rest of the register that they are widened to is not looked at.
template <class B>
void movddup(B& b) {
  b.write(dst, b.op(vec::movddup, b.template zero_extend<typename B::template Type<0>>(b.read(src))));
}

template <class B>
void lddqu(B& b) {
  move_vector(b);
}

template <class B>
void palignr(B& b) {
  b.write(dst, b.op(vec::palignr, b.read(dst), b.read(src), b.read(src2)));
}

}  // namespace callgate::semantics
