#include "jit/x64/vector_ops.h"

#include <asmjit/x86.h>

#include <unordered_map>

#include "cpu/state.h"
#include "cpu/vec/aes.h"
#include "cpu/vec/arithmetic.h"
#include "cpu/vec/blend.h"
#include "cpu/vec/float.h"
#include "cpu/vec/horizontal.h"
#include "cpu/vec/shift.h"
#include "cpu/vec/shuffle.h"

namespace callgate::jit::x64 {

namespace {

namespace Inst = asmjit::x86::Inst;
using ir::op_info;
using enum VectorShape;

template <class T>
using Plain = std::remove_const_t<T>;

std::unordered_map<const ir::OpInfo*, VectorOp> make_dictionary() {
  std::unordered_map<const ir::OpInfo*, VectorOp> d;
#define BINARY(NAME, INST) d[&op_info<Plain<decltype(vec::NAME)>, V128, V128>] = {Binary, Inst::kId##INST};
#define UNARY(NAME, INST) d[&op_info<Plain<decltype(vec::NAME)>, V128>] = {Unary, Inst::kId##INST};
#define UNARY_IMM(NAME, INST) d[&op_info<Plain<decltype(vec::NAME)>, V128, u8>] = {UnaryImm, Inst::kId##INST};
#define BINARY_IMM(NAME, INST) d[&op_info<Plain<decltype(vec::NAME)>, V128, V128, u8>] = {BinaryImm, Inst::kId##INST};
#define SHIFT(NAME, INST) d[&op_info<Plain<decltype(vec::NAME)>, V128, u64>] = {Shift, Inst::kId##INST};
#define TO_GPR(NAME, INST) d[&op_info<Plain<decltype(vec::NAME)>, V128>] = {ToGpr, Inst::kId##INST};

  // SSE2 integers.
  BINARY(paddb, Paddb) BINARY(paddw, Paddw) BINARY(paddd, Paddd) BINARY(paddq, Paddq)
  BINARY(psubb, Psubb) BINARY(psubw, Psubw) BINARY(psubd, Psubd) BINARY(psubq, Psubq)
  BINARY(paddsb, Paddsb) BINARY(paddsw, Paddsw) BINARY(paddusb, Paddusb) BINARY(paddusw, Paddusw)
  BINARY(psubsb, Psubsb) BINARY(psubsw, Psubsw) BINARY(psubusb, Psubusb) BINARY(psubusw, Psubusw)
  BINARY(pmullw, Pmullw) BINARY(pmulhw, Pmulhw) BINARY(pmulhuw, Pmulhuw) BINARY(pmuludq, Pmuludq)
  BINARY(pmaddwd, Pmaddwd) BINARY(psadbw, Psadbw) BINARY(pavgb, Pavgb) BINARY(pavgw, Pavgw)
  BINARY(pminub, Pminub) BINARY(pmaxub, Pmaxub) BINARY(pminsw, Pminsw) BINARY(pmaxsw, Pmaxsw)
  BINARY(pcmpeqb, Pcmpeqb) BINARY(pcmpeqw, Pcmpeqw) BINARY(pcmpeqd, Pcmpeqd)
  BINARY(pcmpgtb, Pcmpgtb) BINARY(pcmpgtw, Pcmpgtw) BINARY(pcmpgtd, Pcmpgtd)
  BINARY(pand, Pand) BINARY(pandn, Pandn) BINARY(por, Por) BINARY(pxor, Pxor)
  BINARY(packsswb, Packsswb) BINARY(packssdw, Packssdw) BINARY(packuswb, Packuswb)
  BINARY(punpcklbw, Punpcklbw) BINARY(punpcklwd, Punpcklwd) BINARY(punpckldq, Punpckldq)
  BINARY(punpcklqdq, Punpcklqdq) BINARY(punpckhbw, Punpckhbw) BINARY(punpckhwd, Punpckhwd)
  BINARY(punpckhdq, Punpckhdq) BINARY(punpckhqdq, Punpckhqdq)
  SHIFT(psllw, Psllw) SHIFT(pslld, Pslld) SHIFT(psllq, Psllq) SHIFT(psrlw, Psrlw) SHIFT(psrld, Psrld)
  SHIFT(psrlq, Psrlq) SHIFT(psraw, Psraw) SHIFT(psrad, Psrad) SHIFT(pslldq, Pslldq) SHIFT(psrldq, Psrldq)
  UNARY_IMM(pshufd, Pshufd) UNARY_IMM(pshuflw, Pshuflw) UNARY_IMM(pshufhw, Pshufhw)
  BINARY_IMM(shufps, Shufps) BINARY_IMM(shufpd, Shufpd)
  TO_GPR(pmovmskb, Pmovmskb) TO_GPR(movmskps, Movmskps) TO_GPR(movmskpd, Movmskpd)

  // SSSE3, SSE4.1.
  BINARY(pshufb, Pshufb) BINARY(phaddw, Phaddw) BINARY(phaddd, Phaddd) BINARY(phsubw, Phsubw) BINARY(phsubd, Phsubd)
  BINARY(pmaddubsw, Pmaddubsw) BINARY(pmulhrsw, Pmulhrsw) BINARY(psignb, Psignb) BINARY(psignw, Psignw)
  BINARY(psignd, Psignd) UNARY(pabsb, Pabsb) UNARY(pabsw, Pabsw) UNARY(pabsd, Pabsd) BINARY_IMM(palignr, Palignr)
  BINARY(pmulld, Pmulld) BINARY(pmuldq, Pmuldq) BINARY(pminsb, Pminsb) BINARY(pminuw, Pminuw) BINARY(pminsd, Pminsd)
  BINARY(pminud, Pminud) BINARY(pmaxsb, Pmaxsb) BINARY(pmaxuw, Pmaxuw) BINARY(pmaxsd, Pmaxsd) BINARY(pmaxud, Pmaxud)
  BINARY(pcmpeqq, Pcmpeqq) BINARY(pcmpgtq, Pcmpgtq) BINARY(packusdw, Packusdw) BINARY_IMM(pblendw, Pblendw)
  UNARY(movsldup, Movsldup) UNARY(movshdup, Movshdup)
  BINARY(aesenc, Aesenc) BINARY(aesenclast, Aesenclast) BINARY(aesdec, Aesdec) BINARY(aesdeclast, Aesdeclast)
  BINARY_IMM(pclmulqdq, Pclmulqdq)

  // Floating point: the packed instruction, and the scalar one.
#define FLOAT(NAME, PS, SS, PD, SD)                                                                          \
  d[&op_info<Plain<decltype(vec::NAME##_f32)>, V128, V128>] = {Binary, Inst::kId##PS};                       \
  d[&op_info<Plain<decltype(vec::NAME##_f32)>, u32, u32>] = {Binary, Inst::kId##SS};                         \
  d[&op_info<Plain<decltype(vec::NAME##_f64)>, V128, V128>] = {Binary, Inst::kId##PD};                       \
  d[&op_info<Plain<decltype(vec::NAME##_f64)>, u64, u64>] = {Binary, Inst::kId##SD};
  FLOAT(add, Addps, Addss, Addpd, Addsd)
  FLOAT(sub, Subps, Subss, Subpd, Subsd)
  FLOAT(mul, Mulps, Mulss, Mulpd, Mulsd)
  FLOAT(div, Divps, Divss, Divpd, Divsd)
  FLOAT(min, Minps, Minss, Minpd, Minsd)
  FLOAT(max, Maxps, Maxss, Maxpd, Maxsd)
#undef FLOAT
  d[&op_info<Plain<decltype(vec::sqrt_f32)>, V128>] = {Unary, Inst::kIdSqrtps};
  d[&op_info<Plain<decltype(vec::sqrt_f32)>, u32>] = {Unary, Inst::kIdSqrtss};
  d[&op_info<Plain<decltype(vec::sqrt_f64)>, V128>] = {Unary, Inst::kIdSqrtpd};
  d[&op_info<Plain<decltype(vec::sqrt_f64)>, u64>] = {Unary, Inst::kIdSqrtsd};
  d[&op_info<Plain<decltype(vec::compare_f32)>, V128, V128, u8>] = {BinaryImm, Inst::kIdCmpps};
  d[&op_info<Plain<decltype(vec::compare_f32)>, u32, u32, u8>] = {BinaryImm, Inst::kIdCmpss};
  d[&op_info<Plain<decltype(vec::compare_f64)>, V128, V128, u8>] = {BinaryImm, Inst::kIdCmppd};
  d[&op_info<Plain<decltype(vec::compare_f64)>, u64, u64, u8>] = {BinaryImm, Inst::kIdCmpsd};
  d[&op_info<Plain<decltype(vec::comis)>, u32, u32>] = {Compare, Inst::kIdComiss};
  d[&op_info<Plain<decltype(vec::comis)>, u64, u64>] = {Compare, Inst::kIdComisd};
  d[&op_info<Plain<decltype(vec::ucomis)>, u32, u32>] = {Compare, Inst::kIdUcomiss};
  d[&op_info<Plain<decltype(vec::ucomis)>, u64, u64>] = {Compare, Inst::kIdUcomisd};
  BINARY(hadd_f32, Haddps) BINARY(hadd_f64, Haddpd) BINARY(hsub_f32, Hsubps) BINARY(hsub_f64, Hsubpd)
  BINARY(addsub_f32, Addsubps) BINARY(addsub_f64, Addsubpd)

  // Conversions, by destination and source.
#define CONVERT(INST, SHAPE, W, SOURCE, ...) \
  d[&op_info<Plain<decltype(vec::__VA_ARGS__)>, SOURCE>] = {SHAPE, Inst::kId##INST, W};
  CONVERT(Cvtps2pd, Unary, false, u64, f32_to_f64<V128>)
  CONVERT(Cvtss2sd, Unary, false, u32, f32_to_f64<u64>)
  CONVERT(Cvtpd2ps, Unary, false, V128, f64_to_f32<V128>)
  CONVERT(Cvtsd2ss, Unary, false, u64, f64_to_f32<u32>)
  CONVERT(Cvtdq2ps, Unary, false, V128, i32_to_f32<V128>)
  CONVERT(Cvtdq2pd, Unary, false, u64, i32_to_f64<V128>)
  CONVERT(Cvtps2dq, Unary, false, V128, to_i32<V128, vec::F32, false>)
  CONVERT(Cvttps2dq, Unary, false, V128, to_i32<V128, vec::F32, true>)
  CONVERT(Cvtpd2dq, Unary, false, V128, to_i32<V128, vec::F64, false>)
  CONVERT(Cvttpd2dq, Unary, false, V128, to_i32<V128, vec::F64, true>)
  CONVERT(Cvtss2si, ToGpr, false, u32, to_integer<u32, false>)
  CONVERT(Cvtss2si, ToGpr, true, u32, to_integer<u64, false>)
  CONVERT(Cvttss2si, ToGpr, false, u32, to_integer<u32, true>)
  CONVERT(Cvttss2si, ToGpr, true, u32, to_integer<u64, true>)
  CONVERT(Cvtsd2si, ToGpr, false, u64, to_integer<u32, false>)
  CONVERT(Cvtsd2si, ToGpr, true, u64, to_integer<u64, false>)
  CONVERT(Cvttsd2si, ToGpr, false, u64, to_integer<u32, true>)
  CONVERT(Cvttsd2si, ToGpr, true, u64, to_integer<u64, true>)
  CONVERT(Cvtsi2ss, FromGpr, false, u32, i32_to_f32<u32>)
  CONVERT(Cvtsi2ss, FromGpr, true, u64, i64_to_f32<u32>)
  CONVERT(Cvtsi2sd, FromGpr, false, u32, i32_to_f64<u64>)
  CONVERT(Cvtsi2sd, FromGpr, true, u64, i64_to_f64<u64>)
#undef CONVERT

  d[&op_info<Plain<decltype(vec::high_half)>, V128>] = {Unary, Inst::kIdMovhlps};
  d[&op_info<Plain<decltype(vec::with_high_half)>, V128, u64>] = {Binary, Inst::kIdMovlhps};
#undef BINARY
#undef UNARY
#undef UNARY_IMM
#undef BINARY_IMM
#undef SHIFT
#undef TO_GPR
  return d;
}

}  // namespace

const VectorOp& vector_op(const ir::OpInfo* info) {
  static const auto dictionary = make_dictionary();
  static const VectorOp none;
  const auto it = dictionary.find(info);
  return it != dictionary.end() ? it->second : none;
}

}  // namespace callgate::jit::x64
