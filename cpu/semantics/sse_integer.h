// Semantics of packed integers, for MMX and xmm registers alike: a row's operands say which. Templates over a builder: see
// cpu/value_builder.h.
#pragma once

#include "cpu/value_builder.h"
#include "cpu/vec/arithmetic.h"
#include "cpu/vec/shift.h"
#include "cpu/vec/shuffle.h"

namespace callgate::semantics {

// dst = dst OP src. The unpacking of low halves reads just half as much from memory for MMX (mm/m32): the operand is
// widened to the register.
#define CG_PACKED(NAME)                                                                        \
  template <class B>                                                                           \
  void NAME(B& b) {                                                                            \
    using V = typename B::template Type<0>;                                                    \
    b.write(dst, b.op(vec::NAME, b.read(dst), b.template zero_extend<V>(b.read(src))));        \
  }
CG_PACKED(paddb)
CG_PACKED(paddw)
CG_PACKED(paddd)
CG_PACKED(paddq)
CG_PACKED(psubb)
CG_PACKED(psubw)
CG_PACKED(psubd)
CG_PACKED(psubq)
CG_PACKED(paddsb)
CG_PACKED(paddsw)
CG_PACKED(paddusb)
CG_PACKED(paddusw)
CG_PACKED(psubsb)
CG_PACKED(psubsw)
CG_PACKED(psubusb)
CG_PACKED(psubusw)
CG_PACKED(pmullw)
CG_PACKED(pmulhw)
CG_PACKED(pmulhuw)
CG_PACKED(pmuludq)
CG_PACKED(pmaddwd)
CG_PACKED(psadbw)
CG_PACKED(pavgb)
CG_PACKED(pavgw)
CG_PACKED(pminub)
CG_PACKED(pmaxub)
CG_PACKED(pminsw)
CG_PACKED(pmaxsw)
CG_PACKED(pcmpeqb)
CG_PACKED(pcmpeqw)
CG_PACKED(pcmpeqd)
CG_PACKED(pcmpgtb)
CG_PACKED(pcmpgtw)
CG_PACKED(pcmpgtd)
CG_PACKED(pand)
CG_PACKED(pandn)
CG_PACKED(por)
CG_PACKED(pxor)
CG_PACKED(packsswb)
CG_PACKED(packssdw)
CG_PACKED(packuswb)
CG_PACKED(punpcklbw)
CG_PACKED(punpcklwd)
CG_PACKED(punpckldq)
CG_PACKED(punpcklqdq)
CG_PACKED(punpckhbw)
CG_PACKED(punpckhwd)
CG_PACKED(punpckhdq)
CG_PACKED(punpckhqdq)
#undef CG_PACKED

// The count: an immediate, or the low 64 bits of the source (all of which must be readable and aligned).
template <class B>
auto shift_count(B& b) {
  auto count = b.read(src);
  if constexpr (sizeof(typename decltype(count)::type) < 8) return b.template zero_extend<u64>(count);
  else return b.template truncate<u64>(count);
}
#define CG_PACKED_SHIFT(NAME)                                       \
  template <class B>                                                \
  void NAME(B& b) {                                                 \
    b.write(dst, b.op(vec::NAME, b.read(dst), shift_count(b)));     \
  }
CG_PACKED_SHIFT(psllw)
CG_PACKED_SHIFT(pslld)
CG_PACKED_SHIFT(psllq)
CG_PACKED_SHIFT(psrlw)
CG_PACKED_SHIFT(psrld)
CG_PACKED_SHIFT(psrlq)
CG_PACKED_SHIFT(psraw)
CG_PACKED_SHIFT(psrad)
CG_PACKED_SHIFT(pslldq)
CG_PACKED_SHIFT(psrldq)
#undef CG_PACKED_SHIFT

template <class B>
void pshufd(B& b) {
  b.write(dst, b.op(vec::pshufd, b.read(src), b.read(src2)));
}

template <class B>
void pshuflw(B& b) {
  b.write(dst, b.op(vec::pshuflw, b.read(src), b.read(src2)));
}

template <class B>
void pshufhw(B& b) {
  b.write(dst, b.op(vec::pshufhw, b.read(src), b.read(src2)));
}

template <class B>
void pshufw(B& b) {
  pshuflw(b);
}

template <class B>
void pextrw(B& b) {
  b.write(dst, b.template zero_extend<typename B::template Type<0>>(b.op(vec::pextrw, b.read(src), b.read(src2))));
}

template <class B>
void pinsrw(B& b) {
  b.write(dst, b.op(vec::pinsrw, b.read(dst), b.read(src), b.read(src2)));
}

template <class B>
void pmovmskb(B& b) {
  b.write(dst, b.op(vec::pmovmskb, b.read(src)));
}

// Where the mask selects nothing, nothing is accessed and nothing faults: the manual leaves that open.
template <class B>
void maskmovq(B& b) {
  b.masked_store(b.read(dst), b.read(src));
}

template <class B>
void maskmovdqu(B& b) {
  maskmovq(b);
}

}  // namespace callgate::semantics
