// Semantics of shifts, rotates, single bits, bit scans and SETcc. Templates over a builder: see cpu/value_builder.h.
#pragma once

#include "cpu/alu.h"
#include "cpu/alu_bit.h"
#include "cpu/alu_shift.h"
#include "cpu/value_builder.h"

namespace callgate::semantics {

// The destination is written even when the count is 0: a 32-bit register loses its upper half, and read-only memory faults.
template <class B, class Op>
void shift(B& b, const Op& operation) {
  auto d = b.modify(dst);
  auto count = b.read(src);
  b.write(dst, b.op(operation, d, count));
}

template <class B>
void shl(B& b) {
  shift(b, alu::shl);
}
template <class B>
void shr(B& b) {
  shift(b, alu::shr);
}
template <class B>
void sar(B& b) {
  shift(b, alu::sar);
}
template <class B>
void rol(B& b) {
  shift(b, alu::rol);
}
template <class B>
void ror(B& b) {
  shift(b, alu::ror);
}
template <class B>
void rcl(B& b) {
  shift(b, alu::rcl);
}
template <class B>
void rcr(B& b) {
  shift(b, alu::rcr);
}

template <class B, class Op>
void double_shift(B& b, const Op& operation) {
  auto d = b.modify(dst);
  auto s = b.read(src);
  b.write(dst, b.op(operation, d, s, b.read(src2)));
}

template <class B>
void shld(B& b) {
  double_shift(b, alu::shld);
}
template <class B>
void shrd(B& b) {
  double_shift(b, alu::shrd);
}

/// The bit's index. A register index into memory is a signed index into a bit string: it moves the operand.
template <class B>
auto bit_index(B& b) {
  using T = typename B::template Type<0>;
  if constexpr (B::template spec<1>.kind == 'I') {
    return b.template zero_extend<T>(b.read(src));
  } else {
    auto index = b.read(src);
    if constexpr (B::is_memory) b.move_operand(b.op(alu::bit_string_offset, index));
    return index;
  }
}

template <class B>
void bt(B& b) {
  auto index = bit_index(b);
  b.op(alu::bt, b.read(dst), index);
}

template <class B, class Op>
void bit_modify(B& b, const Op& operation) {
  auto index = bit_index(b);
  b.write(dst, b.op(operation, b.modify(dst), index));
}

template <class B>
void bts(B& b) {
  bit_modify(b, alu::bts);
}
template <class B>
void btr(B& b) {
  bit_modify(b, alu::btr);
}
template <class B>
void btc(B& b) {
  bit_modify(b, alu::btc);
}

// When there is no bit the destination stays, its upper half included: AMD documents it, and processors do it.
template <class B, class Op>
void bit_scan(B& b, const Op& operation) {
  auto s = b.read(src);
  auto index = b.op(operation, s);
  b.when(b.op(alu::non_zero, s), [&] { b.write(dst, index); });
}

template <class B>
void bsf(B& b) {
  bit_scan(b, alu::bsf);
}
template <class B>
void bsr(B& b) {
  bit_scan(b, alu::bsr);
}

template <class B>
void bswap(B& b) {
  b.write(dst, b.op(alu::bswap, b.read(dst)));
}

template <class B>
void setcc(B& b) {
  b.write(dst, b.template zero_extend<u8>(b.condition()));
}

}  // namespace callgate::semantics
