// Semantics of moves, exchanges, the stack and the flags. Templates over a builder: see cpu/value_builder.h. What does not
// suit a template (POPF, ENTER, CMPXCHG8B...) is in cpu/semantics/data_helpers.h.
#pragma once

#include "cpu/alu.h"
#include "cpu/alu_bit.h"
#include "cpu/value_builder.h"

namespace callgate::semantics {

template <class B>
void mov(B& b) {
  b.write(dst, b.read(src));
}

template <class B>
void movnti(B& b) {
  mov(b);
}

template <class B>
void movzx(B& b) {
  b.write(dst, b.template zero_extend<typename B::Word>(b.read(src)));
}

template <class B>
void movsx(B& b) {
  b.write(dst, b.template sign_extend<typename B::Word>(b.read(src)));
}

template <class B>
void movsxd(B& b) {
  movsx(b);
}

template <class B>
void lea(B& b) {
  b.write(dst, b.template truncate<typename B::Word>(b.address_of_operand()));
}

// A 32-bit destination loses its upper half whether the condition holds or not.
template <class B>
void cmovcc(B& b) {
  auto s = b.read(src);
  b.write(dst, b.select(b.condition(), s, b.read(dst)));
}

// Memory is locked, with or without the prefix.
template <class B>
void xchg(B& b) {
  auto d = b.modify(dst);
  auto s = b.read(src);
  b.write(dst, s);
  b.write(src, d);
}

// 90 is XCHG eAX,eAX in name only: it does not clear the upper half. With REX.B it is an exchange with R8, F3 or not.
template <class B>
void nop_(B& b) {
  if (b.rm() != 0) xchg(b);
}

template <class B>
void pause(B& b) {
  nop_(b);
}

template <class B>
void nop(B&) {}
template <class B>
void prefetch(B&) {}
template <class B>
void prefetchw(B&) {}
template <class B>
void prefetchnta(B&) {}
template <class B>
void prefetcht0(B&) {}
template <class B>
void prefetcht1(B&) {}
template <class B>
void prefetcht2(B&) {}
template <class B>
void lfence(B&) {}
template <class B>
void mfence(B&) {}
template <class B>
void sfence(B&) {}

// There is no cache to flush, but the address must be readable.
template <class B>
void clflush(B& b) {
  b.probe(dst);
}

template <class B>
void push(B& b) {
  b.push(b.read(dst));
}

template <class B>
void pop(B& b) {
  if constexpr (B::template in_memory<0>) b.pop_to_memory(dst);
  else b.write(dst, b.pop());
}

template <class B>
void leave(B& b) {
  b.leave_frame();
}

template <class B>
void lahf(B& b) {
  b.set_ah(b.op(alu::low_flags));
}

template <class B>
void sahf(B& b) {
  b.op(alu::set_low_flags, b.ah());
}

template <class B>
void clc(B& b) {
  b.op(alu::set_carry, b.constant(false));
}

template <class B>
void stc(B& b) {
  b.op(alu::set_carry, b.constant(true));
}

template <class B>
void cmc(B& b) {
  b.op(alu::complement_carry);
}

template <class B>
void cld(B& b) {
  b.set_direction(false);
}

template <class B>
void std_(B& b) {
  b.set_direction(true);
}

// Undocumented: AL from CF.
template <class B>
void salc(B& b) {
  b.set_gpr(RAX, b.select(b.flag_cf(), b.constant(u8{0xFF}), b.constant(u8{0})));
}

// CBW, CWDE, CDQE.
template <class B>
void cbw(B& b) {
  using Half = typename UintOf<B::width / 2>::type;
  b.set_gpr(RAX, b.template sign_extend<typename B::Word>(b.template gpr<Half>(RAX)));
}

// CWD, CDQ, CQO.
template <class B>
void cwd(B& b) {
  b.set_gpr(RDX, b.op(alu::sign_fill, b.template gpr<typename B::Word>(RAX)));
}

// Memory is always written, with what was there when the comparison fails. A register that is not written keeps its upper
// half.
template <class B>
void cmpxchg(B& b) {
  using T = typename B::template Type<0>;
  auto d = b.modify(dst);
  auto s = b.read(src);
  auto accumulator = b.template gpr<T>(RAX);
  b.op(alu::sub, accumulator, d);
  auto equal = b.op(alu::equal, accumulator, d);
  if constexpr (B::template in_memory<0>) b.write(dst, b.select(equal, s, d));
  else b.when(equal, [&] { b.write(dst, s); });
  b.when(b.op(alu::logical_not, equal), [&] { b.set_gpr(RAX, d); });
}

// The source first: XADD of a register with itself leaves the sum.
template <class B>
void xadd(B& b) {
  auto d = b.modify(dst);
  auto s = b.read(src);
  auto sum = b.op(alu::add, d, s);
  b.write(src, d);
  b.write(dst, sum);
}

}  // namespace callgate::semantics
