// Semantics of FMA3 and F16C. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/value_builder.h"
#include "cpu/vec/fma.h"
#include "cpu/vec/permute.h"

namespace callgate::semantics {

/// Which operands the digits in a mnemonic name: multiplicand, multiplier, addend of 1 = destination, 2, 3 = sources.
enum class FmaOrder : u8 { F132, F213, F231 };

template <FmaOrder Order, class B, class Op, class V>
auto fused_multiply(B& b, const Op& operation, Val<V> first, Val<V> second, Val<V> third) {
  if constexpr (Order == FmaOrder::F132) return b.op(operation, first, third, second);
  else if constexpr (Order == FmaOrder::F213) return b.op(operation, second, first, third);
  else return b.op(operation, second, third, first);
}

template <FmaOrder Order, class B, class Op>
void packed_fma(B& b, const Op& operation) {
  auto second = b.read(dst);  // the separate source
  b.write(dst, fused_multiply<Order>(b, operation, b.read_destination(), second, b.read(src)));
}

// A scalar keeps the rest of the destination's own low 128 bits, not the separate source's: the row writes them all.
template <FmaOrder Order, class B, class Op>
void scalar_fma(B& b, const Op& operation) {
  auto old = b.read_destination();
  auto second = b.read(dst);
  auto first = b.template truncate<decltype(second.v)>(old);
  b.write(dst, b.op(vec::with_low_lane, old, fused_multiply<Order>(b, operation, first, second, b.read(src))));
}

#define CG_FMA(NAME, DIGITS, KIND, SUFFIX, LANE)                     \
  template <class B>                                                 \
  void NAME##DIGITS##SUFFIX(B& b) {                                  \
    KIND##_fma<FmaOrder::F##DIGITS>(b, vec::NAME<vec::LANE>);        \
  }
#define CG_FMA_PACKED(NAME, DIGITS)         \
  CG_FMA(NAME, DIGITS, packed, ps, F32)     \
  CG_FMA(NAME, DIGITS, packed, pd, F64)
#define CG_FMA_ALL(NAME, DIGITS)            \
  CG_FMA_PACKED(NAME, DIGITS)               \
  CG_FMA(NAME, DIGITS, scalar, ss, F32)     \
  CG_FMA(NAME, DIGITS, scalar, sd, F64)
#define CG_FMA_ORDER(DIGITS)      \
  CG_FMA_ALL(fmadd, DIGITS)       \
  CG_FMA_ALL(fmsub, DIGITS)       \
  CG_FMA_ALL(fnmadd, DIGITS)      \
  CG_FMA_ALL(fnmsub, DIGITS)      \
  CG_FMA_PACKED(fmaddsub, DIGITS) \
  CG_FMA_PACKED(fmsubadd, DIGITS)
CG_FMA_ORDER(132)
CG_FMA_ORDER(213)
CG_FMA_ORDER(231)
#undef CG_FMA
#undef CG_FMA_PACKED
#undef CG_FMA_ALL
#undef CG_FMA_ORDER

template <class B>
void cvtph2ps(B& b) {
  b.write(dst, b.op(vec::f16_to_f32<typename B::template Type<0>>, b.read(src)));
}

// MXCSR keeps its flags when the store faults.
template <class B>
void cvtps2ph(B& b) {
  if constexpr (B::template in_memory<0>) b.probe_write(dst);
  b.write(dst, b.op(vec::f32_to_f16<typename B::template Type<0>>, b.read(src), b.read(src2)));
}

}  // namespace callgate::semantics
