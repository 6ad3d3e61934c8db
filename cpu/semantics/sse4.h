// Semantics of SSE4.1 and SSE4.2's vector instructions. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include <type_traits>

#include "cpu/semantics/sse_integer.h"
#include "cpu/semantics/sse_move.h"
#include "cpu/value_builder.h"
#include "cpu/vec/arithmetic.h"
#include "cpu/vec/blend.h"
#include "cpu/vec/float.h"
#include "cpu/vec/horizontal.h"
#include "cpu/vec/shuffle.h"
#include "cpu/vec/string_compare.h"

namespace callgate::semantics {

#define CG_BINARY(NAME)                                                     \
  template <class B>                                                        \
  void NAME(B& b) {                                                         \
    b.write(dst, b.op(vec::NAME, b.read(dst), b.read(src)));                \
  }
CG_BINARY(pmuldq)
CG_BINARY(pmulld)
CG_BINARY(pcmpeqq)
CG_BINARY(pcmpgtq)
CG_BINARY(packusdw)
CG_BINARY(pminsb)
CG_BINARY(pminsd)
CG_BINARY(pminuw)
CG_BINARY(pminud)
CG_BINARY(pmaxsb)
CG_BINARY(pmaxsd)
CG_BINARY(pmaxuw)
CG_BINARY(pmaxud)
#undef CG_BINARY

// dst = OP(dst, src, src2): src2 is an immediate, or XMM0.
#define CG_TERNARY(NAME, OPERATION)                                                           \
  template <class B>                                                                          \
  void NAME(B& b) {                                                                           \
    b.write(dst, b.op(vec::OPERATION, b.read(dst), b.read(src), b.read(src2)));               \
  }
CG_TERNARY(pblendvb, pblendvb)
CG_TERNARY(blendvps, blendv_f32)
CG_TERNARY(blendvpd, blendv_f64)
CG_TERNARY(pblendw, pblendw)
CG_TERNARY(blendps, blend_f32)
CG_TERNARY(blendpd, blend_f64)
CG_TERNARY(dpps, dot_f32)
CG_TERNARY(dppd, dot_f64)
CG_TERNARY(mpsadbw, mpsadbw)
CG_TERNARY(pinsrd, pinsrd)
CG_TERNARY(pinsrq, pinsrq)
#undef CG_TERNARY

#define CG_EXTEND(NAME)                                                                       \
  template <class B>                                                                          \
  void NAME(B& b) {                                                                           \
    b.write(dst, b.op(vec::NAME<typename B::template Type<0>>, b.read(src)));                 \
  }
CG_EXTEND(pmovsxbw)
CG_EXTEND(pmovsxbd)
CG_EXTEND(pmovsxbq)
CG_EXTEND(pmovsxwd)
CG_EXTEND(pmovsxwq)
CG_EXTEND(pmovsxdq)
CG_EXTEND(pmovzxbw)
CG_EXTEND(pmovzxbd)
CG_EXTEND(pmovzxbq)
CG_EXTEND(pmovzxwd)
CG_EXTEND(pmovzxwq)
CG_EXTEND(pmovzxdq)
#undef CG_EXTEND

#define CG_ROUND(NAME, OPERATION)                                           \
  template <class B>                                                        \
  void NAME(B& b) {                                                         \
    b.write(dst, b.op(vec::OPERATION, b.read(src), b.read(src2)));          \
  }
CG_ROUND(roundps, round_f32)
CG_ROUND(roundpd, round_f64)
CG_ROUND(roundss, round_f32)
CG_ROUND(roundsd, round_f64)
#undef CG_ROUND

template <class B>
void phminposuw(B& b) {
  b.write(dst, b.op(vec::phminposuw, b.read(src)));
}

template <class B>
void ptest(B& b) {
  b.op(vec::ptest, b.read(dst), b.read(src));
}

template <class B>
void movntdqa(B& b) {
  move_vector(b);
}

// A general register gets the lane zero-extended to 32 bits, memory just the lane. (PEXTRW is SSE2's.)
template <class B, class Op>
void extract_lane(B& b, const Op& operation) {
  b.write(dst, b.template zero_extend<typename B::template Type<0>>(b.op(operation, b.read(src), b.read(src2))));
}

template <class B>
void pextrb(B& b) {
  extract_lane(b, vec::pextrb);
}
template <class B>
void pextrd(B& b) {
  extract_lane(b, vec::pextrd);
}
template <class B>
void pextrq(B& b) {
  extract_lane(b, vec::pextrq);
}
template <class B>
void extractps(B& b) {
  extract_lane(b, vec::pextrd);
}

template <class B>
void pinsrb(B& b) {
  b.write(dst, b.op(vec::pinsrb, b.read(dst), b.template truncate<u8>(b.read(src)), b.read(src2)));
}

template <class B>
void insertps(B& b) {
  if constexpr (B::template in_memory<1>)
    b.write(dst, b.op(vec::insertps, b.read(dst), b.read(src), b.read(src2)));
  else
    b.write(dst, b.op(vec::insertps, b.read(dst), b.op(vec::inserted_single, b.read(src), b.read(src2)), b.read(src2)));
}

// The lengths of PCMPESTRI and PCMPESTRM are in rAX and rDX.
template <class B>
auto compare_explicit(B& b) {
  using Length = std::conditional_t<B::width == 8, u64, u32>;
  auto control = b.read(src2);
  return b.op(vec::string_compare, b.read(dst), b.read(src), b.op(vec::explicit_length, b.template gpr<Length>(RAX), control),
              b.op(vec::explicit_length, b.template gpr<Length>(RDX), control), control);
}

template <class B>
auto compare_implicit(B& b) {
  auto first = b.read(dst), second = b.read(src);
  auto control = b.read(src2);
  return b.op(vec::string_compare, first, second, b.op(vec::implicit_length, first, control),
              b.op(vec::implicit_length, second, control), control);
}

template <class B, class Match>
void write_index(B& b, Match match) {
  b.set_gpr(RCX, b.op(vec::string_index, b.member(match, &vec::StringMatch::bits), b.read(src2)));
  b.op(vec::set_string_flags, b.member(match, &vec::StringMatch::flags));
}

template <class B, class Match>
void write_mask(B& b, Match match) {
  b.write(src3, b.op(vec::string_mask, b.member(match, &vec::StringMatch::bits), b.read(src2)));
  b.op(vec::set_string_flags, b.member(match, &vec::StringMatch::flags));
}

template <class B>
void pcmpestri(B& b) {
  write_index(b, compare_explicit(b));
}
template <class B>
void pcmpestrm(B& b) {
  write_mask(b, compare_explicit(b));
}
template <class B>
void pcmpistri(B& b) {
  write_index(b, compare_implicit(b));
}
template <class B>
void pcmpistrm(B& b) {
  write_mask(b, compare_implicit(b));
}

}  // namespace callgate::semantics
