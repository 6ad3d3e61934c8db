// Semantics of integer arithmetic and logic. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/alu.h"
#include "cpu/alu_multiply.h"
#include "cpu/value_builder.h"

namespace callgate::semantics {

/// dst = operation(dst, src)
template <class B, class Op>
void two_operands(B& b, const Op& operation) {
  auto d = b.modify(dst);
  auto s = b.read(src);
  b.write(dst, b.op(operation, d, s));
}

/// dst = operation(dst)
template <class B, class Op>
void one_operand(B& b, const Op& operation) {
  b.write(dst, b.op(operation, b.modify(dst)));
}

template <class B>
void add(B& b) {
  two_operands(b, alu::add);
}
template <class B>
void adc(B& b) {
  two_operands(b, alu::adc);
}
template <class B>
void sub(B& b) {
  two_operands(b, alu::sub);
}
template <class B>
void sbb(B& b) {
  two_operands(b, alu::sbb);
}
template <class B>
void and_(B& b) {
  two_operands(b, alu::and_);
}
template <class B>
void or_(B& b) {
  two_operands(b, alu::or_);
}
template <class B>
void xor_(B& b) {
  two_operands(b, alu::xor_);
}

template <class B>
void cmp(B& b) {
  auto d = b.read(dst);
  auto s = b.read(src);
  b.op(alu::sub, d, s);
}

template <class B>
void test(B& b) {
  auto d = b.read(dst);
  auto s = b.read(src);
  b.op(alu::and_, d, s);
}

template <class B>
void inc(B& b) {
  one_operand(b, alu::inc);
}
template <class B>
void dec(B& b) {
  one_operand(b, alu::dec);
}
template <class B>
void neg(B& b) {
  one_operand(b, alu::neg);
}
template <class B>
void not_(B& b) {
  one_operand(b, alu::not_);
}

/// A pair of results in rDX:rAX, or AX for bytes.
template <class B, class T>
void write_pair(B& b, T low, T high) {
  b.set_gpr(RAX, low);
  if constexpr (sizeof(typename B::template Type<0>) == 1) b.set_ah(high);
  else b.set_gpr(RDX, high);
}

/// MUL and IMUL by r/m: rDX:rAX = rAX * r/m.
template <class B, class Op>
void multiply_accumulator(B& b, const Op& operation) {
  using T = typename B::template Type<0>;
  auto factor = b.read(dst);
  auto product = b.op(operation, b.template gpr<T>(RAX), factor);
  write_pair(b, b.member(product, &alu::Product<T>::low), b.member(product, &alu::Product<T>::high));
}

template <class B>
void mul(B& b) {
  multiply_accumulator(b, alu::mul);
}

/// With one, two (dst *= src) or three operands (dst = src * src2).
template <class B>
void imul(B& b) {
  if constexpr (B::template spec<1>.kind == 0) multiply_accumulator(b, alu::imul);
  else if constexpr (B::template spec<2>.kind == 0) two_operands(b, alu::imul_low);
  else {
    auto s = b.read(src);
    b.write(dst, b.op(alu::imul_low, s, b.read(src2)));
  }
}

/// rDX:rAX (AX for bytes) by r/m: the quotient to rAX, the remainder to rDX (AH).
template <class B, class Op>
void divide_accumulator(B& b, const Op& operation, const char* reason) {
  using T = typename B::template Type<0>;
  auto divisor = b.read(dst);
  auto low = b.template gpr<T>(RAX);
  auto high = [&] {
    if constexpr (sizeof(T) == 1) return b.ah();
    else return b.template gpr<T>(RDX);
  }();
  auto q = b.op(operation, high, low, divisor);
  b.fault_if(b.member(q, &alu::Quotient<T>::error), Vector::DE, reason);
  b.op(alu::clear_flags);
  write_pair(b, b.member(q, &alu::Quotient<T>::quotient), b.member(q, &alu::Quotient<T>::remainder));
}

template <class B>
void div(B& b) {
  divide_accumulator(b, alu::div, "DIV by zero, or its quotient does not fit");
}
template <class B>
void idiv(B& b) {
  divide_accumulator(b, alu::idiv, "IDIV by zero, or its quotient does not fit");
}

template <class B>
void daa(B& b) {
  b.set_gpr(RAX, b.op(alu::daa, b.template gpr<u8>(RAX)));
}
template <class B>
void das(B& b) {
  b.set_gpr(RAX, b.op(alu::das, b.template gpr<u8>(RAX)));
}
template <class B>
void aaa(B& b) {
  b.set_gpr(RAX, b.op(alu::aaa, b.template gpr<u16>(RAX)));
}
template <class B>
void aas(B& b) {
  b.set_gpr(RAX, b.op(alu::aas, b.template gpr<u16>(RAX)));
}
template <class B>
void aam(B& b) {
  auto base = b.read(dst);
  b.fault_if(b.op(alu::is_zero, base), Vector::DE, "AAM with the base 0");
  b.set_gpr(RAX, b.op(alu::aam, b.template gpr<u8>(RAX), base));
}
template <class B>
void aad(B& b) {
  b.set_gpr(RAX, b.op(alu::aad, b.template gpr<u16>(RAX), b.read(dst)));
}

}  // namespace callgate::semantics
