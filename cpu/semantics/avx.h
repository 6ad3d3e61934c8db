// Semantics of what AVX and AVX2 have and SSE has not. What they share with SSE is in sse_*.h: the builder knows the separate
// source (cpu/value_builder.h, `Vex`). Templates over a builder.
#pragma once

#include "cpu/semantics/sse4.h"
#include "cpu/value_builder.h"
#include "cpu/vec/permute.h"
#include "cpu/vec/shuffle.h"

namespace callgate::semantics {

template <class B>
void permilps(B& b) {
  if constexpr (B::template spec<2>.kind == 'I') b.write(dst, b.op(vec::pshufd, b.read(src), b.read(src2)));
  else b.write(dst, b.op(vec::permilps, b.read(dst), b.read(src)));
}

template <class B>
void permilpd(B& b) {
  if constexpr (B::template spec<2>.kind == 'I') b.write(dst, b.op(vec::permilpd_by_bits, b.read(src), b.read(src2)));
  else b.write(dst, b.op(vec::permilpd, b.read(dst), b.read(src)));
}

// dst = dst OP src, dst = dst OP src by an immediate, dst = src by an immediate.
#define CG_AVX_BINARY(NAME, OPERATION)                               \
  template <class B>                                                 \
  void NAME(B& b) {                                                  \
    b.write(dst, b.op(vec::OPERATION, b.read(dst), b.read(src)));    \
  }
#define CG_AVX_TERNARY(NAME, OPERATION)                                           \
  template <class B>                                                              \
  void NAME(B& b) {                                                               \
    b.write(dst, b.op(vec::OPERATION, b.read(dst), b.read(src), b.read(src2)));   \
  }
#define CG_AVX_BY_IMMEDIATE(NAME, OPERATION)                          \
  template <class B>                                                  \
  void NAME(B& b) {                                                   \
    b.write(dst, b.op(vec::OPERATION, b.read(src), b.read(src2)));    \
  }
CG_AVX_TERNARY(perm2f128, perm2x128)
CG_AVX_TERNARY(perm2i128, perm2x128)
CG_AVX_TERNARY(insertf128, insert128)
CG_AVX_TERNARY(inserti128, insert128)
CG_AVX_BY_IMMEDIATE(extractf128, extract128)
CG_AVX_BY_IMMEDIATE(extracti128, extract128)
CG_AVX_BINARY(permd, permd)
CG_AVX_BINARY(permps, permd)
CG_AVX_BY_IMMEDIATE(permq, permq)
CG_AVX_BY_IMMEDIATE(permpd, permq)
CG_AVX_TERNARY(pblendd, pblendd)
CG_AVX_BINARY(psllvd, psllvd)
CG_AVX_BINARY(psllvq, psllvq)
CG_AVX_BINARY(psrlvd, psrlvd)
CG_AVX_BINARY(psrlvq, psrlvq)
CG_AVX_BINARY(psravd, psravd)
#undef CG_AVX_BINARY
#undef CG_AVX_TERNARY
#undef CG_AVX_BY_IMMEDIATE

template <class B>
void broadcastss(B& b) {
  b.write(dst, b.op(vec::broadcast<typename B::template Type<0>>, b.read(src)));
}
#define CG_BROADCAST(NAME) \
  template <class B>       \
  void NAME(B& b) {        \
    broadcastss(b);        \
  }
CG_BROADCAST(broadcastsd)
CG_BROADCAST(broadcastf128)
CG_BROADCAST(broadcasti128)
CG_BROADCAST(pbroadcastb)
CG_BROADCAST(pbroadcastw)
CG_BROADCAST(pbroadcastd)
CG_BROADCAST(pbroadcastq)
#undef CG_BROADCAST

template <class B>
void testps(B& b) {
  b.op(vec::testps, b.read(dst), b.read(src));
}

template <class B>
void testpd(B& b) {
  b.op(vec::testpd, b.read(dst), b.read(src));
}

// VPEXTRD and VPEXTRQ are one instruction of two operand sizes, and so are VPINSRD and VPINSRQ.
template <class B>
void pextr_by_size(B& b) {
  if constexpr (B::width == 8) pextrq(b);
  else pextrd(b);
}
template <class B>
void pinsr_by_size(B& b) {
  if constexpr (B::width == 8) pinsrq(b);
  else pinsrd(b);
}

// The mask is the separate source. What it doesn't select is not accessed.
template <class Lane, class B>
void masked_move(B& b) {
  if constexpr (B::template written<0>.kind == 'M') b.template store_lanes<Lane>(b.read(src), b.read(dst));
  else b.write(dst, b.template load_lanes<Lane>(b.read(dst)));
}
template <class B>
void maskmovps(B& b) {
  masked_move<u32>(b);
}
template <class B>
void maskmovpd(B& b) {
  masked_move<u64>(b);
}
template <class B>
void pmaskmovd(B& b) {
  masked_move<u32>(b);
}
template <class B>
void pmaskmovq(B& b) {
  masked_move<u64>(b);
}

}  // namespace callgate::semantics
