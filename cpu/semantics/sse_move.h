// Semantics of SSE's moves and shuffles of floating-point registers. A move's operand sizes say all: a destination wider
// than the source is filled up with zeros, a narrower one (movss between registers) keeps its other lanes. Alignment is the
// operand's too. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/value_builder.h"
#include "cpu/vec/shuffle.h"

namespace callgate::semantics {

template <class B>
void move_vector(B& b) {
  b.write(dst, b.template zero_extend<typename B::template Type<0>>(b.read(src)));
}

#define CG_MOVE(NAME)   \
  template <class B>    \
  void NAME(B& b) {     \
    move_vector(b);     \
  }
CG_MOVE(movaps)
CG_MOVE(movapd)
CG_MOVE(movups)
CG_MOVE(movupd)
CG_MOVE(movdqa)
CG_MOVE(movdqu)
CG_MOVE(movss)
CG_MOVE(movsd)
CG_MOVE(movd)
CG_MOVE(movq)
CG_MOVE(movq2dq)
CG_MOVE(movdq2q)
CG_MOVE(movntps)
CG_MOVE(movntpd)
CG_MOVE(movntdq)
CG_MOVE(movntq)
CG_MOVE(movlps)
CG_MOVE(movlpd)
#undef CG_MOVE

template <class B>
void movhlps(B& b) {
  b.write(dst, b.op(vec::high_half, b.read(src)));
}

template <class B>
void movlhps(B& b) {
  b.write(dst, b.op(vec::with_high_half, b.read(dst), b.read(src)));
}

// A load goes to the upper half, a store comes from it.
template <class B>
void movhps(B& b) {
  if constexpr (B::template in_memory<0>) movhlps(b);
  else movlhps(b);
}

template <class B>
void movhpd(B& b) {
  movhps(b);
}

template <class B>
void unpcklps(B& b) {
  b.write(dst, b.op(vec::punpckldq, b.read(dst), b.read(src)));
}

template <class B>
void unpcklpd(B& b) {
  b.write(dst, b.op(vec::punpcklqdq, b.read(dst), b.read(src)));
}

template <class B>
void unpckhps(B& b) {
  b.write(dst, b.op(vec::punpckhdq, b.read(dst), b.read(src)));
}

template <class B>
void unpckhpd(B& b) {
  b.write(dst, b.op(vec::punpckhqdq, b.read(dst), b.read(src)));
}

template <class B>
void shufps(B& b) {
  b.write(dst, b.op(vec::shufps, b.read(dst), b.read(src), b.read(src2)));
}

template <class B>
void shufpd(B& b) {
  b.write(dst, b.op(vec::shufpd, b.read(dst), b.read(src), b.read(src2)));
}

template <class B>
void movmskps(B& b) {
  b.write(dst, b.op(vec::movmskps, b.read(src)));
}

template <class B>
void movmskpd(B& b) {
  b.write(dst, b.op(vec::movmskpd, b.read(src)));
}

}  // namespace callgate::semantics
