// Semantics of SSE and SSE2 floating point. Scalar and packed instructions share a semantic: the operand's size says which
// (a scalar destination keeps the register's other lanes). An unmasked exception raises #XM inside b.op, before the write.
// Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/value_builder.h"
#include "cpu/vec/arithmetic.h"
#include "cpu/vec/float.h"

namespace callgate::semantics {

#define CG_FLOAT_BINARY(NAME, OPERATION)                                    \
  template <class B>                                                        \
  void NAME(B& b) {                                                         \
    b.write(dst, b.op(vec::OPERATION, b.read(dst), b.read(src)));           \
  }
CG_FLOAT_BINARY(addps, add_f32)
CG_FLOAT_BINARY(addss, add_f32)
CG_FLOAT_BINARY(addpd, add_f64)
CG_FLOAT_BINARY(addsd, add_f64)
CG_FLOAT_BINARY(subps, sub_f32)
CG_FLOAT_BINARY(subss, sub_f32)
CG_FLOAT_BINARY(subpd, sub_f64)
CG_FLOAT_BINARY(subsd, sub_f64)
CG_FLOAT_BINARY(mulps, mul_f32)
CG_FLOAT_BINARY(mulss, mul_f32)
CG_FLOAT_BINARY(mulpd, mul_f64)
CG_FLOAT_BINARY(mulsd, mul_f64)
CG_FLOAT_BINARY(divps, div_f32)
CG_FLOAT_BINARY(divss, div_f32)
CG_FLOAT_BINARY(divpd, div_f64)
CG_FLOAT_BINARY(divsd, div_f64)
CG_FLOAT_BINARY(minps, min_f32)
CG_FLOAT_BINARY(minss, min_f32)
CG_FLOAT_BINARY(minpd, min_f64)
CG_FLOAT_BINARY(minsd, min_f64)
CG_FLOAT_BINARY(maxps, max_f32)
CG_FLOAT_BINARY(maxss, max_f32)
CG_FLOAT_BINARY(maxpd, max_f64)
CG_FLOAT_BINARY(maxsd, max_f64)
// Logic has no environment: it raises nothing.
CG_FLOAT_BINARY(andps, pand)
CG_FLOAT_BINARY(andpd, pand)
CG_FLOAT_BINARY(andnps, pandn)
CG_FLOAT_BINARY(andnpd, pandn)
CG_FLOAT_BINARY(orps, por)
CG_FLOAT_BINARY(orpd, por)
CG_FLOAT_BINARY(xorps, pxor)
CG_FLOAT_BINARY(xorpd, pxor)
#undef CG_FLOAT_BINARY

#define CG_FLOAT_UNARY(NAME, OPERATION)                     \
  template <class B>                                        \
  void NAME(B& b) {                                         \
    b.write(dst, b.op(vec::OPERATION, b.read(src)));        \
  }
CG_FLOAT_UNARY(sqrtps, sqrt_f32)
CG_FLOAT_UNARY(sqrtss, sqrt_f32)
CG_FLOAT_UNARY(sqrtpd, sqrt_f64)
CG_FLOAT_UNARY(sqrtsd, sqrt_f64)
CG_FLOAT_UNARY(rcpps, reciprocal_f32)
CG_FLOAT_UNARY(rcpss, reciprocal_f32)
CG_FLOAT_UNARY(rsqrtps, reciprocal_sqrt_f32)
CG_FLOAT_UNARY(rsqrtss, reciprocal_sqrt_f32)
#undef CG_FLOAT_UNARY

// AVX has five bits of predicate, SSE three.
template <class B>
auto predicate(B& b) {
  if constexpr (B::is_vex) return b.op(vec::avx_predicate, b.read(src2));
  else return b.op(vec::sse_predicate, b.read(src2));
}
#define CG_FLOAT_COMPARE(NAME, OPERATION)                                                \
  template <class B>                                                                     \
  void NAME(B& b) {                                                                      \
    b.write(dst, b.op(vec::OPERATION, b.read(dst), b.read(src), predicate(b)));          \
  }
CG_FLOAT_COMPARE(cmpps, compare_f32)
CG_FLOAT_COMPARE(cmpss, compare_f32)
CG_FLOAT_COMPARE(cmppd, compare_f64)
CG_FLOAT_COMPARE(cmpsd, compare_f64)
#undef CG_FLOAT_COMPARE

template <class B>
void comiss(B& b) {
  b.op(vec::set_relation_flags, b.op(vec::comis, b.read(dst), b.read(src)));
}

template <class B>
void comisd(B& b) {
  comiss(b);
}

template <class B>
void ucomiss(B& b) {
  b.op(vec::set_relation_flags, b.op(vec::ucomis, b.read(dst), b.read(src)));
}

template <class B>
void ucomisd(B& b) {
  ucomiss(b);
}

// Conversions between lanes. `Dest` is the destination operand's type.
#define CG_CONVERT(NAME, ...)                                   \
  template <class B>                                            \
  void NAME(B& b) {                                             \
    using Dest = typename B::template Type<0>;                  \
    b.write(dst, b.op(vec::__VA_ARGS__, b.read(src)));          \
  }
CG_CONVERT(cvtps2pd, f32_to_f64<Dest>)
CG_CONVERT(cvtss2sd, f32_to_f64<Dest>)
CG_CONVERT(cvtpd2ps, f64_to_f32<Dest>)
CG_CONVERT(cvtsd2ss, f64_to_f32<Dest>)
CG_CONVERT(cvtdq2ps, i32_to_f32<Dest>)
CG_CONVERT(cvtdq2pd, i32_to_f64<Dest>)
CG_CONVERT(cvtpi2ps, i32_to_f32<Dest>)
CG_CONVERT(cvtpi2pd, i32_to_f64<Dest>)
CG_CONVERT(cvtps2dq, to_i32<Dest, vec::F32, false>)
CG_CONVERT(cvttps2dq, to_i32<Dest, vec::F32, true>)
CG_CONVERT(cvtpd2dq, to_i32<Dest, vec::F64, false>)
CG_CONVERT(cvttpd2dq, to_i32<Dest, vec::F64, true>)
CG_CONVERT(cvtps2pi, to_i32<Dest, vec::F32, false>)
CG_CONVERT(cvttps2pi, to_i32<Dest, vec::F32, true>)
CG_CONVERT(cvtpd2pi, to_i32<Dest, vec::F64, false>)
CG_CONVERT(cvttpd2pi, to_i32<Dest, vec::F64, true>)
CG_CONVERT(cvtss2si, to_integer<Dest, false>)
CG_CONVERT(cvttss2si, to_integer<Dest, true>)
CG_CONVERT(cvtsd2si, to_integer<Dest, false>)
CG_CONVERT(cvttsd2si, to_integer<Dest, true>)
#undef CG_CONVERT

template <class B>
void cvtsi2ss(B& b) {
  auto integer = b.read(src);
  if constexpr (sizeof(typename decltype(integer)::type) == 8) b.write(dst, b.op(vec::i64_to_f32<u32>, integer));
  else b.write(dst, b.op(vec::i32_to_f32<u32>, integer));
}

template <class B>
void cvtsi2sd(B& b) {
  auto integer = b.read(src);
  if constexpr (sizeof(typename decltype(integer)::type) == 8) b.write(dst, b.op(vec::i64_to_f64<u64>, integer));
  else b.write(dst, b.op(vec::i32_to_f64<u64>, integer));
}

}  // namespace callgate::semantics
